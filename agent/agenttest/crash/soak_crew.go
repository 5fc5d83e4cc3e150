package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"tenon/agent/client"
	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/agent/wire"
)

// crewPace is how long each of a crew waits between two cycles, so that what the agent has at
// once depends little on what else the machine does.
const crewPace = 20 * time.Millisecond

// crew are those who do whole cycles, each of which ends where it began, whatever happens to
// the agent meanwhile. Its methods but told and problem are for one goroutine.
type crew struct {
	place *place
	conn  *grpc.ClientConn // to the CSI socket
	seed  uint64

	quit    context.CancelFunc // nil while they rest
	working sync.WaitGroup

	mu       sync.Mutex
	cycles   map[string]int // guarded by mu
	problems []error        // guarded by mu
}

// member does one kind of cycle.
type member struct {
	*crew
	name   string
	random *rand.Rand
	cycle  func(m *member, id string) error
}

func newCrew(p *place, seed uint64) *crew {
	return &crew{place: p, seed: seed, cycles: map[string]int{}}
}

// start lets all begin, under new names.
func (c *crew) start() {
	ctx, quit := context.WithCancel(context.Background())
	c.quit = quit
	conn, err := grpc.NewClient("unix:"+c.place.csi(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	c.fail("csi", err)
	c.conn = conn
	kinds := []struct {
		name  string
		many  int
		cycle func(m *member, id string) error
	}{{"child", 3, (*member).child}, {"timed", 2, (*member).timed}, {"csi", 2, (*member).publish}, {"order", 1, (*member).order}}
	for _, k := range kinds {
		for i := range k.many {
			m := &member{crew: c, name: k.name, cycle: k.cycle, random: rand.New(rand.NewPCG(c.seed, uint64(i)))}
			c.working.Go(func() { m.work(ctx, fmt.Sprint(k.name, i)) })
		}
	}
}

// stop lets all end their cycles. It may be called again.
func (c *crew) stop() {
	if c.quit == nil {
		return
	}
	c.quit()
	c.working.Wait()
	c.fail("csi", c.conn.Close())
	c.quit = nil
}

func (m *member) work(ctx context.Context, name string) {
	for ctx.Err() == nil {
		if m.fail(m.name, m.cycle(m, fmt.Sprint(name, "-", m.count()))) {
			return
		}
		time.Sleep(crewPace)
	}
}

// count numbers the cycles.
func (m *member) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cycles[m.name]++
	return m.cycles[m.name]
}

func (c *crew) fail(name string, err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.problems = append(c.problems, fmt.Errorf("%s: %w", name, err))
	}
	return err != nil
}

// problem is what went wrong so far.
func (c *crew) problem() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return errors.Join(c.problems...)
}

// told says how many cycles were begun.
func (c *crew) told() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(c.cycles)) {
		parts = append(parts, fmt.Sprintf("%d cycles of %s", c.cycles[name], name))
	}
	return strings.Join(parts, ", ")
}

// passing are the answers of an agent that is away or has not finished: the same is asked again.
var passing = []string{kindNobody, kindUnknown, "stopping", "pending"}

// ask asks until there is an answer. Kinds in done are as good as none: a call that was made
// again after it had been done is told so.
func ask(do func(ctx context.Context) error, done ...error) error {
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		err := do(ctx)
		cancel()
		isDone := func(kind error) bool { return errors.Is(err, kind) }
		switch {
		case err == nil, slices.ContainsFunc(done, isDone):
			return nil
		case !passes(err) || time.Now().After(deadline):
			return err
		}
	}
}

// passes says whether the same call may well be answered otherwise.
func passes(err error) bool {
	if s, ok := status.FromError(err); ok {
		return slices.Contains([]codes.Code{codes.Unavailable, codes.Aborted, codes.Canceled, codes.DeadlineExceeded}, s.Code())
	}
	return slices.Contains(passing, kindOf(err))
}

// child makes a volume, runs a process that holds it, changes all that can be changed while it
// is held, kills the process and waits until the volume is free.
func (m *member) child(id string) (err error) {
	c, name := m.place.Client, roleOfCrew+"/"+id
	if err := ask(func(ctx context.Context) error {
		_, err := c.Create(ctx, wire.CreateVolume{Role: roleOfCrew, ID: id, Size: 2 * resource.MiB, Shared: true, Disk: m.place.path("disk"), Mode: "0777"})
		return err
	}, volume.ErrExists); err != nil {
		return err
	}
	process := exec.Command("sleep", "3600")
	process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := process.Start(); err != nil {
		return err
	}
	err = m.use(id, name, process.Process.Pid)
	err = errors.Join(err, process.Process.Kill())
	_ = process.Wait() // it was killed
	if err != nil {
		return err
	}
	if err := gone(c, id); err != nil {
		return err
	}
	return errors.Join(
		ask(func(ctx context.Context) error { _, err := c.Resize(ctx, name, resource.MiB); return err }),
		ask(func(ctx context.Context) error { _, err := c.Destroy(ctx, name, true); return err }, volume.ErrNotFound))
}

// use claims a volume for a process, mounts it, and changes mode and size.
func (m *member) use(id, name string, pid int) error {
	c, use := m.place.Client, wire.Use{Volume: name, Path: "data", Mode: resource.RW}
	file := m.place.path("sandboxes", id, "data", "file")
	for _, do := range []func(ctx context.Context) error{
		func(ctx context.Context) error {
			_, err := c.Claim(ctx, wire.Claim{Task: id, PID: pid, Cgroup: m.random.IntN(2) == 0})
			return err
		},
		func(ctx context.Context) error { _, err := c.Attach(ctx, id, wire.Attach{Use: use}); return err },
		func(context.Context) error { return writeSynced(file, id) },
		func(ctx context.Context) error { _, err := c.Resize(ctx, name, 3*resource.MiB); return err },
		func(ctx context.Context) error {
			_, err := c.SetMode(ctx, id, wire.SetMode{Volume: name, Mode: resource.RO})
			return err
		},
		func(context.Context) error { return refusedToWrite(file) },
		func(ctx context.Context) error {
			_, err := c.SetMode(ctx, id, wire.SetMode{Volume: name, Mode: resource.RW})
			return err
		},
	} {
		if err := ask(do, volume.ErrExists); err != nil {
			return err
		}
	}
	return nil
}

// refusedToWrite holds a mount that is read-only to it.
func refusedToWrite(file string) error {
	if err := writeSynced(file, "more"); !errors.Is(err, syscall.EROFS) {
		return fmt.Errorf("%s lies on a mount that is read-only, and writing it ends with %w", file, errors.Join(err))
	}
	return nil
}

// gone waits until a task has been released by itself.
func gone(c *client.Client, task string) error {
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		err := ask(func(ctx context.Context) error { _, err := c.Task(ctx, task); return err })
		if errors.Is(err, volume.ErrNotFound) {
			return nil
		}
		if err != nil || time.Now().After(deadline) {
			return fmt.Errorf("task %s, whose process was killed, is still there: %w", task, errors.Join(err))
		}
	}
}

// timed has a task held by time alone, renews it, detaches its mount and lets its time pass
// or releases it.
func (m *member) timed(id string) error {
	c, name := m.place.Client, kept(m.random.IntN(keptVolumes))
	use := wire.Use{Volume: name, Path: "data", Mode: resource.RO, NoExec: m.random.IntN(2) == 0}
	claim := wire.Claim{Task: id, TTL: "3s"}
	if err := ask(func(ctx context.Context) error {
		if _, err := c.Claim(ctx, claim); err != nil {
			return err
		}
		_, err := c.Attach(ctx, id, wire.Attach{Use: use, TTL: claim.TTL})
		return err
	}); err != nil {
		return err
	}
	if err := ask(func(ctx context.Context) error { _, err := c.Renew(ctx, id, ""); return err }, volume.ErrNotFound); err != nil {
		return err
	}
	if m.random.IntN(2) == 0 {
		if err := ask(func(ctx context.Context) error { return c.Detach(ctx, id, name, "", false) }, volume.ErrNotFound); err != nil {
			return err
		}
	}
	if m.random.IntN(8) == 0 {
		return gone(c, id)
	}
	return ask(func(ctx context.Context) error { return c.Release(ctx, id, false) }, volume.ErrNotFound)
}

// publish has a volume made by CSI, published to two pods, expanded, taken back and deleted.
func (m *member) publish(id string) error {
	controller, node := csi.NewControllerClient(m.conn), csi.NewNodeClient(m.conn)
	access := &csi.VolumeCapability{AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_MULTI_WRITER},
		AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{}}}
	var made string
	if err := ask(func(ctx context.Context) error {
		r, err := controller.CreateVolume(ctx, &csi.CreateVolumeRequest{Name: id, VolumeCapabilities: []*csi.VolumeCapability{access},
			Parameters: map[string]string{"role": roleOfCrew}, CapacityRange: &csi.CapacityRange{RequiredBytes: int64(resource.MiB)}}, grpc.WaitForReady(true))
		made = r.GetVolume().GetVolumeId()
		return err
	}); err != nil {
		return err
	}
	pods := []string{m.place.path("kubelet", "pods", id+"a"), m.place.path("kubelet", "pods", id+"b")}
	for _, pod := range pods {
		if err := errors.Join(os.MkdirAll(pod, 0o750), ask(func(ctx context.Context) error {
			_, err := node.NodePublishVolume(ctx, &csi.NodePublishVolumeRequest{VolumeId: made, TargetPath: pod + "/mount", VolumeCapability: access}, grpc.WaitForReady(true))
			return err
		})); err != nil {
			return err
		}
	}
	for _, pod := range pods {
		if err := errors.Join(ask(func(ctx context.Context) error {
			_, err := node.NodeUnpublishVolume(ctx, &csi.NodeUnpublishVolumeRequest{VolumeId: made, TargetPath: pod + "/mount"}, grpc.WaitForReady(true))
			return err
		}), os.Remove(pod)); err != nil {
			return err
		}
	}
	return ask(func(ctx context.Context) error {
		_, err := controller.DeleteVolume(ctx, &csi.DeleteVolumeRequest{VolumeId: made}, grpc.WaitForReady(true))
		return err
	})
}

// order has the master order that a role be given space, and that it be taken back.
func (m *member) order(id string) error {
	space := fmt.Sprintf(`{"resources": [{"name": "disk", "type": "SCALAR", "scalar": {"value": 1}, "disk": {"source": {"type": "PATH", "path": {"root": %q}}},
		"reservations": [{"type": "DYNAMIC", "role": %q, "principal": %q}]}]}`, m.place.path("disk"), roleOfOrders, "master:"+roleOfOrders)
	if err := m.place.master.order(id+"r", `[{"type": "RESERVE", "reserve": `+space+`}]`); err != nil {
		return err
	}
	return m.place.master.order(id+"u", `[{"type": "UNRESERVE", "unreserve": `+space+`}]`)
}
