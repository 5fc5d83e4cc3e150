package acceptance

import (
	"testing"

	"tenon/agent/resource"
	"tenon/agent/volume"
)

func totalsHaveEverything(t *testing.T) {
	n := start(t, root)
	n.must(reserve(eng(64)), create(vol(eng(8), "id")))
	n.has("reservations and volumes", eng(56), vol(eng(8), "id"))
}

func sameAgentAfterAReboot(t *testing.T) {
	n := start(t, root)
	id := n.a.State().Agent
	n.reboot()
	is(t, "agent after a reboot", n.a.State().Agent, id)
	n.k.Reboot()
	allowed(t, "restart on another configuration", n.restartOn("boot-3", "", 8192))
	is(t, "agent after a reboot with another configuration", n.a.State().Agent, id)
	is(t, "an agent", id != "", true)
}

func sameAgentAfterAStop(t *testing.T) {
	n := start(t, root)
	id := n.a.State().Agent
	n.restart("boot-1")
	is(t, "agent", n.a.State().Agent, id)
}

func moreWhileATaskRuns(t *testing.T) {
	n := start(t, root)
	n.must(reserve(eng(64)), create(sharing(eng(8), "id")))
	n.attached("task", "eng/id", resource.RW)
	allowed(t, "restart with a larger disk", n.restartOn("boot-1", "", 8192))
	is(t, "mounts", len(n.mounts()), 1)
	is(t, "holders", len(n.holders("eng/id")), 1)
	n.must(reserve(eng(8000)))
}

func configurationsThatFit(t *testing.T) {
	root := func(unreserved, reserved float64, role string) volume.Disk {
		d := configured(space(unreserved + reserved))
		d.Parts = []volume.Part{{Size: space(unreserved).Scalar}, {Reservations: []resource.Reservation{static(role)}, Size: space(reserved).Scalar}}
		return d
	}
	path, mount := configured(on(resource.SourcePath, "/path1", space(1024))), configured(on(resource.SourceMount, "/mount1", space(1024)))
	small := configured(on(resource.SourcePath, "/path1", space(63)))
	n := startOn(t, resource.SourcePath, root(512, 512, "web"), path)
	v := vol(space(64, static("web")), "id")
	n.must(create(v), reserve(eng(64), n.disk(64, dynamic("eng"))))
	for _, c := range []struct {
		what  string
		disks []volume.Disk
		fits  bool
	}{
		{"as it was", []volume.Disk{root(512, 512, "web"), path}, true},
		{"with more of all", []volume.Disk{root(1024, 1024, "web"), path}, true},
		{"with just what is taken", []volume.Disk{root(64, 64, "web"), path}, true},
		{"with less that is unreserved", []volume.Disk{root(63, 961, "web"), path}, false},
		{"with less for the role, and as much in all", []volume.Disk{root(961, 63, "web"), path}, false},
		{"with another role", []volume.Disk{root(512, 512, "ads"), path}, false},
		{"with too small a PATH disk", []volume.Disk{root(512, 512, "web"), small}, false},
		{"without the PATH disk", []volume.Disk{root(512, 512, "web")}, false},
		{"with a MOUNT disk more", []volume.Disk{root(512, 512, "web"), path, mount}, true},
		{"without it again, as nobody has it", []volume.Disk{root(512, 512, "web"), path}, true},
	} {
		err := n.restartWith("boot-1", c.disks...)
		if !c.fits {
			refused(t, c.what, err, "Incompatible agent resources")
			continue
		}
		allowed(t, c.what, err)
		taken := n.all().Filter(func(r resource.Resource) bool { return r.NeedsCheckpoint() })
		same(t, c.what, taken, resource.SetOf(v, eng(64), n.disk(64, dynamic("eng"))))
	}
}

func allocationsComeOff(t *testing.T) {
	n := start(t, root)
	given := func(r resource.Resource) resource.Resource {
		r.Allocation = "eng"
		return r
	}
	v := vol(eng(8), "id")
	n.must(reserve(given(eng(64))))
	n.has("RESERVE", eng(64))
	n.must(create(given(v)))
	n.has("CREATE", eng(56), v)
	n.must(destroy(given(v)))
	n.has("DESTROY", eng(64))
	n.must(unreserve(given(eng(64))))
	n.has("UNRESERVE")
}
