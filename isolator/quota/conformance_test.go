package quota

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"tenon/mount/mounttest"
)

func TestAWriteBeyondTheLimitFailsAndOneUpToItDoesNot(t *testing.T) {
	each(t, flavours, func(t *testing.T, d *disk, q *Quota) {
		const limit = 6 * mib
		dir := d.volume(t, q, "data", 5000, limit)
		written, err := mounttest.Fill(t, dir+"/file", 2*limit)
		wantError(t, err, d.Full)
		if written > limit || written+d.Overhead < limit {
			t.Errorf("%d bytes were written, want %d less at most %d", written, limit, d.Overhead)
		}
		u := usage(t, q, 5000)
		if u.LimitBytes != limit || u.Bytes > limit || u.Bytes < written {
			t.Errorf("usage is %+v after %d bytes were written", u, written)
		}
	})
}

func TestALimitIsRoundedUpToWholeBlocks(t *testing.T) {
	each(t, flavours, func(t *testing.T, d *disk, q *Quota) {
		dir := d.volume(t, q, "data", 5000, mib+1)
		const want = mib + 4096
		if u := usage(t, q, 5000); u.LimitBytes != want || q.Round(mib+1) != want {
			t.Errorf("the limit is %d, Round says %d, want %d", u.LimitBytes, q.Round(mib+1), want)
		}
		must(t, q.Close())
		d.Remount(t)
		if u := usage(t, d.open(t), 5000); u.LimitBytes != want {
			t.Errorf("after a remount the limit is %d, want %d", u.LimitBytes, want)
		}
		_ = dir
	})
}

func TestALimitGrowsUnderAnOpenFile(t *testing.T) {
	each(t, flavours, func(t *testing.T, d *disk, q *Quota) {
		dir := d.volume(t, q, "data", 5000, 2*mib)
		f, err := os.Create(dir + "/file")
		must(t, err)
		defer f.Close()
		wantError(t, mounttest.AsTask(t, func() error { _, err := mounttest.Grow(f, 4*mib); return err }), d.Full)
		must(t, q.SetLimit(5000, 8*mib, 0))
		must(t, mounttest.AsTask(t, func() error { _, err := mounttest.Grow(f, 4*mib); return err }))
	})
}

func TestALimitBelowTheUseTakesNothingAwayAndLetsNothingIn(t *testing.T) {
	each(t, flavours, func(t *testing.T, d *disk, q *Quota) {
		dir := d.volume(t, q, "data", 5000, 8*mib)
		_, err := mounttest.Fill(t, dir+"/a", 3*mib)
		must(t, err)
		_, err = mounttest.Fill(t, dir+"/b", 3*mib)
		must(t, err)
		before := usage(t, q, 5000)
		must(t, q.SetLimit(5000, 4*mib, 0))
		if u := usage(t, q, 5000); u.Bytes != before.Bytes || u.LimitBytes != 4*mib {
			t.Errorf("usage was %+v, is %+v", before, u)
		}
		written, err := mounttest.Fill(t, dir+"/c", mib)
		wantError(t, err, d.Full)
		if written > 0 {
			t.Errorf("%d bytes were written above the limit", written)
		}
		must(t, os.Remove(dir+"/a"))
		until(t, q, func() bool { return usage(t, q, 5000).Bytes < 4*mib-mib/2 })
		_, err = mounttest.Fill(t, dir+"/d", mib/4)
		must(t, err)
	})
}

func TestInodesAreLimitedWhereTheyCanBe(t *testing.T) {
	each(t, flavours, func(t *testing.T, d *disk, q *Quota) {
		dir := d.volume(t, q, "data", 5000, 4*mib)
		err := q.SetLimit(5000, 4*mib, 10)
		if !d.Inodes {
			wantError(t, err, ErrUnsupported)
			return
		}
		must(t, err)
		made := 0
		err = mounttest.AsTask(t, func() (err error) {
			for ; made < 20 && err == nil; made++ {
				err = os.Mkdir(fmt.Sprintf("%s/%d", dir, made), 0o755)
			}
			return err
		})
		wantError(t, err, d.Full)
		if u := usage(t, q, 5000); made != 10 || u.Inodes != 10 || u.LimitInodes != 10 {
			t.Errorf("the creation of file %d failed, usage is %+v; want that of the 10th beside its directory", made, u)
		}
		must(t, q.SetLimit(5000, 4*mib, 0))
		if u := usage(t, q, 5000); u.LimitInodes != 0 {
			t.Errorf("the limit of inodes is still %d", u.LimitInodes)
		}
		must(t, mounttest.AsTask(t, func() error { return os.Mkdir(dir+"/more", 0o755) }))
	})
}

func TestWhatIsMadeInsideIsInTheProject(t *testing.T) {
	each(t, flavours, func(t *testing.T, d *disk, q *Quota) {
		dir := d.volume(t, q, "data", 5000, 8*mib)
		must(t, mounttest.AsTask(t, func() error { return os.MkdirAll(dir+"/a/b/c", 0o755) }))
		_, err := mounttest.Fill(t, dir+"/a/b/c/file", mib)
		must(t, err)
		if id := projectOf(t, q, dir+"/a/b/c"); id != 5000 {
			t.Errorf("the project of a directory inside is %d", id)
		}
		if id := projectOf(t, q, d.Dir); id != 0 {
			t.Errorf("the project of the disk is %d", id)
		}
		u := usage(t, q, 5000)
		if u.Bytes < mib || d.Inodes && u.Inodes != 5 {
			t.Errorf("usage is %+v", u)
		}
	})
}

func TestNothingComesInByARenameOrALink(t *testing.T) {
	each(t, flavours, func(t *testing.T, d *disk, q *Quota) {
		a := d.volume(t, q, "a", 5000, 4*mib)
		b := d.volume(t, q, "b", 5001, 4*mib)
		none := d.Dir + "/none"
		must(t, os.WriteFile(a+"/file", []byte("x"), 0o644))
		must(t, os.WriteFile(none, []byte("x"), 0o644))
		for _, from := range []string{a + "/file", none} {
			wantError(t, os.Rename(from, b+"/file"), unix.EXDEV)
			wantError(t, os.Link(from, b+"/file"), unix.EXDEV)
		}
		must(t, os.Rename(a+"/file", a+"/other"))
		must(t, os.Link(a+"/other", a+"/file"))
	})
}

func TestTheDirectoryAboveCanBeMoved(t *testing.T) {
	each(t, flavours, func(t *testing.T, d *disk, q *Quota) {
		for _, place := range []string{"incoming", "live", "trash"} {
			must(t, os.Mkdir(filepath.Join(d.Dir, place), 0o755))
		}
		must(t, os.Mkdir(d.Dir+"/incoming/v", 0o700))
		d.volume(t, q, "incoming/v/data", 5000, 4*mib)
		must(t, os.Rename(d.Dir+"/incoming/v", d.Dir+"/live/v"))
		_, err := mounttest.Fill(t, d.Dir+"/live/v/data/file", 8*mib)
		wantError(t, err, d.Full)
		must(t, os.Rename(d.Dir+"/live/v", d.Dir+"/trash/v"))
		if id := projectOf(t, q, d.Dir+"/trash/v/data"); id != 5000 {
			t.Errorf("in the trash its project is %d", id)
		}
	})
}

func TestWhatIsRemovedIsNotUsedAnyMore(t *testing.T) {
	each(t, flavours, func(t *testing.T, d *disk, q *Quota) {
		dir := d.volume(t, q, "data", 5000, 8*mib)
		base := usage(t, q, 5000)
		_, err := mounttest.Fill(t, dir+"/file", 4*mib)
		must(t, err)
		must(t, os.Remove(dir+"/file"))
		until(t, q, func() bool {
			u := usage(t, q, 5000)
			return u.Bytes <= base.Bytes+d.Overhead && u.Inodes == base.Inodes
		})
	})
}

func TestAProjectIsClearedWhenNothingIsLeftOfIt(t *testing.T) {
	each(t, flavours, func(t *testing.T, d *disk, q *Quota) {
		dir := d.volume(t, q, "data", 5000, 8*mib)
		open, err := os.Create(dir + "/file")
		must(t, err)
		defer open.Close()
		_, err = mounttest.Grow(open, mib)
		must(t, err)
		must(t, unix.Syncfs(int(q.dir.Fd())))
		wantError(t, q.Clear(5000), ErrInUse)
		must(t, os.Remove(dir+"/file"))
		must(t, os.Remove(dir)) // rmdir, of a subvolume too
		if d.Type != "btrfs" {
			wantError(t, q.Clear(5000), ErrInUse) // the file is still open
			if u := usage(t, q, 5000); u.LimitBytes != 8*mib {
				t.Errorf("the limit went too early: %+v", u)
			}
		}
		must(t, open.Close())
		until(t, q, func() bool {
			err = q.Clear(5000)
			return !errors.Is(err, ErrInUse)
		})
		must(t, err)
		if u := usage(t, q, 5000); u != (Usage{}) {
			t.Errorf("usage of a cleared project is %+v", u)
		}
		if all, err := q.List(DefaultRange); err != nil || len(all) > 0 {
			t.Errorf("List gives %v, %v; want nothing", all, err)
		}
		must(t, q.Clear(5000))
		if again := d.volume(t, q, "again", 5000, 2*mib); projectOf(t, q, again) != 5000 {
			t.Error("the number can't be used again")
		}
	})
}

func TestAProjectSurvivesARemount(t *testing.T) {
	each(t, flavours, func(t *testing.T, d *disk, q *Quota) {
		dir := d.volume(t, q, "data", 5000, 4*mib)
		if d.Inodes {
			must(t, q.SetLimit(5000, 4*mib, 100))
		}
		_, err := mounttest.Fill(t, dir+"/file", mib)
		must(t, err)
		before := usage(t, q, 5000)
		must(t, q.Close())
		d.Remount(t)
		q = d.open(t)
		if diff := cmp.Diff(before, usage(t, q, 5000)); diff != "" {
			t.Errorf("usage after a remount (-before +after):\n%s", diff)
		}
		if id := projectOf(t, q, dir); id != 5000 {
			t.Errorf("its project is %d", id)
		}
		_, err = mounttest.Fill(t, dir+"/more", 8*mib)
		wantError(t, err, d.Full)
	})
}

func TestAForeignProjectIsSeenAndLeftAlone(t *testing.T) {
	each(t, flavours, func(t *testing.T, d *disk, q *Quota) {
		r := Range{5000, 5003}
		foreign := d.volume(t, q, "foreign", 5000, 3*mib)
		must(t, os.WriteFile(foreign+"/file", []byte("theirs"), 0o644))
		must(t, q.SetLimit(5002, mib, 0)) // a limit, and nothing in it
		before := usage(t, q, 5000)
		taken, err := q.List(r)
		must(t, err)
		if diff := cmp.Diff([]uint32{5000, 5002}, ids(taken)); diff != "" {
			t.Fatalf("List (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(before, taken[0].Usage); diff != "" {
			t.Errorf("List says something else than Usage (-usage +list):\n%s", diff)
		}
		id, ok := r.Next(r.First, func(id uint32) bool { return slices.Contains(ids(taken), id) })
		if !ok || id != 5001 {
			t.Fatalf("Next gives %d, %t", id, ok)
		}
		own := d.volume(t, q, "own", id, 2*mib)
		must(t, os.Remove(own))
		until(t, q, func() bool { return q.Clear(id) == nil })
		if diff := cmp.Diff(before, usage(t, q, 5000)); diff != "" {
			t.Errorf("the foreign project (-before +after):\n%s", diff)
		}
	})
}

func ids(entries []Entry) (all []uint32) {
	for _, e := range entries {
		all = append(all, e.ID)
	}
	return all
}

func TestListGivesAllOfManyAndNothingBeyondTheRange(t *testing.T) {
	each(t, flavours, func(t *testing.T, d *disk, q *Quota) {
		const first, last = 6000, 6299
		for id := uint32(first - 5); id <= last+5; id++ {
			must(t, q.SetLimit(id, uint64(id)*4096, 0))
		}
		all, err := q.List(Range{first, last})
		must(t, err)
		if len(all) != last-first+1 {
			t.Fatalf("List gives %d projects, want %d", len(all), last-first+1)
		}
		for i, e := range all {
			if e.ID != uint32(first+i) || e.LimitBytes != uint64(e.ID)*4096 {
				t.Fatalf("entry %d is %+v", i, e)
			}
		}
	})
}

func TestARepeatedCallChangesNothing(t *testing.T) {
	each(t, flavours, func(t *testing.T, d *disk, q *Quota) {
		dir := d.volume(t, q, "data", 5000, 4*mib)
		before := usage(t, q, 5000)
		must(t, assign(t, q, dir, 5000))
		must(t, q.SetLimit(5000, 4*mib, 0))
		if diff := cmp.Diff(before, usage(t, q, 5000)); diff != "" {
			t.Errorf("(-before +after):\n%s", diff)
		}
	})
}

func TestADirectoryChangesItsProject(t *testing.T) {
	each(t, flavours, func(t *testing.T, d *disk, q *Quota) {
		dir := d.volume(t, q, "data", 5000, 4*mib)
		_, err := mounttest.Fill(t, dir+"/file", mib)
		must(t, err)
		must(t, assign(t, q, dir, 5001))
		if id := projectOf(t, q, dir); id != 5001 {
			t.Errorf("its project is %d", id)
		}
		if was, is := usage(t, q, 5000), usage(t, q, 5001); was.Bytes != 0 || is.Bytes < mib {
			t.Errorf("usage of the old project is %+v, of the new one %+v", was, is)
		}
	})
}

func TestCallsAtTheSameTimeDoNotDisturbEachOther(t *testing.T) {
	each(t, flavours, func(t *testing.T, d *disk, q *Quota) {
		var all sync.WaitGroup
		for n := range uint32(8) {
			dir := d.mkdir(t, fmt.Sprint(n))
			all.Go(func() {
				id := 5000 + n
				if err := errors.Join(assign(t, q, dir, id), q.SetLimit(id, uint64(n+1)*mib, 0)); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		entries, err := q.List(DefaultRange)
		must(t, err)
		for n, e := range entries {
			if e.ID != uint32(5000+n) || e.LimitBytes != uint64(n+1)*mib {
				t.Errorf("entry %d is %+v", n, e)
			}
		}
		if len(entries) != 8 {
			t.Errorf("%d projects, want 8", len(entries))
		}
	})
}

func TestNonsenseIsRefused(t *testing.T) {
	each(t, flavours, func(t *testing.T, d *disk, q *Quota) {
		dir := d.mkdir(t, "data")
		for _, id := range []uint32{0, 1<<32 - 1} {
			wantError(t, q.SetLimit(id, mib, 0), unix.EINVAL)
			wantError(t, assign(t, q, dir, id), unix.EINVAL)
			wantError(t, q.Clear(id), unix.EINVAL)
			_, err := q.Usage(id)
			wantError(t, err, unix.EINVAL)
		}
		wantError(t, q.SetLimit(5000, 0, 0), unix.EINVAL)
		wantError(t, q.SetLimit(5000, 1<<63, 0), unix.EINVAL)
		if u := usage(t, q, 5000); u != (Usage{}) {
			t.Errorf("usage is %+v", u)
		}
	})
}

func TestErrorsNameTheProjectAndTheDirectory(t *testing.T) {
	each(t, plain, func(t *testing.T, d *disk, q *Quota) {
		err := q.SetLimit(5000, mib, 0)
		for _, part := range []string{"project 5000", d.Dir, d.Type} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q does not name %q", err, part)
			}
		}
		dir, err := os.Open(d.Dir)
		must(t, err)
		must(t, dir.Close())
		if err := q.Assign(t.Context(), dir, 5000); !errors.Is(err, fs.ErrClosed) && !errors.Is(err, unix.EBADF) {
			t.Errorf("of a closed directory: %v", err)
		}
	})
}

func TestExactUsageHasWhatNobodyHasSynced(t *testing.T) {
	each(t, flavours, func(t *testing.T, d *disk, q *Quota) {
		dir := d.volume(t, q, "data", 5000, 8*mib)
		_, err := mounttest.Fill(t, dir+"/file", 2*mib)
		must(t, err)
		u, err := q.Exact(5000)
		if err != nil || u.Bytes < 2*mib || u.LimitBytes != 8*mib {
			t.Errorf("exact usage is %+v, %v; want at least %d bytes", u, err, 2*mib)
		}
	})
}
