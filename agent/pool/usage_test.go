package pool

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"tenon/agent/resource"
	"tenon/mount"
	"tenon/mount/mounttest"
)

func mustUse(t *testing.T, p *Pool, v string) Usage {
	t.Helper()
	u, err := p.Used(t.Context(), v)
	must(t, err)
	return u
}

func TestUsedIsWhatLiesInTheDataOfOneVolume(t *testing.T) {
	t.Parallel()
	p, dir := newPool(t)
	makeLive(t, p, volA)
	makeLive(t, p, volB)
	empty := mustUse(t, p, volA)
	if empty.Inodes != 1 || empty.Bytes > 64<<10 {
		t.Errorf("an empty volume uses %+v, want its directory", empty)
	}
	data := filepath.Join(dir, "live", volA, "data")
	mustWrite(t, filepath.Join(data, "a", "b", "small"))
	must(t, os.WriteFile(filepath.Join(data, "large"), bytes.Repeat([]byte{1}, 3<<20), 0o600))
	must(t, os.Symlink("/", filepath.Join(data, "root")))
	must(t, os.Symlink("../../"+volA, filepath.Join(data, "up")))
	must(t, os.Link(filepath.Join(data, "large"), filepath.Join(data, "a", "again")))
	if got := mustUse(t, p, volA); got.Inodes != 7 || got.Bytes < 3*resource.MiB || got.Bytes > 4*resource.MiB {
		t.Errorf("used %+v, want 7 inodes and little more than 3 MiB", got)
	}
	if got := mustUse(t, p, volB); got != empty {
		t.Errorf("the volume beside it uses %+v, want %+v", got, empty)
	}
}

func TestUsedOfWhatIsNotLiveIsRefused(t *testing.T) {
	t.Parallel()
	p, _ := newPool(t)
	_, err := p.Used(t.Context(), volA)
	wantError(t, err, fs.ErrNotExist, volA)
	must(t, p.Make(volA, web))
	_, err = p.Used(t.Context(), volA)
	wantError(t, err, fs.ErrNotExist, volA)
	makeLive(t, p, volB)
	must(t, p.Trash(t.Context(), volB))
	_, err = p.Used(t.Context(), volB)
	wantError(t, err, fs.ErrNotExist, volB)
	_, err = p.Used(t.Context(), "../live")
	wantError(t, err, errUUID, "../live")
}

func TestUsedEndsWithItsContext(t *testing.T) {
	t.Parallel()
	p, dir := newPool(t)
	makeLive(t, p, volA)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := p.Used(ctx, volA)
	wantError(t, err, context.Canceled, "measure", volA, dir)
}

func TestUsedCountsNothingThatIsMountedOnTheVolume(t *testing.T) {
	t.Parallel()
	mounttest.RequireMounts(t)
	p, dir := newPool(t)
	makeLive(t, p, volA)
	data := filepath.Join(dir, "live", volA, "data")
	must(t, os.Mkdir(filepath.Join(data, "point"), 0o700))
	before := mustUse(t, p, volA)
	must(t, unix.Mount("none", filepath.Join(data, "point"), "tmpfs", 0, ""))
	t.Cleanup(func() { must(t, unix.Unmount(filepath.Join(data, "point"), 0)) })
	must(t, os.WriteFile(filepath.Join(data, "point", "large"), bytes.Repeat([]byte{1}, 1<<20), 0o600))
	if got := mustUse(t, p, volA); got.Inodes != before.Inodes-1 || got.Bytes > before.Bytes {
		t.Errorf("with a file system mounted inside %+v, before %+v", got, before)
	}
	must(t, unix.Mount("none", data, "tmpfs", 0, ""))
	t.Cleanup(func() { must(t, unix.Unmount(data, 0)) })
	_, err := p.Used(t.Context(), volA)
	wantError(t, err, mount.ErrMounted, volA)
}
