package acceptance

import (
	"testing"

	"tenon/agent/resource"
	"tenon/agent/volume"
)

func reserveAndUnreserve(t *testing.T) {
	n := start(t, root)
	n.must(reserve(eng(64)))
	n.has("reserved", eng(64))
	n.must(unreserve(eng(64)))
	n.has("unreserved")
}

func tenthsAddUp(t *testing.T) {
	n := start(t, root)
	n.must(reserve(eng(0.1)))
	n.must(reserve(eng(0.1)))
	n.has("twice a tenth", eng(0.2))
}

func reserveTooMuch(t *testing.T) {
	n := start(t, root)
	n.denied("more than the disk", volume.ErrInsufficient, "does not contain", reserve(eng(4097)))
}

func reservationsSurvive(t *testing.T) {
	n := start(t, root)
	labelled := by("ops", "eng")
	labelled.Labels = []resource.Label{{Key: "k", Value: ptr("v")}}
	n.must(reserve(eng(64), space(32, labelled)), reserve(space(8, dynamic("eng"), dynamic("eng/ml"))))
	want := []resource.Resource{eng(56), space(32, labelled), space(8, dynamic("eng"), dynamic("eng/ml"))}
	n.restart("boot-1")
	n.has("after a restart", want...)
	n.reboot()
	n.has("after a reboot", want...)
}

func moreIsCompatible(t *testing.T) {
	n := start(t, root)
	n.must(reserve(eng(64)), create(vol(eng(8), "id")))
	for _, mib := range []int{8192, 4096, 64} {
		allowed(t, "restart with the disk", n.restartOn("boot-1", "", mib))
		q, _ := n.all().Quantity("disk")
		is(t, "disk", q, total(n.k.Disks()))
		is(t, "volume", n.all().Contains(vol(eng(8), "id")), true)
		is(t, "reservation", n.all().Contains(eng(56)), true)
	}
}

func lessIsIncompatible(t *testing.T) {
	n := start(t, root)
	n.must(reserve(eng(64)))
	refused(t, "restart with less than is reserved", n.restartOn("boot-1", "", 63), "Incompatible agent resources")
	allowed(t, "restart with all of it", n.restartOn("boot-1", "", 64))
	is(t, "reservation", n.all().Contains(eng(64)), true)
}

func labelsKeepApart(t *testing.T) {
	n := start(t, root)
	labelled := func(mib float64, value string) resource.Resource {
		r := dynamic("eng")
		r.Labels = []resource.Label{{Key: "k", Value: &value}}
		return space(mib, r)
	}
	n.must(reserve(labelled(64, "a"), labelled(32, "b")))
	n.must(unreserve(labelled(64, "a")))
	n.has("one of them", labelled(32, "b"))
	n.denied("the same again", volume.ErrInsufficient, "does not contain", unreserve(labelled(64, "a")))
	n.must(unreserve(labelled(32, "b")))
	n.has("none")
}

func principalsKeepApart(t *testing.T) {
	n := start(t, root)
	n.must(reserve(space(64, by("ops", "eng"))))
	n.must(reserve(space(64, by("dev", "eng"))))
	n.has("both", space(64, by("ops", "eng")), space(64, by("dev", "eng")))
	n.denied("both as one", volume.ErrInsufficient, "does not contain", create(vol(space(128, by("ops", "eng")), "id")))
}
