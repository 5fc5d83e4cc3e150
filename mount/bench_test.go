package mount

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// othersMounted are how many mounts are beside the ones that are measured.
var othersMounted = []int{0, 10_000}

// mountOthers fills a filesystem of its own with n mounts.
func mountOthers(b *testing.B, n int) {
	b.Helper()
	dir := memory(b)
	tree(b, dir, "source/")
	for i := range n {
		point := fmt.Sprintf("%s/%d", dir, i)
		if err := os.Mkdir(point, 0o755); err != nil {
			b.Fatal(err)
		}
		if err := unix.Mount(dir+"/source", point, "", unix.MS_BIND, ""); err != nil {
			b.Fatal(err)
		}
	}
}

// attachBare is the system calls that any attach and detach must make.
func attachBare(source, target *os.File, path string, attr *unix.MountAttr) error {
	tree, err := unix.OpenTree(int(source.Fd()), "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)
	if err != nil {
		return err
	}
	err = unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, attr)
	if err == nil {
		err = unix.MoveMount(tree, "", int(target.Fd()), "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
	}
	unix.Close(tree)
	if err != nil {
		return err
	}
	return unix.Unmount(path, unix.UMOUNT_NOFOLLOW)
}

// attachTenon is the same as a caller of this package does it.
func attachTenon(source, sandbox *os.File, name string) error {
	at, err := OpenBeneath(sandbox, name)
	if err != nil {
		return err
	}
	defer at.Close()
	tree, err := Clone(source, Attributes{ReadOnly: true})
	if err != nil {
		return err
	}
	err = tree.Attach(at)
	tree.Close()
	if err != nil {
		return err
	}
	return Detach(sandbox, name, false)
}

// BenchmarkAttachDetach is held to twice the bare system calls, and to 1.3 times
// its own cost without other mounts (design.md 11).
func BenchmarkAttachDetach(b *testing.B) {
	var alone float64
	for _, n := range othersMounted {
		b.Run(fmt.Sprintf("others=%d", n), func(b *testing.B) {
			v := newVolume(b)
			mountOthers(b, n)
			src, err := OpenSource(v.source)
			if err != nil {
				b.Fatal(err)
			}
			defer src.Close()
			sandbox, err := SelfMount(v.dir + "/sandbox")
			if err != nil {
				b.Fatal(err)
			}
			defer sandbox.Close()
			target, err := OpenBeneath(sandbox, "target")
			if err != nil {
				b.Fatal(err)
			}
			defer target.Close()
			attr := &unix.MountAttr{
				Attr_set:    unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV,
				Propagation: unix.MS_PRIVATE,
			}
			bare := func() error { return attachBare(src.Dir(), target, v.targetPath, attr) }
			tenon := func() error { return attachTenon(src.Dir(), sandbox, "target") }
			measure(b, "bare", bare)
			cost := measure(b, "tenon", tenon, ratio{"x-alone", alone})
			if n == 0 {
				alone = cost
			}
			b.Run("ratio", func(b *testing.B) { compare(b, tenon, bare) })
		})
	}
}

// ratio is a cost to compare with, in nanoseconds, and the name of the result.
type ratio struct {
	unit string
	cost float64 // 0 when it was not measured
}

// measure runs f as a sub-benchmark and returns its cost in nanoseconds.
func measure(b *testing.B, name string, f func() error, ratios ...ratio) (cost float64) {
	b.Run(name, func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := f(); err != nil {
				b.Fatal(err)
			}
		}
		cost = float64(b.Elapsed().Nanoseconds()) / float64(b.N)
		for _, r := range ratios {
			if r.cost > 0 {
				b.ReportMetric(cost/r.cost, r.unit)
			}
		}
	})
	return cost
}

// compare runs f and than by turns, so that what else the machine does strikes
// both, and reports the ratio of their medians.
func compare(b *testing.B, f, than func() error) {
	var took [2][]time.Duration
	for b.Loop() {
		for i, work := range []func() error{f, than} {
			start := time.Now()
			if err := work(); err != nil {
				b.Fatal(err)
			}
			took[i] = append(took[i], time.Since(start))
		}
	}
	for i := range took {
		slices.Sort(took[i])
	}
	middle := len(took[0]) / 2
	b.ReportMetric(0, "ns/op") // of both together, so of no use
	b.ReportMetric(float64(took[0][middle])/float64(took[1][middle]), "x-bare")
}

// BenchmarkLook is what a verification costs.
func BenchmarkLook(b *testing.B) {
	for _, n := range othersMounted {
		b.Run(fmt.Sprintf("others=%d", n), func(b *testing.B) {
			v := newVolume(b)
			mountOthers(b, n)
			v.attach(b, Attributes{ReadOnly: true})
			f := mustOpen(b, v.targetPath)
			measure(b, "At", func() error { _, err := At(v.sandbox, "target"); return err })
			measure(b, "Lookup", func() error { _, err := Lookup(f); return err })
			measure(b, "Table", func() error { _, err := Table(); return err })
		})
	}
}

// BenchmarkAttachInATask is an attach and a detach in the namespace of a running task, a thread
// each.
func BenchmarkAttachInATask(b *testing.B) {
	for _, others := range othersMounted {
		b.Run(fmt.Sprintf("mounts=%d", others), func(b *testing.B) {
			v := newVolume(b)
			k := startTask(b, "private", nil)
			mountOthers(b, others)
			id := v.identity(b)
			for b.Loop() {
				tr, err := Clone(v.source, Attributes{ReadOnly: true})
				if err != nil {
					b.Fatal(err)
				}
				err = k.ns.Attach(b.Context(), tr, v.targetPath, false)
				tr.Close()
				if err != nil {
					b.Fatal(err)
				}
				if err := k.ns.Detach(b.Context(), v.targetPath, id, false); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkLookIntoATask is what an observation of an attachment there costs.
func BenchmarkLookIntoATask(b *testing.B) {
	v := newVolume(b)
	k := startTask(b, "private", nil)
	for b.Loop() {
		if _, err := k.ns.At(b.Context(), v.targetPath); err != nil {
			b.Fatal(err)
		}
	}
}
