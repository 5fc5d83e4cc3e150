package host_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/isolator/quota"
	"tenon/mount"
	"tenon/mount/mounttest"
)

const mib = 1 << 20

// onDisks runs a test with an agent of which all is on a file system of its own.
func onDisks(t *testing.T, of []mounttest.Filesystem, body func(t *testing.T, d *mounttest.Disk, dir string)) {
	t.Helper()
	for _, f := range of {
		t.Run(f.Name, func(t *testing.T) {
			d := mounttest.NewDisk(t, f)
			body(t, d, directoryIn(t, d.Dir))
		})
	}
}

// limiting has just the file systems that limit volumes.
func limiting(t *testing.T, body func(t *testing.T, d *mounttest.Disk, dir string)) {
	t.Helper()
	onDisks(t, mounttest.Limiting(), body)
}

// with opens the quotas that a directory is under.
func with(t *testing.T, dir string, f func(q *quota.Quota) error) {
	t.Helper()
	root, err := os.Open(dir)
	must(t, err)
	defer root.Close()
	q, err := quota.Open(root)
	must(t, err)
	defer q.Close()
	must(t, f(q))
}

// volume finds a volume of the role web, which must be there.
func (n *node) volume(t *testing.T, id string) *volume.Volume {
	t.Helper()
	v, err := n.State().Find("web/" + id)
	must(t, err)
	return v
}

// data is where a volume lies on its disk.
func (n *node) data(v *volume.Volume) string {
	return filepath.Join(n.dir, "pool", "live", string(v.UUID), "data")
}

// isLimited holds that a volume is in its project, and that limited to so many MiB.
func (n *node) isLimited(t *testing.T, v *volume.Volume, size uint64) {
	t.Helper()
	if mode := n.State().EnforcementOf(v); mode != volume.EnforcedHard {
		t.Errorf("enforcement of %s is shown as %q", v.Name, mode)
	}
	with(t, n.dir, func(q *quota.Quota) error {
		u, err := q.Usage(v.Project)
		if err != nil || v.Project == 0 || u.LimitBytes != size*mib {
			t.Errorf("project %d of %s is limited to %d bytes, %v; want %d MiB", v.Project, v.Name, u.LimitBytes, err, size)
		}
		dir, err := os.Open(n.data(v))
		must(t, err)
		defer dir.Close()
		if id, err := q.ProjectOf(dir); err != nil || id != v.Project {
			t.Errorf("its directory is in project %d, %v; want %d", id, err, v.Project)
		}
		return nil
	})
}

// holds checks that as much as is left of a limit can be written, and no more.
func holds(t *testing.T, d *mounttest.Disk, path string, left uint64) {
	t.Helper()
	written, err := mounttest.Fill(t, path, left*mib+mib)
	if !errors.Is(err, d.Full) || written > left*mib || written+d.Overhead < left*mib {
		t.Errorf("%d bytes were written to %s, then %v; want %d MiB and %v", written, path, err, left, d.Full)
	}
}

func TestLimitHoldsAVolumeToItsSizeAndMovesUnderItsTask(t *testing.T) {
	limiting(t, func(t *testing.T, d *mounttest.Disk, dir string) {
		n := start(t, dir)
		n.reserve(t)
		n.must(t, creation("data", 8, true))
		v := n.volume(t, "data")
		n.isLimited(t, v, 8)
		n.must(t, use("writer", "data", "", resource.RW))
		file := filepath.Join(dir, "sandboxes", "writer", "data", "file")
		holds(t, d, file, 8)
		open, err := os.OpenFile(file, os.O_WRONLY|os.O_APPEND, 0)
		must(t, err)
		defer open.Close()

		n.must(t, volume.Resize{Ref: "web/data", Size: 16 * resource.One})
		n.isLimited(t, n.volume(t, "data"), 16)
		holds(t, d, open.Name(), 8)
		must(t, mounttest.AsTask(t, func() error { // a file that was open meanwhile
			if _, err := mounttest.Grow(open, mib); !errors.Is(err, d.Full) {
				return errors.New("more than the larger limit was written")
			}
			return nil
		}))
		must(t, open.Close())

		n.must(t, volume.Release{Task: "writer"})
		n.refused(t, volume.ErrInsufficient, "do not fit into", volume.Resize{Ref: "web/data", Size: 4 * resource.One})
		n.isLimited(t, v, 16)
		must(t, os.Remove(filepath.Join(n.data(v), "file")))
		_, err = mounttest.Fill(t, filepath.Join(n.data(v), "file"), 2*mib)
		must(t, err)
		n.must(t, volume.Resize{Ref: "web/data", Size: 4 * resource.One})
		n.isLimited(t, n.volume(t, "data"), 4)
		n.must(t, use("writer", "data", "", resource.RW))
		holds(t, d, file, 2)
		n.must(t, volume.Release{Task: "writer"})
		n.must(t, volume.Destroy{Ref: "web/data"})
		n.isFree(t, v.Project)
	})
}

// isFree holds that nothing is left of a project.
func (n *node) isFree(t *testing.T, project uint32) {
	t.Helper()
	with(t, n.dir, func(q *quota.Quota) error {
		left, err := q.List(quota.Range{First: project, Last: project})
		if len(left) > 0 {
			t.Errorf("project %d is left: %+v", project, left)
		}
		return err
	})
}

func TestLimitIsRestoredWhenTheAgentStarts(t *testing.T) {
	limiting(t, func(t *testing.T, d *mounttest.Disk, dir string) {
		n := start(t, dir)
		n.reserve(t)
		n.must(t, creation("data", 8, true))
		n.must(t, use("writer", "data", "", resource.RW))
		v := n.volume(t, "data")
		limit := func(q *quota.Quota, _ *os.File) error { return q.SetLimit(v.Project, 200*mib, 0) }
		project := func(q *quota.Quota, data *os.File) error { return q.Assign(t.Context(), data, 4000) }
		for _, changed := range [][]func(*quota.Quota, *os.File) error{{limit}, {project}, {limit, project}} {
			n.stop()
			with(t, dir, func(q *quota.Quota) error {
				data, err := os.Open(n.data(v))
				must(t, err)
				defer data.Close()
				for _, change := range changed {
					err = errors.Join(err, change(q, data))
				}
				return err
			})
			n = start(t, dir)
			n.isLimited(t, v, 8)
		}
		holds(t, d, filepath.Join(dir, "sandboxes", "writer", "data", "file"), 8)
		n.must(t, volume.Release{Task: "writer"})
		n.must(t, volume.Destroy{Ref: "web/data"})
	})
}

func TestLimitGivesNoProjectOutThatSomebodyElseUses(t *testing.T) {
	limiting(t, func(t *testing.T, d *mounttest.Disk, dir string) {
		taken := func(first, last uint32) {
			with(t, dir, func(q *quota.Quota) (err error) {
				for id := first; id <= last; id++ {
					err = errors.Join(err, q.SetLimit(id, 100*mib, 0))
				}
				return err
			})
		}
		taken(5000, 5001) // before the agent starts
		n := start(t, dir)
		n.reserve(t)
		n.must(t, creation("a", 8, true))
		taken(5003, 5030) // while it runs
		n.must(t, creation("b", 8, true))
		if a, b := n.volume(t, "a").Project, n.volume(t, "b").Project; a != 5002 || b != 5031 {
			t.Errorf("the projects are %d and %d, want 5002 and 5031", a, b)
		}
		before := n.State().Version
		_, err := n.Do(t.Context(), creation("c", 8, true))
		if !errors.Is(err, volume.ErrInsufficient) || !strings.Contains(err.Error(), "project_range") || n.State().Version != before {
			t.Errorf("create without a free project: %v", err)
		}
		n.must(t, volume.Destroy{Ref: "web/a"})
		n.stop()
		n = start(t, dir) // which does not take its own projects for somebody's
		n.must(t, creation("c", 8, true))
		if c := n.volume(t, "c").Project; c != 5002 {
			t.Errorf("the project of the third is %d, want that of the one that was destroyed, 5002", c)
		}
		n.must(t, volume.Destroy{Ref: "web/b"}, volume.Destroy{Ref: "web/c"})
	})
}

func TestLimitIsGivenBackOnlyWhenTheLastRemovedFileIsClosed(t *testing.T) {
	limiting(t, func(t *testing.T, d *mounttest.Disk, dir string) {
		n := start(t, dir)
		n.reserve(t)
		n.must(t, creation("data", 8, true))
		v := n.volume(t, "data")
		open, err := os.Create(filepath.Join(n.data(v), "file"))
		must(t, err)
		defer open.Close()
		_, err = mounttest.Grow(open, 2*mib)
		must(t, err)
		_, err = n.Do(t.Context(), volume.Destroy{Ref: "web/data"})
		if !errors.Is(err, volume.ErrBusy) || !strings.Contains(err.Error(), "until the last removed file is closed") {
			t.Errorf("destroy with an open file: %v", err)
		}
		if left := n.names(t, "trash"); len(left) > 0 {
			t.Errorf("trash has %v", left)
		}
		if _, all := n.State().CountVolumes(); all != 1 {
			t.Errorf("%d volumes, want the tombstone", all)
		}
		n.must(t, creation("data", 8, true))
		if now := n.volume(t, "data"); now.Project == v.Project {
			t.Errorf("project %d was given out while files are in it", v.Project)
		}
		must(t, open.Close())
		until(t, n.Agent, func(s *volume.State) bool { _, ok := s.Volume(v.UUID); return !ok })
		n.isFree(t, v.Project)
		n.must(t, volume.Destroy{Ref: "web/data"})
	})
}

func TestLimitsAreNotNeeded(t *testing.T) {
	onDisks(t, mounttest.Plain(), func(t *testing.T, d *mounttest.Disk, dir string) {
		n := start(t, dir)
		n.reserve(t)
		n.must(t, creation("data", 8, true))
		n.must(t, use("writer", "data", "", resource.RW))
		if root, _ := n.State().Disk(""); root.Enforcement.Mode != volume.EnforcedNone || root.Enforcement.Why == "" {
			t.Errorf("enforcement is shown as %+v", root.Enforcement)
		}
		file := filepath.Join(dir, "sandboxes", "writer", "data", "file")
		if written, err := mounttest.Fill(t, file, 10*mib); err != nil {
			t.Errorf("%d bytes were written, then %v", written, err)
		}
		n.must(t, volume.Release{Task: "writer"})
		n.refused(t, volume.ErrInsufficient, "do not fit into", volume.Resize{Ref: "web/data", Size: 4 * resource.One})
		n.must(t, volume.Resize{Ref: "web/data", Size: 16 * resource.One})
		n.stop()
		n = start(t, dir)
		n.must(t, volume.Resize{Ref: "web/data", Size: 12 * resource.One})
		if used, err := n.Usage(t.Context()); len(used) > 0 || err != nil {
			t.Errorf("usage of what nobody counts: %v, %v", used, err)
		}
		n.must(t, volume.Destroy{Ref: "web/data"})
	})
}

// without has the disk not limit anything, until within has it do so again.
func without(t *testing.T, d *mounttest.Disk) {
	t.Helper()
	if d.Type == "btrfs" {
		must(t, d.SwitchQuotas(false))
		return
	}
	d.Options = ""
	d.Remount(t)
}

func within(t *testing.T, d *mounttest.Disk, f mounttest.Filesystem, dir string) {
	t.Helper()
	if d.Type == "btrfs" {
		must(t, d.SwitchQuotas(true))
		return
	}
	for _, at := range []string{"sandboxes", "pool"} {
		must(t, mount.SelfUnmount(filepath.Join(dir, at)))
	}
	d.Options = f.Options
	d.Remount(t)
}

func TestLimitsThatAreSwitchedOnLaterHold(t *testing.T) {
	for _, f := range mounttest.Limiting() {
		t.Run(f.Name, func(t *testing.T) {
			d := mounttest.NewDisk(t, f)
			without(t, d)
			dir := directoryIn(t, d.Dir)
			n := start(t, dir)
			n.reserve(t)
			n.must(t, creation("data", 8, true))
			v := n.volume(t, "data")
			file := filepath.Join(n.data(v), "file")
			_, err := mounttest.Fill(t, file, 2*mib)
			must(t, err)
			n.stop()
			within(t, d, f, dir)
			n = start(t, dir)
			n.isLimited(t, v, 8)
			left := uint64(6)
			if f.Name == mounttest.BtrfsSimple.Name {
				left = 8 // they count what is written from then on
			}
			holds(t, d, file, left)
			n.must(t, volume.Destroy{Ref: "web/data"})
			n.isFree(t, v.Project)
		})
	}
}

func TestLimitsCountWhatVolumesTake(t *testing.T) {
	limiting(t, func(t *testing.T, d *mounttest.Disk, dir string) {
		n := start(t, dir)
		n.reserve(t)
		n.must(t, creation("empty", 8, true), creation("full", 8, true))
		empty, full := n.volume(t, "empty"), n.volume(t, "full")
		_, err := mounttest.Fill(t, filepath.Join(n.data(full), "file"), 2*mib)
		must(t, err)
		with(t, dir, func(q *quota.Quota) error { _, err := q.Exact(full.Project); return err })
		all, err := n.Usage(t.Context())
		must(t, err)
		one, err := n.Usage(t.Context(), full.UUID, "no-such-volume")
		must(t, err)
		if len(all) != 2 || len(one) != 1 || one[full.UUID] != all[full.UUID] {
			t.Fatalf("usage of all is %v, of one %v", all, one)
		}
		if u := all[full.UUID]; u.Bytes < 2*mib || u.Bytes > 3*mib || d.Inodes && u.Inodes != 2 {
			t.Errorf("of the full one it is %+v", u)
		}
		if u := all[empty.UUID]; u.Bytes > resource.Bytes(d.Overhead) || d.Inodes && u.Inodes != 1 {
			t.Errorf("of the empty one it is %+v", u)
		}
		n.must(t, volume.Destroy{Ref: "web/empty"}, volume.Destroy{Ref: "web/full"})
	})
}

// TestLimitsSurviveWhateverEndsTheAgent ends it at each of its points in turn, in making a
// volume, making it larger and smaller, and destroying it, and starts it again there.
func TestLimitsSurviveWhateverEndsTheAgent(t *testing.T) {
	onDisks(t, []mounttest.Filesystem{mounttest.XFS, mounttest.Ext4, mounttest.BtrfsGroups}, func(t *testing.T, d *mounttest.Disk, dir string) {
		n := start(t, dir)
		n.reserve(t)
		for _, op := range []volume.Operation{
			creation("new", 8, true),
			volume.Resize{Ref: "web/data", Size: 12 * resource.One},
			volume.Resize{Ref: "web/data", Size: 4 * resource.One},
			volume.Destroy{Ref: "web/data"},
		} {
			n = endings(t, n, op)
		}
	})
}

// endings does an operation again and again, each time with an agent that ends one point
// later, until one survives it.
func endings(t *testing.T, n *node, op volume.Operation) *node {
	t.Helper()
	for points := 1; ; points++ {
		n.must(t, creation("data", 8, true))
		n.stop()
		l := &life{}
		mortal, err := startOrDie(t, n.dir, "this", l)
		must(t, err)
		l.lasts(points)
		_, err = mortal.Do(t.Context(), op)
		dead, where := l.ended()
		if !dead && err != nil {
			t.Fatalf("%s: %v", op.Name(), err)
		}
		mortal.stop()
		n = start(t, n.dir)
		n.areLimited(t, fmt.Sprintf("%s of %s", where, op.Name()))
		if !dead {
			if points < 4 {
				t.Errorf("%s has %d points only", op.Name(), points)
			}
			t.Logf("%s was ended at %d points", op.Name(), points-1)
			return n
		}
	}
}

// areLimited holds that every volume is ready and limited to its size, and ends them all,
// after which no project is left.
func (n *node) areLimited(t *testing.T, where string) {
	t.Helper()
	until(t, n.Agent, func(s *volume.State) bool { live, all := s.CountVolumes(); return live == all })
	var ends []volume.Operation
	for v := range n.State().Volumes(volume.Name{}) {
		if v.Phase != volume.Ready {
			t.Errorf("ended at %s, volume %s is %s", where, v.Name, v.Phase)
		}
		n.isLimited(t, v, uint64(v.Size.Bytes())/mib)
		ends = append(ends, volume.Destroy{Ref: string(v.UUID)})
	}
	for u, f := range n.State().Faults() {
		t.Errorf("ended at %s, %s is faulty: %+v", where, u, f)
	}
	if len(ends) > 0 {
		n.must(t, ends...)
	}
	with(t, n.dir, func(q *quota.Quota) error {
		left, err := q.List(quota.Range{First: 5000, Last: 5031})
		if len(left) > 0 {
			t.Errorf("ended at %s, projects are left: %+v", where, left)
		}
		return err
	})
}
