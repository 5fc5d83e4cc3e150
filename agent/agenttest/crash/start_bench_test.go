package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tenon/agent/resource"
	"tenon/agent/wire"
	"tenon/mount/mounttest"
)

// What the agent has whose start is measured.
const (
	startVolumes   = 10_000
	startTasks     = 10_000
	startPerTask   = 5 // attachments by path
	startCallers   = 16
	startSizeBytes = 1 << 10
)

// BenchmarkStart is the agent's own process started with 10,000 volumes and 50,000
// attachments, from exec to its first answer: after a kill -9, where the mounts are there and
// each is looked at, and after a reboot, where there are none and every task is void. Its twin
// named bare is one statx of each mount. Resident memory is that at the first answer, the most
// until nothing was left to do; the processor time is that until the first answer.
func BenchmarkStart(b *testing.B) {
	mounttest.RequireRoot(b)
	mounttest.RequireMounts(b)
	s := benchSite(b)
	points := fill(b, s)
	b.Run("bare", func(b *testing.B) {
		for b.Loop() {
			for _, at := range points {
				var st unix.Statx_t
				if err := unix.Statx(unix.AT_FDCWD, at, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_MNT_ID_UNIQUE, &st); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
	b.Run("after-kill", func(b *testing.B) {
		var m memory
		for b.Loop() {
			b.StopTimer()
			must(b, s.kill())
			b.StartTimer()
			must(b, s.start(b.Context()))
			b.StopTimer()
			m = afterStart(b, s)
			b.StartTimer()
		}
		m.report(b)
	})
	b.Run("after-reboot", func(b *testing.B) {
		must(b, s.kill())
		must(b, unix.Unmount(s.path("sandboxes"), unix.MNT_DETACH)) // with all that is beneath
		must(b, anotherBoot(b.TempDir()))
		b.Cleanup(func() { must(b, unix.Unmount(bootID, unix.MNT_DETACH)) })
		began := time.Now()
		must(b, s.start(b.Context()))
		b.ReportMetric(float64(time.Since(began).Milliseconds()), "ms/start")
		afterStart(b, s).report(b)
		must(b, s.kill())
	})
}

func must(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// memory is what a process has resident, in MiB, and the processor time that it has had.
type memory struct{ first, most, settled, cpu float64 }

func (m memory) report(b *testing.B) {
	b.ReportMetric(m.first, "MiB-at-first")
	b.ReportMetric(m.most, "MiB-at-most")
	b.ReportMetric(m.cpu, "cpu-ms")
	b.ReportMetric(m.settled, "ms-settled")
}

// afterStart looks at an agent that has just answered, and waits until it has nothing more to
// do: no task is being released, and nothing is wrong.
func afterStart(b *testing.B, s *site) (m memory) {
	b.Helper()
	began := time.Now()
	status := fmt.Sprintf("/proc/%d/status", s.process.Process.Pid)
	var err error
	m.cpu = processorTime(b, s.process.Process.Pid)
	m.first, err = memoryOf(status, "VmRSS:")
	must(b, err)
	for deadline := time.Now().Add(patience); ; {
		st, err := s.Status(b.Context())
		must(b, err)
		if st.Counts.Volumes != startVolumes {
			b.Fatalf("%d volumes are left", st.Counts.Volumes)
		}
		if st.Counts.Faults == 0 && (st.Counts.Tasks == 0 || st.Counts.Attachments == startTasks*startPerTask) {
			break
		}
		if time.Now().After(deadline) {
			b.Fatalf("still %+v", st.Counts)
		}
	}
	m.settled = float64(time.Since(began).Milliseconds())
	m.most, err = memoryOf(status, "VmHWM:")
	must(b, err)
	return m
}

// processorTime is what a process has had, in ms (proc_pid_stat(5)).
func processorTime(b *testing.B, pid int) float64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	must(b, err)
	const user, system, tick = 11, 12, 10 // after the name, which ends the second field
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	var ticks int
	for _, at := range []int{user, system} {
		n, err := strconv.Atoi(fields[at])
		must(b, err)
		ticks += n
	}
	return float64(ticks * tick)
}

// benchSite starts an agent that has as many files open as it likes, and little to say.
func benchSite(b *testing.B) *site {
	dir, err := os.MkdirTemp("", "tenon-start-")
	must(b, err)
	program := filepath.Join(dir, "tenon")
	build(b, program)
	s, err := newSite(program, dir)
	must(b, err)
	config, err := os.OpenFile(s.path("tenon.toml"), os.O_APPEND|os.O_WRONLY, 0)
	must(b, err)
	_, err = config.WriteString("log_level = \"warn\"\n")
	must(b, err)
	must(b, config.Close())
	must(b, s.start(b.Context()))
	b.Cleanup(func() {
		must(b, s.kill())
		_ = unix.Unmount(s.path("sandboxes"), unix.MNT_DETACH) // the reboot may have done it
		must(b, s.remove())
	})
	return s
}

// fill makes the volumes and attachments, and gives the mount points.
func fill(b *testing.B, s *site) (points []string) {
	_, err := s.Apply(b.Context(), resource.Operation{Type: resource.OpReserve,
		Reserve: &resource.Reserve{Resources: reserved(roleOfVolumes, volumesMiB*int64(resource.One))}})
	must(b, err)
	inParallel(b, startVolumes, func(ctx context.Context, n int) error {
		_, err := s.Create(ctx, wire.CreateVolume{Role: roleOfVolumes, ID: fmt.Sprint("v", n), Size: startSizeBytes, Shared: true})
		return err
	})
	inParallel(b, startTasks, func(ctx context.Context, n int) error {
		for i := range startPerTask {
			use := wire.Use{Volume: ref(fmt.Sprint("v", (n*startPerTask+i)%startVolumes)), Path: fmt.Sprint("data", i)}
			if _, err := s.Attach(ctx, fmt.Sprint("t", n), wire.Attach{Use: use}); err != nil {
				return err
			}
		}
		return nil
	})
	for n := range startTasks {
		for i := range startPerTask {
			points = append(points, s.path("sandboxes", fmt.Sprint("t", n), fmt.Sprint("data", i)))
		}
	}
	return points
}

// inParallel does n pieces of work by a number of callers.
func inParallel(b *testing.B, n int, work func(ctx context.Context, n int) error) {
	b.Helper()
	var all sync.WaitGroup
	for caller := range startCallers {
		all.Go(func() {
			for i := caller; i < n; i += startCallers {
				if err := work(b.Context(), i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	if b.Failed() {
		b.FailNow()
	}
}
