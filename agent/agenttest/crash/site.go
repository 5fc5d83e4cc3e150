package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"tenon/agent/client"
	"tenon/agent/host"
)

// site is a directory with all that one agent has, for agents one after the other.
type site struct {
	*client.Client
	tenon, dir string
	process    *process // the agent that runs, or ran last
	total      int64    // MiB on all disks
	wasCut     bool     // the power was, at least once

	powerless atomic.Bool // the disk is being taken away beneath the agent
}

// process is a running agent.
type process struct {
	*exec.Cmd
	log   tail
	ended chan struct{}
}

// tail keeps the end of what is written to it, at least as much as an error shows.
type tail struct{ text []byte }

const lastLogged = 4 << 10

func (t *tail) Write(p []byte) (int, error) {
	const most = 1 << 20
	if len(t.text) > most {
		t.text = append([]byte(nil), t.end()...)
	}
	t.text = append(t.text, p...)
	return len(p), nil
}

func (t *tail) end() []byte { return t.text[max(0, len(t.text)-lastLogged):] }

func (t *tail) String() string { return string(t.text) }

// The space that the agent has, and what of it the volumes' role gets, in MiB.
const (
	totalMiB   = 240
	volumesMiB = 160
)

// patience is how long anything may take that ought to come about, on a machine with much
// else to do or an emulated one.
const patience = 2 * time.Minute

// pause is how long to wait before looking once more.
const pause = 2 * time.Millisecond

// newSite prepares a directory for an agent; it may be one that an agent was in already.
func newSite(tenon, dir string) (*site, error) {
	s := &site{Client: client.New(filepath.Join(dir, "tenon.sock")), tenon: tenon, dir: dir, total: totalMiB}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	config := fmt.Sprintf("state_dir = %q\nsocket = %q\ngroup = \"\"\npool = %q\npool_size = \"%dMiB\"\nsandbox_roots = [%q]\ncgroup_parent = %q\naudit_log = \"\"\n",
		s.path("state"), s.path("tenon.sock"), s.path("pool"), totalMiB, s.path("sandboxes"), s.cgroups())
	// An agent that found an empty file would take the defaults, which are places of the host's.
	return s, errors.Join(writeSynced(s.path("tenon.toml"), config), syncDir(dir), syncDir(filepath.Dir(dir)))
}

func (s *site) cgroups() string { return "/tenon-crash-" + strconv.Itoa(os.Getpid()) }

func (s *site) path(names ...string) string {
	return filepath.Join(append([]string{s.dir}, names...)...)
}

// launch starts an agent, and does not wait for it.
func (s *site) launch() error {
	p := &process{Cmd: exec.Command(s.tenon, "agent", "--config", s.path("tenon.toml")), ended: make(chan struct{})}
	p.Stdout, p.Stderr = &p.log, &p.log
	ours := func(variable string) bool { return strings.HasPrefix(variable, "TENON_") } // settings, to the agent
	p.Env = slices.DeleteFunc(os.Environ(), ours)
	if err := p.Start(); err != nil {
		return err
	}
	go func() {
		_ = p.Wait() // how it ended does not matter, only that
		close(p.ended)
	}()
	s.process = p
	return nil
}

// ready waits until the agent answers.
func (s *site) ready(ctx context.Context) error {
	for deadline := time.Now().Add(patience); ; time.Sleep(pause) {
		err := s.Health(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-s.process.ended:
			return fmt.Errorf("the agent has ended instead of answering: %w\n%s", err, &s.process.log)
		default:
		}
		if time.Now().After(deadline) {
			return errors.Join(fmt.Errorf("the agent does not answer: %w", err), s.kill())
		}
	}
}

// start starts an agent and waits until it answers.
func (s *site) start(ctx context.Context) error {
	if err := s.launch(); err != nil {
		return err
	}
	return s.ready(ctx)
}

// kill ends the agent at once, wherever it is.
func (s *site) kill() error { return s.end(os.Kill) }

// stop ends the agent in order.
func (s *site) stop() error { return s.end(os.Interrupt) }

func (s *site) end(how os.Signal) error {
	err := s.process.Process.Signal(how)
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	<-s.process.ended
	s.Close()
	return err
}

// hasEnded says whether the agent has ended.
func (s *site) hasEnded() bool {
	select {
	case <-s.process.ended:
		return true
	default:
		return false
	}
}

// logged is what the agent has said, at the end of an error about it.
func (s *site) logged() string {
	return "the agent's log ends so:\n" + string(s.process.log.end())
}

// remove removes all that was there.
func (s *site) remove() error {
	return host.Remove(host.Options{
		Disks: map[string]string{"": s.path("pool")}, SandboxRoots: []string{s.path("sandboxes")}, CgroupParent: s.cgroups(),
	}, s.dir)
}
