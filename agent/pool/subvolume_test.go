package pool

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"tenon/isolator/quota"
	"tenon/mount/mounttest"
)

// subvolumes are those of btrfs, which note what was asked of them.
type subvolumes struct {
	deleted []error
}

func (*subvolumes) Create(parent *os.File, name string) error {
	return quota.CreateSubvolume(parent, name)
}
func (*subvolumes) Commit(dir *os.File) error { return quota.CommitSubvolumes(dir) }
func (s *subvolumes) Delete(parent *os.File, name string) error {
	err := quota.DeleteSubvolume(parent, name)
	s.deleted = append(s.deleted, err)
	return err
}

func openBtrfs(root *os.File) (*Pool, error) { return OpenSubvolumes(root, &subvolumes{}) }

// onBtrfs runs a test in a pool on a btrfs.
func onBtrfs(t *testing.T, body func(t *testing.T, p *Pool, s *subvolumes, dir string)) {
	t.Helper()
	dir := mounttest.NewDisk(t, mounttest.Filesystem{Name: "btrfs", Type: "btrfs"}).Dir
	root, err := os.Open(dir)
	must(t, err)
	s := &subvolumes{}
	p, err := OpenSubvolumes(root, s)
	must(t, errors.Join(err, root.Close()))
	defer p.Close()
	must(t, p.Format(poolID))
	body(t, p, s, dir)
}

// isSubvolume tells by the inode number of its top (btrfs-subvolume(8)).
func isSubvolume(t *testing.T, path string) bool {
	t.Helper()
	info, err := os.Stat(path)
	must(t, err)
	return info.Sys().(*syscall.Stat_t).Ino == 256
}

func TestDataIsASubvolumeThatIsMadeMovedAndRemovedLikeADirectory(t *testing.T) {
	onBtrfs(t, func(t *testing.T, p *Pool, s *subvolumes, dir string) {
		must(t, p.Make(volA, web))
		must(t, p.Make(volA, web)) // as after a crash
		makeLive(t, p, volA)
		data := filepath.Join(dir, "live", volA, "data")
		if !isSubvolume(t, data) {
			t.Error("data is no subvolume")
		}
		if info, err := os.Stat(data); err != nil || info.Mode() != os.ModeDir|web.Mode {
			t.Errorf("its mode is %v, %v", info.Mode(), err)
		}
		for i := range 100 {
			mustWrite(t, filepath.Join(data, fmt.Sprint(i), "file"))
		}
		must(t, p.Trash(t.Context(), volA))
		must(t, p.Purge(newImpatient(t, 20), volA)) // file by file it would take hundreds of questions
		wantPlaces(t, p, volA, Places{})
		if len(s.deleted) != 1 || s.deleted[0] != nil {
			t.Errorf("the subvolume was not removed as a whole: %v", s.deleted)
		}
	})
}

func TestWhatCannotGoAsASubvolumeGoesFileByFile(t *testing.T) {
	for name, fill := range map[string]func(t *testing.T, p *Pool, dir string){
		"a pool of plain directories": func(t *testing.T, p *Pool, dir string) {
			root, err := os.Open(dir)
			must(t, err)
			old, err := Open(root)
			must(t, errors.Join(err, root.Close()))
			defer old.Close()
			makeLive(t, old, volA)
			mustWrite(t, filepath.Join(dir, "live", volA, "data", "sub", "file"))
		},
		"a subvolume inside": func(t *testing.T, p *Pool, dir string) {
			makeLive(t, p, volA)
			data, err := os.Open(filepath.Join(dir, "live", volA, "data"))
			must(t, err)
			must(t, errors.Join(quota.CreateSubvolume(data, "inner"), data.Close()))
			mustWrite(t, filepath.Join(data.Name(), "inner", "sub", "file"))
			mustWrite(t, filepath.Join(data.Name(), "file"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			onBtrfs(t, func(t *testing.T, p *Pool, s *subvolumes, dir string) {
				fill(t, p, dir)
				must(t, p.Trash(t.Context(), volA))
				must(t, p.Purge(t.Context(), volA))
				wantPlaces(t, p, volA, Places{})
				if len(s.deleted) != 1 || s.deleted[0] == nil {
					t.Errorf("removing it as a whole: %v, want an error", s.deleted)
				}
			})
		})
	}
}

func TestASubvolumeThatIsBeingMadeIsDiscarded(t *testing.T) {
	onBtrfs(t, func(t *testing.T, p *Pool, s *subvolumes, dir string) {
		must(t, p.Make(volA, web))
		must(t, p.Discard(t.Context(), volA))
		must(t, p.Discard(t.Context(), volA))
		wantPlaces(t, p, volA, Places{})
		if len(s.deleted) != 1 || s.deleted[0] != nil {
			t.Errorf("the subvolume was not removed as a whole: %v", s.deleted)
		}
	})
}

// TestPurgingASubvolumeLeavesAloneWhatIsMountedInIt: the kernel takes the mount away, and
// nothing that it showed is touched.
func TestPurgingASubvolumeLeavesAloneWhatIsMountedInIt(t *testing.T) {
	onBtrfs(t, func(t *testing.T, p *Pool, _ *subvolumes, dir string) {
		outside := filepath.Join(dir, "outside")
		mustWrite(t, filepath.Join(outside, "file"))
		makeLive(t, p, volA)
		at := filepath.Join(dir, "live", volA, "data", "at")
		must(t, os.Mkdir(at, 0o755))
		must(t, syscall.Mount(outside, at, "", syscall.MS_BIND, ""))
		must(t, p.Trash(t.Context(), volA))
		must(t, p.Purge(t.Context(), volA))
		wantPlaces(t, p, volA, Places{})
		if _, err := os.Stat(filepath.Join(outside, "file")); err != nil {
			t.Error(err)
		}
	})
}

func TestACutOffMakeOfASubvolumeIsFinished(t *testing.T) {
	onBtrfs(t, func(t *testing.T, p *Pool, _ *subvolumes, dir string) {
		mode, err := web.mode()
		must(t, err)
		steps := p.makeSteps(volA, web.UID, web.GID, mode)
		for cut := range len(steps) + 1 {
			must(t, run(steps[:cut]))
			makeLive(t, p, volA)
			if !isSubvolume(t, filepath.Join(dir, "live", volA, "data")) {
				t.Errorf("cut off after %d steps, data is no subvolume", cut)
			}
			must(t, p.Trash(t.Context(), volA))
			must(t, p.Purge(t.Context(), volA))
		}
	})
}
