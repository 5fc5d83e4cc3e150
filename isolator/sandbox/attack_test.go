package sandbox

import (
	"os"
	"path/filepath"
	"testing"

	"tenon/mount"
)

// TestCVE_2025_52565_WhatIsSwappedAfterItWasPreparedIsNotTheTarget: a runtime made a mount point
// and mounted on whatever its path led to by then. See ARCHITECTURE.md, "Attacks".
func TestCVE_2025_52565_WhatIsSwappedAfterItWasPreparedIsNotTheTarget(t *testing.T) {
	t.Parallel()
	for _, swapped := range []string{"way", "way/data"} {
		r, s, dir := newSandbox(t)
		victim := filepath.Join(r.Path(), "victim")
		must(t, os.MkdirAll(filepath.Join(victim, "data"), 0o755))
		v := newVolume(t)
		p, err := s.Prepare("way/data")
		must(t, err)
		must(t, os.Rename(filepath.Join(dir, swapped), filepath.Join(dir, "away")))
		must(t, os.Symlink(victim, filepath.Join(dir, swapped)))
		tree, err := mount.Clone(v.dir, mount.Attributes{})
		must(t, err)
		must(t, tree.Attach(p.Target))
		for _, at := range []string{victim, filepath.Join(victim, "data")} {
			f, err := mount.OpenDir(at)
			must(t, err)
			if mounted, err := mount.IsRoot(f); err != nil || mounted {
				t.Errorf("%s for a symlink: %s is a mount: %t, %v", swapped, at, mounted, err)
			}
			f.Close()
		}
		// It is where the directory went, and the path does not lead to it: to be taken back.
		wantError(t, p.Verify(v.id), ErrMoved, "way/data")
		must(t, tree.Detach())
		must(t, tree.Close())
		must(t, p.Close())
		must(t, r.Remove(t.Context(), "task"))
	}
}
