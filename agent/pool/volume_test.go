package pool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

func TestMakeSetsOwnerAndModeWhateverTheUmask(t *testing.T) {
	// Not parallel: the umask is the whole process's.
	old := unix.Umask(0o777)
	defer unix.Umask(old)
	p, dir := newPool(t)
	for mode, want := range map[fs.FileMode]uint32{
		0:                                     0,
		0o700:                                 0o700,
		0o777:                                 0o777,
		0o770 | fs.ModeSetgid:                 0o2770,
		0o777 | fs.ModeSticky | fs.ModeSetgid: 0o3777,
		0o755 | fs.ModeSetuid:                 0o4755,
	} {
		must(t, p.Make(volA, Owner{UID: 1234, GID: 4321, Mode: mode}))
		must(t, p.Publish(t.Context(), volA))
		var top, data unix.Stat_t
		must(t, unix.Lstat(filepath.Join(dir, "live", volA), &top))
		must(t, unix.Lstat(filepath.Join(dir, "live", volA, "data"), &data))
		if data.Mode&^unix.S_IFMT != want || data.Uid != 1234 || data.Gid != 4321 {
			t.Errorf("mode %v: data has %#o %d:%d, want %#o 1234:4321", mode, data.Mode, data.Uid, data.Gid, want)
		}
		if top.Mode&^unix.S_IFMT != 0o700 || top.Uid != 0 || top.Gid != 0 {
			t.Errorf("mode %v: <uuid> has %#o %d:%d, want 0700 0:0", mode, top.Mode, top.Uid, top.Gid)
		}
		must(t, p.Trash(t.Context(), volA))
		must(t, p.Purge(t.Context(), volA))
	}
}

func TestMakeRefusesAnOwnerThatIsNone(t *testing.T) {
	t.Parallel()
	p, _ := newPool(t)
	for _, o := range []Owner{{UID: -1}, {GID: -1}, {Mode: 0o2770}, {Mode: fs.ModeDir | 0o700}, {Mode: fs.ModeAppend}} {
		if err := p.Make(volA, o); err == nil {
			t.Errorf("Make with %+v was done", o)
		}
	}
	wantPlaces(t, p, volA, Places{})
}

func TestMakeFinishesWhatIsThereAndLeavesALiveVolumeAlone(t *testing.T) {
	t.Parallel()
	p, dir := newPool(t)
	must(t, p.Make(volA, Owner{Mode: 0o755}))
	must(t, p.Make(volA, web))
	must(t, p.Publish(t.Context(), volA))
	info, err := os.Stat(filepath.Join(dir, "live", volA, "data"))
	must(t, err)
	if st := info.Sys().(*syscall.Stat_t); info.Mode() != fs.ModeDir|web.Mode || st.Uid != 1234 || st.Gid != 4321 {
		t.Errorf("data has %v %d:%d after a second Make with %+v", info.Mode(), st.Uid, st.Gid, web)
	}
	before := tree(t, dir)
	must(t, p.Make(volA, Owner{Mode: 0o700}))
	if diff := cmp.Diff(before, tree(t, dir)); diff != "" {
		t.Errorf("Make changed a live volume (-before +after):\n%s", diff)
	}
}

func TestMakeFinishesALiveDirectoryWithoutData(t *testing.T) {
	t.Parallel()
	for _, half := range []bool{false, true} { // with the rest of it in incoming
		p, dir := newPool(t)
		must(t, os.Mkdir(filepath.Join(dir, "live", volA), 0o711))
		if half {
			must(t, os.Mkdir(filepath.Join(dir, "incoming", volA), 0o711))
		}
		must(t, p.Make(volA, web))
		wantPlaces(t, p, volA, Places{Incoming: true})
		must(t, p.Publish(t.Context(), volA))
		wantPlaces(t, p, volA, Places{Live: true, Data: true})
		info, err := os.Stat(filepath.Join(dir, "live", volA, "data"))
		must(t, err)
		if st := info.Sys().(*syscall.Stat_t); info.Mode() != fs.ModeDir|web.Mode || st.Uid != 1234 || st.Gid != 4321 {
			t.Errorf("data has %v %d:%d, want %+v", info.Mode(), st.Uid, st.Gid, web)
		}
	}
}

func TestMakeLeavesALiveDirectoryWithSomethingElseInIt(t *testing.T) {
	t.Parallel()
	p, dir := newPool(t)
	file := filepath.Join(dir, "live", volA, "precious")
	must(t, os.Mkdir(filepath.Dir(file), 0o700))
	must(t, os.WriteFile(file, []byte("kept"), 0o600))
	before := tree(t, dir)
	if err := p.Make(volA, web); !errors.Is(err, unix.ENOTEMPTY) || !strings.Contains(err.Error(), filepath.Dir(file)) {
		t.Errorf("Make = %v, want %v with the path", err, unix.ENOTEMPTY)
	}
	if diff := cmp.Diff(before, tree(t, dir)); diff != "" {
		t.Errorf("changed (-before +after):\n%s", diff)
	}
}

func TestPublishMovesOnlyWhatIsWhole(t *testing.T) {
	t.Parallel()
	p, dir := newPool(t)
	wantError(t, p.Publish(t.Context(), volA), fs.ErrNotExist, "publish", volA, dir)
	must(t, os.Mkdir(filepath.Join(dir, "incoming", volA), 0o700))
	wantError(t, p.Publish(t.Context(), volA), fs.ErrNotExist, "publish", volA, dir)
	wantPlaces(t, p, volA, Places{Incoming: true})
}

func TestNothingIsEverReplaced(t *testing.T) {
	t.Parallel()
	p, dir := newPool(t)
	makeLive(t, p, volA)
	for _, place := range []string{"live", "incoming", "trash"} {
		name := filepath.Join(dir, place, volA, "data")
		must(t, os.MkdirAll(name, 0o700))
		must(t, os.WriteFile(filepath.Join(name, "file"), []byte(place), 0o600))
	}
	before := tree(t, dir)
	must(t, p.Publish(t.Context(), volA))
	wantError(t, p.Trash(t.Context(), volA), fs.ErrExist, "trash", volA, dir)
	if diff := cmp.Diff(before, tree(t, dir)); diff != "" {
		t.Errorf("changed (-before +after):\n%s", diff)
	}
}

func TestTrashOfAVolumeThatIsNotLiveIsDone(t *testing.T) {
	t.Parallel()
	p, _ := newPool(t)
	must(t, p.Trash(t.Context(), volA))
	wantPlaces(t, p, volA, Places{})
	makeLive(t, p, volA)
	must(t, p.Trash(t.Context(), volA))
	must(t, p.Trash(t.Context(), volA))
	wantPlaces(t, p, volA, Places{Trash: true})
}

// TestACrashAtEveryStepIsFinishedByRepeating cuts each operation off after every one of
// its steps, opens the pool again, and does the operation again.
func TestACrashAtEveryStepIsFinishedByRepeating(t *testing.T) {
	t.Parallel()
	mode, err := web.mode()
	must(t, err)
	for name, c := range map[string]struct {
		before func(t *testing.T, p *Pool)
		steps  func(p *Pool) []step
		again  func(p *Pool) error
		places []Places // that a crash may leave
		end    Places
	}{
		"make": {
			steps:  func(p *Pool) []step { return p.makeSteps(volA, web.UID, web.GID, mode) },
			again:  func(p *Pool) error { return p.Make(volA, web) },
			places: []Places{{}, {Incoming: true}},
			end:    Places{Incoming: true},
		},
		"publish": {
			before: func(t *testing.T, p *Pool) { must(t, p.Make(volA, web)) },
			steps:  func(p *Pool) []step { return p.publishSteps(volA) },
			again:  func(p *Pool) error { return p.Publish(t.Context(), volA) },
			places: []Places{{Incoming: true}, {Live: true, Data: true}},
			end:    Places{Live: true, Data: true},
		},
		"trash": {
			before: func(t *testing.T, p *Pool) { makeLive(t, p, volA) },
			steps:  func(p *Pool) []step { return p.trashSteps(volA) },
			again:  func(p *Pool) error { return p.Trash(t.Context(), volA) },
			places: []Places{{Live: true, Data: true}, {Trash: true}},
			end:    Places{Trash: true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var want string
			for k := -1; k <= len(c.steps(nil)); k++ { // -1: not cut off, to know what to expect
				p, dir := newPool(t)
				makeLive(t, p, volB) // a neighbour, which nothing may touch
				if c.before != nil {
					c.before(t, p)
				}
				must(t, run(c.steps(p)[:max(k, 0)]))
				p = mustOpen(t, dir)
				if got, err := p.Find(volA); err != nil || !contains(c.places, got) {
					t.Errorf("after %d steps Find = %+v, %v, want one of %+v", k, got, err, c.places)
				}
				must(t, c.again(p))
				must(t, c.again(p))
				wantPlaces(t, p, volA, c.end)
				if k < 0 {
					want = inside(t, dir)
				} else if got := inside(t, dir); got != want {
					t.Errorf("cut off after %d steps and repeated:\n%swant\n%s", k, got, want)
				}
			}
		})
	}
}

func contains(all []Places, one Places) bool {
	for _, p := range all {
		if p == one {
			return true
		}
	}
	return false
}

// inside is tree without the line of dir itself, which differs from test to test.
func inside(t testing.TB, dir string) string {
	t.Helper()
	all := tree(t, dir)
	for i := range all {
		if all[i] == '\n' {
			return all[i+1:]
		}
	}
	return ""
}

// TestWhereAVolumeIsFollowsFromWhatWasDone compares random operations, each cut off after
// a random number of steps, with a model of three booleans a volume.
func TestWhereAVolumeIsFollowsFromWhatWasDone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	mode, err := web.mode()
	must(t, err)
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		root := filepath.Join(dir, fmt.Sprint(n))
		must(t, os.Mkdir(root, 0o755))
		p := mustReopen(t, nil, root)
		defer func() { p.Close() }()
		must(t, p.Format(poolID))
		model := map[string]*Places{volA: {}, volB: {}, volC: {}}
		whole := map[string]bool{} // incoming has its data
		some := func(steps []step) int {
			return rapid.IntRange(0, len(steps)).Draw(t, "steps")
		}
		vol := rapid.SampledFrom([]string{volA, volB, volC})
		t.Repeat(map[string]func(*rapid.T){
			"make": func(t *rapid.T) {
				v := vol.Draw(t, "volume")
				if model[v].Live {
					must(t, p.Make(v, web))
					return
				}
				steps := p.makeSteps(v, web.UID, web.GID, mode)
				k := some(steps)
				must(t, run(steps[:k]))
				model[v].Incoming = model[v].Incoming || k >= 1
				whole[v] = whole[v] || k >= 4
			},
			"publish": func(t *rapid.T) {
				v := vol.Draw(t, "volume")
				steps := p.publishSteps(v)
				k := some(steps)
				err := run(steps[:k])
				if k > 0 && whole[v] && !model[v].Live {
					model[v].Live, model[v].Data, model[v].Incoming, whole[v] = true, true, false, false
				}
				if want := k >= 3 && !model[v].Live; (err != nil) != want {
					t.Fatalf("%d steps of Publish = %v, want an error: %v", k, err, want)
				}
			},
			"trash": func(t *rapid.T) {
				v := vol.Draw(t, "volume")
				steps := p.trashSteps(v)
				k := some(steps)
				err := run(steps[:k])
				if want := k > 0 && model[v].Live && model[v].Trash; (err != nil) != want {
					t.Fatalf("%d steps of Trash = %v, want an error: %v", k, err, want)
				}
				if k > 0 && err == nil && model[v].Live {
					model[v].Live, model[v].Data, model[v].Trash = false, false, true
				}
			},
			"discard": func(t *rapid.T) {
				v := vol.Draw(t, "volume")
				must(t, p.Discard(context.Background(), v))
				model[v].Incoming, whole[v] = false, false
			},
			"purge": func(t *rapid.T) {
				v := vol.Draw(t, "volume")
				must(t, p.Purge(context.Background(), v))
				model[v].Trash = false
			},
			"restart": func(t *rapid.T) {
				p = mustReopen(t, p, root)
			},
			"": func(t *rapid.T) {
				for v, want := range model {
					got, err := p.Find(v)
					if err != nil || got != *want {
						t.Fatalf("Find(%s) = %+v, %v, want %+v", v, got, err, *want)
					}
				}
			},
		})
	})
}

// mustReopen closes p, if there is one, and opens the pool at dir.
func mustReopen(t *rapid.T, p *Pool, dir string) *Pool {
	if p != nil {
		must(t, p.Close())
	}
	root, err := os.Open(dir)
	must(t, err)
	defer root.Close()
	p, err = Open(root)
	must(t, err)
	return p
}

func TestManyVolumesAtTheSameTimeAllArrive(t *testing.T) {
	t.Parallel()
	p, _ := newPool(t)
	var wg sync.WaitGroup
	errs := make([]error, 64)
	for i := range errs {
		wg.Go(func() {
			v := fmt.Sprintf("dddddddd-0000-4000-8000-%012d", i)
			steps := []func() error{
				func() error { return p.Make(v, web) },
				func() error { return p.Publish(t.Context(), v) },
				func() error { return p.Publish(t.Context(), v) },
			}
			if i%2 == 0 {
				steps = append(steps, func() error { return p.Trash(t.Context(), v) })
			}
			for _, do := range steps {
				if errs[i] = do(); errs[i] != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			t.Errorf("volume %d: %v", i, err)
		}
	}
	got, err := p.List()
	must(t, err)
	count := map[Place]int{}
	for _, e := range got {
		count[e.Place]++
	}
	if want := map[Place]int{Live: 32, Trash: 32}; !cmp.Equal(count, want) {
		t.Errorf("volumes are in %v, want %v", count, want)
	}
}
