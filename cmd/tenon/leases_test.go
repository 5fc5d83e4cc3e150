package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"tenon/agent/resource"
	"tenon/agent/wire"
)

var (
	leaseTasks = flag.Int("leases.tasks", 100, "how many tasks die in the test of leases")
	leaseSeed  = flag.Uint64("leases.seed", 0, "replay the order of this seed")
)

// crowd are tasks, each with a process that holds it.
type crowd struct {
	*site
	workers []*exec.Cmd
	ended   sync.WaitGroup
}

// join starts a process, and a task that it holds: one in two only claims, the others have two
// volumes mounted.
func (c *crowd) join(i, volumes int) {
	c.t.Helper()
	worker := exec.Command("sleep", "infinity")
	c.must(worker.Start())
	c.workers = append(c.workers, worker)
	c.ended.Go(func() { _ = worker.Wait() })
	id := fmt.Sprint("task", i)
	first, second := fmt.Sprint("v", i%volumes), fmt.Sprint("v", (i+1)%volumes)
	_, err := c.Claim(c.t.Context(), wire.Claim{Task: id, PID: worker.Process.Pid, Volumes: []wire.Use{{Volume: "web/" + first, Path: "data"}}})
	c.must(err)
	if i%2 == 0 {
		c.must(c.attach(id, first, resource.RW))
		_, err := c.Attach(c.t.Context(), id, wire.Attach{Use: wire.Use{Volume: "web/" + second, Path: "more", Mode: resource.RO}})
		c.must(err)
	}
}

func (c *crowd) kill() {
	for _, w := range c.workers {
		_ = w.Process.Kill() // it may have ended
	}
	c.ended.Wait()
}

// Tasks whose processes die in any order, while the agent is killed again and again, hold
// nothing afterwards. By hand: go test ./cmd/tenon -run TestNothingIsHeld -leases.tasks=1000 -v
func TestNothingIsHeldByProcessesThatHaveDiedWhateverTheAgentDid(t *testing.T) {
	const volumes, agents = 10, 10
	seed := *leaseSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-leases.seed=%d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	c := &crowd{site: newSite(t)}
	t.Cleanup(c.kill)
	a := c.start("")
	c.reserve(8 * volumes)
	for v := range volumes {
		c.must(c.create(fmt.Sprint("v", v)))
	}
	begin := time.Now()
	for i := range *leaseTasks {
		c.join(i, volumes)
	}
	c.check()
	made := time.Since(begin)

	begin = time.Now()
	restarts, runs := 0, true
	for n, i := range rng.Perm(len(c.workers)) {
		c.must(c.workers[i].Process.Kill())
		if next := len(c.workers) / agents; next > 0 && n%next == rng.IntN(next) {
			a.end(syscall.SIGKILL)
			restarts, runs = restarts+1, false
		}
		if !runs && rng.IntN(4) > 0 { // else some more die while there is no agent
			a, runs = c.start(""), true
		}
	}
	if !runs {
		a = c.start("")
	}
	c.ended.Wait()
	var tasks []wire.Task
	for tasks = c.left(); len(tasks) > 0; tasks = c.left() {
		continue // their processes are dead, and the agent learns of it
	}
	t.Logf("%d tasks made in %s; their processes killed and all released in %s, with the agent killed %d times",
		*leaseTasks, made.Round(time.Millisecond), time.Since(begin).Round(time.Millisecond), restarts)
	left, _ := c.check()
	for _, v := range left {
		if v.References != 0 {
			t.Errorf("volume %s has holders %v", v.Name, v.Holders)
		}
		_, err := c.Destroy(t.Context(), v.Name, true)
		c.must(err)
	}
	c.check()
	a.end(syscall.SIGTERM)
}

// left are the tasks that are not gone.
func (c *crowd) left() []wire.Task {
	c.t.Helper()
	page, err := c.Tasks(c.t.Context(), "", 0)
	c.must(err)
	return page.Tasks
}
