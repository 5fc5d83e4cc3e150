package acceptance

import (
	"testing"

	"tenon/agent/resource"
	"tenon/agent/volume"
)

// divisible are the kinds of disk whose volumes have a size of their own.
var divisible = []resource.SourceType{root, resource.SourcePath}

// sized makes a volume of r/foo on a node of each divisible kind: all 4,096 MiB of the disk
// are reserved, size of them are the volume's.
func sized(t *testing.T, size float64, do func(n *node, of func(mib float64) resource.Resource)) {
	for _, kind := range divisible {
		t.Run(name(kind), func(t *testing.T) {
			n := start(t, kind)
			of := func(mib float64) resource.Resource { return n.disk(mib, by("ops", "r/foo")) }
			n.must(reserve(of(4096)), create(vol(of(size), "id")))
			do(n, of)
		})
	}
}

func growByTheRest(t *testing.T) {
	sized(t, 4096-512, func(n *node, of func(float64) resource.Resource) {
		before, _ := n.directory(n.named("r/foo/id").UUID)
		n.must(grow(vol(of(4096-512), "id"), of(512)))
		n.has("one grown volume and no rest", vol(of(4096), "id"))
		after, _ := n.directory(n.named("r/foo/id").UUID)
		is(n.t, "the directory stays", before == after, true)
		n.must(launch("task", vol(of(4096), "id")))
		is(n.t, "mounts", len(n.mounts()), 1)
	})
}

func shrinkByAPart(t *testing.T) {
	sized(t, 4096, func(n *node, of func(float64) resource.Resource) {
		before, _ := n.directory(n.named("r/foo/id").UUID)
		n.must(shrink(vol(of(4096), "id"), 512))
		n.has("a smaller volume and plain disk", vol(of(4096-512), "id"), of(512))
		after, _ := n.directory(n.named("r/foo/id").UUID)
		is(n.t, "the directory stays", before == after, true)
		n.must(launch("task", vol(of(4096-512), "id"), of(512)))
		is(n.t, "mounts", len(n.mounts()), 1)
	})
}

func mountDisksKeepTheirSize(t *testing.T) {
	n := start(t, resource.SourceMount)
	v := vol(n.part(1), "v1")
	n.must(reserve(n.part(1)), create(v))
	n.denied("SHRINK", volume.ErrInvalid, "MOUNT", shrink(v, 512))
	n.has("afterwards", v)
}

func grownInTheSameRequest(t *testing.T) {
	for _, kind := range divisible {
		n := start(t, kind)
		small, large := vol(n.disk(64, dynamic("eng")), "id"), vol(n.disk(96, dynamic("eng")), "id")
		addition := n.disk(32, dynamic("eng"))
		n.must(reserve(n.disk(128, dynamic("eng"))))
		n.denied("a task on the old size", volume.ErrNotFound, "there is no such volume",
			create(small), grow(small, addition), launch("t1", large), launch("t2", small))
		n.must(create(small), grow(small, addition), launch("t1", large))
		n.has("grown", large, n.disk(32, dynamic("eng")))
		is(t, "mounts", len(n.mounts()), 1)
	}
}

func shrunkInTheSameRequest(t *testing.T) {
	for _, kind := range divisible {
		n := start(t, kind)
		large, small := vol(n.disk(96, dynamic("eng")), "id"), vol(n.disk(64, dynamic("eng")), "id")
		n.must(reserve(n.disk(128, dynamic("eng"))))
		n.denied("a task on the old size", volume.ErrNotFound, "there is no such volume",
			create(large), shrink(large, 32), launch("t1", small), launch("t2", large))
		n.must(create(large), shrink(large, 32), launch("t1", small))
		n.has("shrunk", small, n.disk(64, dynamic("eng")))
		is(t, "mounts", len(n.mounts()), 1)
	}
}

func whatGrowAsks(t *testing.T) {
	n := start(t, root)
	mount := func(r resource.Resource) resource.Resource { return on(resource.SourceMount, "/mount1", r) }
	path := func(r resource.Resource) resource.Resource { return on(resource.SourcePath, "/path1", r) }
	v, provided, m := vol(eng(64), "id"), vol(eng(64), "id"), vol(mount(eng(4096)), "m")
	provided.Provider = "p"
	n.must(reserve(eng(1024), mount(eng(4096))), create(v, m))
	n.denied("plain disk", volume.ErrInvalid, "Invalid persistent volume in the 'GrowVolume.volume' field", grow(eng(64), eng(8)))
	n.denied("by nothing", volume.ErrInvalid, "field must be greater than zero", grow(v, eng(0)))
	n.denied("by another disk", volume.ErrInvalid, "Incompatible resources", grow(v, path(eng(8))))
	n.denied("by another reservation", volume.ErrInvalid, "Incompatible resources", grow(v, space(8, dynamic("web"))))
	n.denied("of a provider", volume.ErrInvalid, "Growing a volume from a resource provider is not supported", grow(provided, eng(8)))
	n.denied("on a MOUNT disk", volume.ErrInvalid, "", grow(m, mount(eng(8))))
	n.denied("by more than there is", volume.ErrInsufficient, "does not contain", grow(v, eng(961)))
	n.must(grow(v, eng(8)))
	s := sharing(eng(8), "shared")
	n.must(create(s))
	n.attached("task", "eng/shared", resource.RW)
	n.must(grow(s, eng(8)))
	n.has("afterwards", vol(eng(72), "id"), sharing(eng(16), "shared"), eng(936), m)
}

func whatShrinkAsks(t *testing.T) {
	n := start(t, root)
	v, provided := vol(eng(64), "id"), vol(eng(64), "id")
	provided.Provider = "p"
	n.must(reserve(eng(128)), create(v))
	n.denied("plain disk", volume.ErrInvalid, "Invalid persistent volume in the 'ShrinkVolume.volume' field", shrink(eng(64), 8))
	n.denied("by nothing", volume.ErrInvalid, "must be greater than zero", shrink(v, 0))
	n.denied("by all of it", volume.ErrInvalid, "must be smaller than the size", shrink(v, 64))
	n.denied("of a provider", volume.ErrInvalid, "Shrinking a volume from a resource provider is not supported", shrink(provided, 8))
	s := sharing(eng(16), "shared")
	n.must(create(s))
	n.attached("task", "eng/shared", resource.RW)
	n.denied("in use", volume.ErrInUse, "task", shrink(s, 8))
	n.release("task")
	n.fill("eng/shared", 9*resource.MiB)
	n.denied("below what is in it", volume.ErrInsufficient, "do not fit", shrink(s, 8))
	n.must(shrink(s, 7), shrink(v, 8))
	n.has("afterwards", vol(eng(56), "id"), sharing(eng(9), "shared"), eng(63))
}

// fill puts data into a volume.
func (n *node) fill(ref string, bytes resource.Bytes) {
	id := n.named(ref).UUID
	n.k.Lock()
	defer n.k.Unlock()
	n.k.Used[id] = bytes
}
