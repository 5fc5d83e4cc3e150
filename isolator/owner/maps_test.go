package owner

import (
	"os"
	"sync"
	"testing"

	"tenon/mount"
	"tenon/mount/mounttest"
)

// mustAs returns the identity of a map's namespace.
func mustAs(t testing.TB, m *Maps, disk, seen ID) mount.Identity {
	t.Helper()
	ns, err := m.As(disk, seen)
	must(t, err)
	defer ns.Close()
	id, err := mount.Identify(ns)
	must(t, err)
	return id
}

func TestThereIsOneNamespaceForEachMap(t *testing.T) {
	mounttest.RequireRoot(t)
	var m Maps
	defer m.Close()
	a, b := ID{1500, 1501}, ID{2000, 2001}
	seen := map[mount.Identity]bool{}
	for _, p := range []pair{{a, b}, {b, a}, {a, a}, {a, ID{2000, 2002}}} {
		id := mustAs(t, &m, p.disk, p.seen)
		if seen[id] {
			t.Errorf("%v has the namespace of another map", p)
		}
		seen[id] = true
		if again := mustAs(t, &m, p.disk, p.seen); again != id {
			t.Errorf("%v has another namespace the second time", p)
		}
	}
	if len(m.kept) != 4 {
		t.Errorf("%d are kept", len(m.kept))
	}
}

func TestAMapOutlivesItsKeeper(t *testing.T) {
	mounttest.RequireRoot(t)
	var m Maps
	ns, err := m.As(ID{1500, 1501}, ID{2000, 2001})
	must(t, err)
	defer ns.Close()
	must(t, m.Close())
	if _, err := mount.Identify(ns); err != nil {
		t.Error(err)
	}
	mustAs(t, &m, ID{1500, 1501}, ID{2000, 2001}) // and the keeper can be used again
	must(t, m.Close())
}

func TestTheNumberOfMapsKeptIsBounded(t *testing.T) {
	mounttest.RequireRoot(t)
	var m Maps
	defer m.Close()
	first := mustAs(t, &m, ID{1, 1}, ID{2, 2})
	for len(m.kept) < maxMaps { // as if there were that many
		null, err := os.Open(os.DevNull)
		must(t, err)
		m.kept[pair{disk: ID{UID: uint32(len(m.kept))}}] = null
	}
	if again := mustAs(t, &m, ID{1, 1}, ID{2, 2}); again != first {
		t.Error("a map was dropped for no reason")
	}
	mustAs(t, &m, ID{3, 3}, ID{4, 4})
	if len(m.kept) != 1 {
		t.Errorf("%d are kept, want the newest alone", len(m.kept))
	}
}

func TestMapsAreForManyAtOnce(t *testing.T) {
	mounttest.RequireRoot(t)
	var m Maps
	defer m.Close()
	var all sync.Map
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for uid := uint32(1); uid <= 4; uid++ {
				ns, err := m.As(ID{1500, 1500}, ID{uid, uid})
				if err != nil {
					t.Error(err)
					return
				}
				id, err := mount.Identify(ns)
				if other, loaded := all.LoadOrStore(uid, id); err != nil || loaded && other != id {
					t.Errorf("user %d has two namespaces, %v", uid, err)
				}
				ns.Close()
			}
		})
	}
	wg.Wait()
}

func TestAMapOfNobodyIsRefused(t *testing.T) {
	mounttest.RequireRoot(t)
	var m Maps
	if _, err := m.As(ID{1<<32 - 1, 0}, ID{1, 1}); err == nil || len(m.kept) != 0 {
		t.Errorf("got error %v, with %d kept", err, len(m.kept))
	}
}
