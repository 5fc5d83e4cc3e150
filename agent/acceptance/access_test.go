package acceptance

import (
	"testing"

	"tenon/agent/access"
	"tenon/agent/resource"
	"tenon/agent/volume"
)

// Rules for one principal, ops, and for nobody else.
const (
	opsMayResize = `{"permissive": false, "resize_volumes": [{"principals": {"values": ["ops"]}, "roles": {"values": ["eng"]}}]}`
	noneResizes  = `{"resize_volumes": [{"principals": {"type": "ANY"}, "roles": {"type": "NONE"}}]}`
	opsMayMake   = `{"permissive": false,
		"view_roles": [{"principals": {"type": "ANY"}, "roles": {"type": "ANY"}}],
		"create_volumes": [{"principals": {"values": ["ops"]}, "roles": {"values": ["eng"]}}],
		"destroy_volumes": [{"principals": {"values": ["ops"]}, "creator_principals": {"values": ["ops"]}}]}`
	anyoneMayMake = `{"permissive": false, "create_volumes": [{"principals": {"type": "ANY"}, "roles": {"type": "ANY"}}],
		"destroy_volumes": [{"principals": {"type": "ANY"}, "creator_principals": {"type": "ANY"}}]}`
	opsMayReserve = `{"permissive": false,
		"reserve_resources": [{"principals": {"values": ["ops"]}, "roles": {"values": ["eng"]}}],
		"unreserve_resources": [{"principals": {"values": ["ops"]}, "reserver_principals": {"values": ["ops"]}}]}`
)

// byOps is disk that ops reserved for eng; owned is a volume that ops made of it.
func byOps(mib float64) resource.Resource { return space(mib, by("ops", "eng")) }

func owned(r resource.Resource, id, principal string) resource.Resource {
	return changed(vol(r, id), func(d *resource.Disk) { d.Persistence.Principal = &principal })
}

func mayResize(t *testing.T) {
	n := start(t, root)
	acls := rules(t, opsMayResize)
	n.must(reserve(eng(64)), create(vol(eng(8), "id")))
	allowed(t, "GROW", n.askAs("ops", acls, grow(vol(eng(8), "id"), eng(8))))
	n.has("grown", vol(eng(16), "id"), eng(48))
	allowed(t, "SHRINK", n.askAs("ops", acls, shrink(vol(eng(16), "id"), 8)))
	n.has("shrunk", vol(eng(8), "id"), eng(56))
}

func mayNotResize(t *testing.T) {
	n := start(t, root)
	acls := rules(t, noneResizes)
	n.must(reserve(eng(64), byOps(64)), create(vol(eng(8), "id")))
	for _, who := range []string{"", "ops"} {
		n.deniedTo(who, acls, "GROW", volume.ErrForbidden, "", grow(vol(eng(8), "id"), eng(8)))
		n.deniedTo(who, acls, "SHRINK", volume.ErrForbidden, "", shrink(vol(eng(8), "id"), 4))
	}
	v := owned(byOps(8), "v", "ops")
	n.deniedTo("ops", acls, "GROW beside CREATE", volume.ErrForbidden, "", create(v), grow(v, byOps(8)))
	allowed(t, "CREATE alone", n.askAs("ops", acls, create(v)))
}

func mayMake(t *testing.T, kind resource.SourceType) {
	n := start(t, kind)
	acls := rules(t, opsMayMake)
	n.must(reserve(n.part(1)))
	allowed(t, "CREATE", n.askAs("ops", acls, create(owned(n.part(1), "v", "ops"))))
	n.has("made", vol(n.part(1), "v"))
	allowed(t, "DESTROY", n.askAs("ops", acls, destroy(owned(n.part(1), "v", "ops"))))
	n.has("destroyed", n.part(1))
}

func anyoneMay(t *testing.T, kind resource.SourceType) {
	n := start(t, kind)
	acls := rules(t, anyoneMayMake)
	n.must(reserve(n.part(1)))
	allowed(t, "CREATE", n.askAs("", acls, create(vol(n.part(1), "v"))))
	n.has("made", vol(n.part(1), "v"))
	allowed(t, "DESTROY", n.askAs("", acls, destroy(vol(n.part(1), "v"))))
	n.has("destroyed", n.part(1))
}

// mayNotMake is for somebody whom the rules do not allow, known or unknown.
func mayNotMake(who string) func(*testing.T, resource.SourceType) {
	return func(t *testing.T, kind resource.SourceType) {
		n := start(t, kind)
		acls := rules(t, opsMayMake)
		mine := vol(n.part(1), "v")
		if who != "" {
			mine = owned(n.part(1), "v", who)
		}
		n.must(reserve(n.part(1)))
		n.deniedTo(who, acls, "CREATE", volume.ErrForbidden, "", create(mine))
		allowed(t, "CREATE by ops", n.askAs("ops", acls, create(owned(n.part(1), "v", "ops"))))
		n.deniedTo(who, acls, "DESTROY", volume.ErrForbidden, "", destroy(vol(n.part(1), "v")))
		n.has("afterwards", vol(n.part(1), "v"))
	}
}

func mayReserve(t *testing.T) {
	n := start(t, root)
	acls := rules(t, opsMayReserve)
	allowed(t, "RESERVE", n.askAs("ops", acls, reserve(byOps(64))))
	allowed(t, "UNRESERVE", n.askAs("ops", acls, unreserve(byOps(32))))
	n.deniedTo("dev", acls, "RESERVE", volume.ErrForbidden, "", reserve(space(8, by("dev", "eng"))))
	n.deniedTo("ops", acls, "RESERVE for another role", volume.ErrForbidden, "", reserve(space(8, by("ops", "web"))))
	n.deniedTo("dev", acls, "UNRESERVE", volume.ErrForbidden, "", unreserve(byOps(32)))
	n.has("afterwards", byOps(32))
}

func oneForbiddenRefusesAll(t *testing.T) {
	n := start(t, root)
	acls := rules(t, opsMayReserve)
	n.deniedTo("ops", acls, "RESERVE with one for another role", volume.ErrForbidden, "", reserve(byOps(8)), reserve(space(8, by("ops", "web"))))
	n.deniedTo("ops", acls, "RESERVE and CREATE", volume.ErrForbidden, "", reserve(byOps(8)), create(owned(byOps(8), "v", "ops")))
	allowed(t, "the allowed one alone", n.askAs("ops", acls, reserve(byOps(8))))
	n.has("afterwards", byOps(8))
}

func withoutRules(t *testing.T) {
	n := start(t, root)
	allowed(t, "without a principal", n.askAs("", access.ACLs{}, reserve(eng(8), byOps(8), space(8, by("dev", "eng")))))
	allowed(t, "with one", n.askAs("ops", access.ACLs{}, reserve(byOps(8))))
	n.has("all of them", eng(8), byOps(16), space(8, by("dev", "eng")))
	n.must(unreserve(eng(8), byOps(16), space(8, by("dev", "eng"))))
}

func aliensStay(t *testing.T) {
	n := start(t, root)
	acls := rules(t, opsMayReserve)
	n.must(reserve(space(8, by("dev", "web"))))
	n.deniedTo("ops", acls, "UNRESERVE", volume.ErrForbidden, "", unreserve(space(8, by("dev", "web"))))
}

func whatReserveAsks(t *testing.T) {
	n := start(t, root)
	n.must(reserve(byOps(64)))
	ask := func(what, says string, r resource.Resource) {
		n.deniedTo("ops", access.ACLs{}, what, volume.ErrInvalid, says, reserve(r))
	}
	ask("unreserved", "is not dynamically reserved", space(8))
	ask("static", "is not dynamically reserved", space(8, static("eng")))
	ask("for *", "cannot be reserved", space(8, by("ops", "*")))
	ask("a volume", "Please destroy the persistent volume first", owned(byOps(8), "v", "ops"))
	ask("of another principal", "does not match", space(8, by("dev", "eng")))
	ask("without a principal", "no principal set", eng(8))
	ask("not a refinement", "is not a refinement", space(8, by("ops", "eng"), by("ops", "web")))
	allowed(t, "a refinement", n.askAs("ops", access.ACLs{}, reserve(space(8, by("ops", "eng"), by("ops", "eng/ml")))))
}

func whoMakesAVolume(t *testing.T) {
	n := start(t, root)
	n.must(reserve(eng(64)))
	n.deniedTo("ops", access.ACLs{}, "another principal", volume.ErrInvalid, "principal", create(owned(eng(8), "v", "dev")))
	n.deniedTo("ops", access.ACLs{}, "no principal", volume.ErrInvalid, "principal", create(vol(eng(8), "v")))
	reading := changed(owned(eng(8), "v", "ops"), func(d *resource.Disk) { d.Volume = &resource.Volume{ContainerPath: "data", Mode: resource.RO} })
	n.deniedTo("ops", access.ACLs{}, "read-only", volume.ErrInvalid, "Read-only persistent volume not supported", create(reading))
	allowed(t, "its own", n.askAs("ops", access.ACLs{}, create(owned(eng(8), "v", "ops"))))
}

func permissionTables(t *testing.T) {
	acls := rules(t, `{"permissive": false, "reserve_resources": [
		{"principals": {"values": ["foo", "bar"]}, "roles": {"type": "ANY"}},
		{"principals": {"values": ["baz"]}, "roles": {"values": ["ads", "eng/%"]}},
		{"principals": {"values": ["zelda"]}, "roles": {"type": "NONE"}},
		{"principals": {"type": "ANY"}, "roles": {"values": ["open"]}}]}`)
	for _, c := range []struct {
		who, role string
		may       bool
	}{
		{"foo", "anything", true}, {"bar", "eng/ml", true},
		{"baz", "ads", true}, {"baz", "eng/ml", true}, {"baz", "eng/ml/x", true}, {"baz", "eng", false}, {"baz", "web", false},
		{"zelda", "ads", false}, {"elsewho", "open", true}, {"elsewho", "ads", false}, {"", "open", true}, {"", "ads", false},
	} {
		is(t, c.who+" for "+c.role, acls.Decide(c.who, access.Reserve, c.role).Allowed, c.may)
		is(t, c.who+" unreserves", acls.Decide(c.who, access.Unreserve, c.role).Allowed, false)
	}
}

// moved is a RESERVE that changes a reservation in one step.
func moved(to, from resource.Resource) resource.Operation {
	return resource.Operation{Type: resource.OpReserve,
		Reserve: &resource.Reserve{Resources: []resource.Resource{to}, Source: []resource.Resource{from}}}
}

func reservationsMove(t *testing.T) {
	n := start(t, root)
	n.must(reserve(eng(64)))
	n.denied("more than there is", volume.ErrInsufficient, "does not contain", moved(space(65, dynamic("web")), eng(65)))
	n.denied("another amount", volume.ErrInvalid, "identical resource quantities", moved(space(8, dynamic("web")), eng(16)))
	n.must(moved(space(16, dynamic("web")), eng(16)))
	n.has("moved", eng(48), space(16, dynamic("web")))
	n.must(create(vol(eng(8), "v")))
	n.denied("a volume", volume.ErrInvalid, "Please destroy the persistent volume first", moved(vol(space(8, dynamic("web")), "v"), vol(eng(8), "v")))
}

func movingAsksTwice(t *testing.T) {
	n := start(t, root)
	n.must(reserve(byOps(64), space(64, by("dev", "eng"))))
	acls := rules(t, `{"permissive": false,
		"reserve_resources": [{"principals": {"values": ["ops"]}, "roles": {"values": ["eng", "web"]}}],
		"unreserve_resources": [{"principals": {"values": ["ops"]}, "reserver_principals": {"values": ["ops"]}}]}`)
	allowed(t, "from one's own", n.askAs("ops", acls, moved(space(8, by("ops", "web")), byOps(8))))
	n.deniedTo("ops", acls, "to a role that is not allowed", volume.ErrForbidden, "", moved(space(8, by("ops", "ads")), byOps(8)))
	n.deniedTo("ops", acls, "from another's", volume.ErrForbidden, "", moved(space(8, by("ops", "web")), space(8, by("dev", "eng"))))
	n.has("afterwards", byOps(56), space(8, by("ops", "web")), space(64, by("dev", "eng")))
}
