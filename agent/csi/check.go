package csi

import (
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"tenon/agent/resource"
	"tenon/agent/volume"
)

// What a request may hold, by the specification's section on size limits.
const (
	maxString = 128
	maxMap    = 4 << 10
)

// longer are the fields for which the specification has another limit.
var longer = map[protoreflect.Name]int{
	"target_path": maxPath, "staging_target_path": maxPath, "volume_path": maxPath, "volume_publish_path": maxPath,
	"node_id": 256, "starting_token": maxToken,
}

// checkLimits holds every text and map of a request to its limit.
func checkLimits(req any) error {
	if m, ok := req.(proto.Message); ok {
		return checkMessage(m.ProtoReflect())
	}
	return nil
}

func checkMessage(m protoreflect.Message) (err error) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		err = checkField(f, v)
		return err == nil
	})
	return err
}

func checkField(f protoreflect.FieldDescriptor, v protoreflect.Value) error {
	switch {
	case f.IsMap():
		return checkMap(f, v.Map())
	case f.IsList():
		return checkList(f, v.List())
	case f.Kind() == protoreflect.MessageKind:
		return checkMessage(v.Message())
	case f.Kind() == protoreflect.StringKind:
		limit := maxString
		if l, ok := longer[f.Name()]; ok {
			limit = l
		}
		if n := len(v.String()); n > limit {
			return tooLong(f, n, limit)
		}
	}
	return nil
}

// checkMap counts the keys and values of a map of texts.
func checkMap(f protoreflect.FieldDescriptor, m protoreflect.Map) error {
	n := 0
	m.Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
		n += len(k.String()) + len(v.String())
		return true
	})
	if n > maxMap {
		return tooLong(f, n, maxMap)
	}
	return nil
}

// checkList counts a list of texts, and looks into one of messages.
func checkList(f protoreflect.FieldDescriptor, l protoreflect.List) error {
	n := 0
	for i := range l.Len() {
		if f.Kind() != protoreflect.MessageKind {
			n += len(l.Get(i).String())
		} else if err := checkMessage(l.Get(i).Message()); err != nil {
			return err
		}
	}
	if n > maxMap {
		return tooLong(f, n, maxMap)
	}
	return nil
}

func tooLong(f protoreflect.FieldDescriptor, n, limit int) error {
	return refuse(volume.ErrInvalid, "%s has %d bytes, which is more than %d", f.Name(), n, limit)
}

// access is what a volume capability comes to.
type access struct {
	shared   bool // several targets at once
	single   bool // one target at a time, even of a shared volume
	readOnly bool
}

// accessOf reads a capability. What no volume here can do is ErrInvalid.
func accessOf(c *csi.VolumeCapability) (a access, err error) {
	mode, err := modeOf(c)
	if err != nil {
		return a, err
	}
	a.readOnly, err = checkMount(c.GetMount())
	switch mode {
	case csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER:
	case csi.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER:
		a.single = true
	case csi.VolumeCapability_AccessMode_SINGLE_NODE_MULTI_WRITER:
		a.shared = true
	case csi.VolumeCapability_AccessMode_SINGLE_NODE_READER_ONLY:
		a.readOnly = true
	}
	return a, err
}

// modeOf is a capability's access mode: one of a single node's.
func modeOf(c *csi.VolumeCapability) (csi.VolumeCapability_AccessMode_Mode, error) {
	mode := c.GetAccessMode().GetMode()
	switch {
	case c == nil:
		return mode, refuse(volume.ErrInvalid, "volume capability is missing")
	case c.GetBlock() != nil:
		return mode, refuse(volume.ErrInvalid, "a volume is a directory and has no block device; ask for access type mount")
	case c.GetMount() == nil:
		return mode, refuse(volume.ErrInvalid, "volume capability has no access type")
	}
	switch mode {
	case csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER, csi.VolumeCapability_AccessMode_SINGLE_NODE_READER_ONLY,
		csi.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER, csi.VolumeCapability_AccessMode_SINGLE_NODE_MULTI_WRITER:
		return mode, nil
	case csi.VolumeCapability_AccessMode_UNKNOWN:
		return mode, refuse(volume.ErrInvalid, "volume capability has no access mode")
	}
	return mode, refuse(volume.ErrInvalid, "access mode %s: a volume is on one node, where several targets share it as "+
		"SINGLE_NODE_MULTI_WRITER (ReadWriteOnce in Kubernetes)", mode)
}

// mountFlags are those that may be asked for: what every mount has anyway, and the mode.
var mountFlags = map[string]bool{"rw": true, "ro": true, "nosuid": true, "nodev": true}

// checkMount holds mount options to what the agent can do, and says whether they are for
// reading only.
func checkMount(m *csi.VolumeCapability_MountVolume) (readOnly bool, err error) {
	if m.GetFsType() != "" {
		return false, refuse(volume.ErrInvalid, "fs_type %q: a volume is a directory of the file system of its disk; leave it out", m.GetFsType())
	}
	if m.GetVolumeMountGroup() != "" {
		return false, refuse(volume.ErrInvalid, "volume_mount_group is not supported; a volume's group is a parameter of its creation")
	}
	for _, list := range m.GetMountFlags() {
		for flag := range strings.SplitSeq(list, ",") {
			if !mountFlags[flag] {
				return false, refuse(volume.ErrInvalid, "mount flag %q is not one of ro, rw, nosuid, nodev", flag)
			}
			readOnly = readOnly || flag == "ro"
		}
	}
	return readOnly, nil
}

// accessOfAll reads the capabilities that a volume is to have: shared if any of them is.
func accessOfAll(list []*csi.VolumeCapability) (all access, err error) {
	if len(list) == 0 {
		return all, refuse(volume.ErrInvalid, "volume_capabilities are missing")
	}
	for _, c := range list {
		a, err := accessOf(c)
		if err != nil {
			return all, err
		}
		all.shared = all.shared || a.shared
	}
	return all, nil
}

// sizes is a range of sizes in bytes; most is 0 where there is no limit.
type sizes struct{ least, most resource.Bytes }

// sizesOf reads a capacity range; without one, it is any.
func sizesOf(r *csi.CapacityRange) (sizes, error) {
	z := sizes{resource.Bytes(r.GetRequiredBytes()), resource.Bytes(r.GetLimitBytes())}
	switch {
	case z.least < 0 || z.most < 0:
		return z, refuse(volume.ErrInvalid, "capacity_range has a negative size")
	case z.most > 0 && z.most < z.least:
		return z, outOfRange("capacity_range has a limit of %s, which is less than the %s that it requires", z.most, z.least)
	case z.least > resource.MaxScalar.Bytes():
		return z, outOfRange("capacity_range requires %s, which is more than the %s that a volume can have", z.least, resource.MaxScalar.Bytes())
	}
	return z, nil
}

// has says whether a size lies in the range.
func (z sizes) has(n resource.Bytes) bool { return n >= z.least && (z.most == 0 || n <= z.most) }

// choose picks a size: the least, or what is customary where none is required.
func (z sizes) choose(customary resource.Bytes) (resource.Scalar, error) {
	want := z.least
	if want == 0 {
		want = customary
		if z.most > 0 {
			want = min(want, z.most)
		}
	}
	size := want.Scalar()
	if z.least == 0 && z.most > 0 && size.Bytes() > z.most {
		size-- // sizes have steps of a thousandth of a MiB
	}
	if size <= 0 || !z.has(size.Bytes()) {
		return 0, outOfRange("no size that a volume can have lies between %d and %d bytes; sizes have steps of 1/1000 MiB", z.least, z.most)
	}
	return size, nil
}

// segments are this node's place in the topology.
func (s *Server) segments() map[string]string { return map[string]string{TopologyKey: s.node} }

func (s *Server) topology() []*csi.Topology { return []*csi.Topology{{Segments: s.segments()}} }

// within says whether a topology includes this node.
func (s *Server) within(t *csi.Topology) bool {
	for k, v := range t.GetSegments() {
		if s.segments()[k] != v {
			return false
		}
	}
	return len(t.GetSegments()) > 0
}

// checkTopology refuses requirements that exclude this node. What is preferred decides only
// where nothing is required.
func (s *Server) checkTopology(r *csi.TopologyRequirement) error {
	list := r.GetRequisite()
	if len(list) == 0 {
		list = r.GetPreferred()
	}
	for _, t := range list {
		if s.within(t) {
			return nil
		}
	}
	if len(list) == 0 {
		return nil
	}
	return refuse(volume.ErrInsufficient, "a volume of this agent is accessible on node %s alone, which the accessibility "+
		"requirements leave out", s.node)
}
