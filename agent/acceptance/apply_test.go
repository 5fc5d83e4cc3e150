package acceptance

import (
	"testing"

	"tenon/agent/resource"
)

// applied is what operations make of a set, in order.
func applied(t *testing.T, s resource.Set, ops ...resource.Operation) resource.Set {
	t.Helper()
	for _, op := range ops {
		next, err := s.Apply(op)
		if err != nil {
			t.Fatalf("%s: %v", op.Type, err)
		}
		s = next
	}
	return s
}

// notApplied fails the test unless an operation is refused and leaves the set as it is.
func notApplied(t *testing.T, what string, s resource.Set, op resource.Operation, says string) {
	t.Helper()
	left, err := s.Apply(op)
	refused(t, what, err, says)
	same(t, what, left, s)
}

func applyReserve(t *testing.T) {
	all := set(t, "cpus:1;disk:64")
	held := applied(t, all, reserve(eng(16), scalar("cpus", 0.5, dynamic("eng"))))
	same(t, "reserved", held, resource.SetOf(space(48), eng(16), scalar("cpus", 0.5), scalar("cpus", 0.5, dynamic("eng"))))
	same(t, "unreserved", applied(t, held, unreserve(eng(16), scalar("cpus", 0.5, dynamic("eng")))), all)
	notApplied(t, "RESERVE of too much", all, reserve(eng(65)), "does not contain")
	notApplied(t, "UNRESERVE of what is not reserved", all, unreserve(eng(1)), "does not contain")
}

func applyCreate(t *testing.T) {
	all := resource.SetOf(eng(64), scalar("cpus", 1))
	made := applied(t, all, create(vol(eng(16), "id")))
	same(t, "made", made, resource.SetOf(eng(48), vol(eng(16), "id"), scalar("cpus", 1)))
	is(t, "disk", quantity(made, "disk"), 64*resource.One)
	notApplied(t, "too much", all, create(vol(eng(65), "id")), "does not contain")
	notApplied(t, "of another role", all, create(vol(space(8, dynamic("web")), "id")), "does not contain")
}

func applyCreateOnMount(t *testing.T) {
	mount := func(mib float64) resource.Resource { return on(resource.SourceMount, "/m", eng(mib)) }
	all := resource.SetOf(mount(64))
	same(t, "all of it", applied(t, all, create(vol(mount(64), "id"))), resource.SetOf(vol(mount(64), "id")))
	notApplied(t, "part of it", all, create(vol(mount(32), "id")), "does not contain")
}

func applyCreateShared(t *testing.T) {
	all := resource.SetOf(eng(64))
	v := sharing(eng(16), "id")
	made := applied(t, all, create(v))
	is(t, "copies", made.Count(v), 1)
	same(t, "made", made, resource.SetOf(eng(48), v))
	same(t, "destroyed", applied(t, made, destroy(v)), all)
}

func applyDestroyOfCopies(t *testing.T) {
	v := sharing(eng(16), "id")
	notApplied(t, "with two copies", resource.SetOf(v, v), destroy(v), "additional shared copies")
	same(t, "with one", applied(t, resource.SetOf(v), destroy(v)), resource.SetOf(eng(16)))
}
