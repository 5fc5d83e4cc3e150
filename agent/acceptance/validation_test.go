package acceptance

import (
	"testing"

	"tenon/agent/resource"
	"tenon/agent/volume"
)

// eng is an amount of disk that is reserved dynamically for the role eng.
func eng(mib float64) resource.Resource { return space(mib, dynamic("eng")) }

func reservationsAreValid(t *testing.T) {
	cpus := scalar("cpus", 2, dynamic("eng"))
	for _, r := range []resource.Resource{space(8, static("eng")), eng(8), cpus} {
		allowed(t, r.String(), resource.ValidateList([]resource.Resource{r}))
	}
	cpus.Revocable = true
	refused(t, cpus.String(), resource.ValidateList([]resource.Resource{cpus}), "cannot be created from revocable resources")
}

func whatMakesAVolume(t *testing.T) {
	n := start(t, root)
	n.must(reserve(eng(64)))
	revocable := vol(eng(8), "id")
	revocable.Revocable = true
	for says, r := range map[string]resource.Resource{
		"Persistent volumes cannot be created from unreserved resources":        vol(space(8), "id"),
		"Invalid persistence ID for persistent volume: 'id1/' contains invalid": vol(eng(8), "id1/"),
		"Expecting 'volume' to be set for persistent volume":                    changed(vol(eng(8), "id"), func(d *resource.Disk) { d.Volume = nil }),
		"Expecting 'host_path' to be unset":                                     changed(vol(eng(8), "id"), func(d *resource.Disk) { v := *d.Volume; v.HostPath = ptr("/h"); d.Volume = &v }),
		"Non-persistent volume not supported":                                   changed(vol(eng(8), "id"), func(d *resource.Disk) { d.Persistence = nil }),
		"Persistent volumes cannot be created from revocable resources":         revocable,
		"DiskInfo is set but empty":                                             changed(eng(8), func(*resource.Disk) {}),
	} {
		n.denied(r.String(), volume.ErrInvalid, says, create(r))
	}
	n.must(create(vol(eng(8), "id")))
}

func onlyVolumesAreShared(t *testing.T) {
	cpus, plain := scalar("cpus", 1), eng(8)
	cpus.Shared, plain.Shared = true, true
	refused(t, "cpus", resource.ValidateList([]resource.Resource{cpus}), "Resource cpus cannot be shared")
	refused(t, "plain disk", resource.ValidateList([]resource.Resource{plain}), "Only persistent volumes can be shared")
	allowed(t, "a volume", resource.ValidateList([]resource.Resource{sharing(eng(8), "id")}))
}

func providersAreOthers(t *testing.T) {
	n := start(t, root)
	n.must(reserve(eng(64)), create(vol(eng(8), "id")))
	by := func(provider string, r resource.Resource) resource.Resource {
		r.Provider = provider
		return r
	}
	v := vol(eng(8), "id2")
	for what, op := range map[string]resource.Operation{
		"RESERVE with and without": reserve(eng(8), by("p", eng(8))),
		"RESERVE of two":           reserve(by("p", eng(8)), by("q", eng(8))),
		"UNRESERVE":                unreserve(eng(8), by("p", eng(8))),
		"CREATE":                   create(v, by("p", v)),
		"DESTROY":                  destroy(by("p", vol(eng(8), "id"))),
	} {
		n.denied(what, volume.ErrInvalid, "provider", op)
	}
}

func whatUnreserveAsks(t *testing.T) {
	n := start(t, root)
	n.must(reserve(eng(64), space(8, by("ops", "eng"))), create(vol(eng(8), "id")))
	n.denied("static", volume.ErrInvalid, "is not dynamically reserved", unreserve(space(8, static("eng"))))
	n.denied("a volume", volume.ErrInvalid, "Please destroy the persistent volume first then unreserve", unreserve(vol(eng(8), "id")))
	n.must(unreserve(space(8, by("ops", "eng"))), unreserve(eng(56)))
	n.has("what is left", vol(eng(8), "id"))
}

func idsAreUniqueInTheirRole(t *testing.T) {
	n := start(t, root)
	n.must(reserve(eng(64), space(64, dynamic("web"))))
	n.denied("plain disk", volume.ErrInvalid, "Not a persistent volume", create(eng(8)))
	n.denied("twice in one request", volume.ErrExists, "Persistence ID 'id' is not unique", create(vol(eng(8), "id"), vol(eng(16), "id")))
	n.must(create(vol(eng(8), "id")))
	n.denied("again", volume.ErrExists, "Persistence ID 'id' is not unique", create(vol(eng(8), "id")))
	n.must(create(vol(space(8, dynamic("web")), "id")))
	n.has("both", vol(eng(8), "id"), vol(space(8, dynamic("web")), "id"), eng(56), space(56, dynamic("web")))
}

func moreThanThereIs(t *testing.T) {
	n := start(t, root)
	n.must(reserve(eng(64)))
	n.denied("CREATE", volume.ErrInsufficient, "does not contain", create(vol(eng(65), "id")))
	n.denied("CREATE of both", volume.ErrInsufficient, "does not contain", create(vol(eng(33), "id1"), vol(eng(33), "id2")))
}

func hierarchiesAndAllocation(t *testing.T) {
	n := start(t, root)
	deep := func(mib float64) resource.Resource { return space(mib, dynamic("eng"), dynamic("eng/ml")) }
	n.must(reserve(eng(64)), reserve(deep(32)))
	one, other := vol(deep(8), "id1"), vol(deep(8), "id2")
	one.Allocation, other.Allocation = "eng", "eng/ml"
	n.must(create(one, other))
	n.has("both", vol(deep(8), "id1"), vol(deep(8), "id2"), eng(32), deep(16))
}

func destroyIsOfVolumesThatAreThere(t *testing.T) {
	n := start(t, root)
	n.must(reserve(eng(64)), create(vol(eng(8), "id")))
	n.denied("plain disk", volume.ErrInvalid, "Not a persistent volume", destroy(eng(8)))
	n.denied("unknown", volume.ErrNotFound, "Persistent volumes not found", destroy(vol(eng(8), "other")))
	n.denied("one of two", volume.ErrNotFound, "Persistent volumes not found", destroy(vol(eng(8), "id"), vol(eng(8), "other")))
	n.must(destroy(vol(eng(8), "id")))
}

func sharedInUseStays(t *testing.T) {
	n := start(t, root)
	v := sharing(eng(8), "id")
	n.must(reserve(eng(64)), create(v))
	n.attached("one", "eng/id", resource.RW)
	n.attached("two", "eng/id", resource.RO)
	n.denied("with two", volume.ErrInUse, "Persistent volumes in use", destroy(v))
	n.release("one")
	n.denied("with one", volume.ErrInUse, "held by task two", destroy(v))
	n.release("two")
	n.must(destroy(v))
}
