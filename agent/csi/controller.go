package csi

import (
	"context"
	"errors"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"tenon/agent/resource"
	"tenon/agent/volume"
)

// controllerDoes is what the controller of a node announces.
var controllerDoes = []csi.ControllerServiceCapability_RPC_Type{
	csi.ControllerServiceCapability_RPC_CREATE_DELETE_VOLUME,
	csi.ControllerServiceCapability_RPC_LIST_VOLUMES,
	csi.ControllerServiceCapability_RPC_GET_CAPACITY,
	csi.ControllerServiceCapability_RPC_GET_VOLUME,
	csi.ControllerServiceCapability_RPC_SINGLE_NODE_MULTI_WRITER,
	csi.ControllerServiceCapability_RPC_GET_VOLUME_HEALTH,
	csi.ControllerServiceCapability_RPC_LIST_VOLUME_HEALTH,
}

// ControllerGetCapabilities announces what there is: no attaching, which a local volume has
// no need of, and neither snapshots nor clones.
func (s *Server) ControllerGetCapabilities(context.Context, *csi.ControllerGetCapabilitiesRequest) (*csi.ControllerGetCapabilitiesResponse, error) {
	does := controllerDoes
	if !s.nodeExpansion {
		does = append(does[:len(does):len(does)], csi.ControllerServiceCapability_RPC_EXPAND_VOLUME)
	}
	r := &csi.ControllerGetCapabilitiesResponse{}
	for _, t := range does {
		r.Capabilities = append(r.Capabilities, &csi.ControllerServiceCapability{Type: &csi.ControllerServiceCapability_Rpc{
			Rpc: &csi.ControllerServiceCapability_RPC{Type: t}}})
	}
	return r, nil
}

// DeleteVolume destroys a volume, and gives its space back to where it was taken from. It
// returns when the data is gone. One that is gone already is nil; one that is in use, or on
// another node, is refused.
func (s *Server) DeleteVolume(ctx context.Context, r *csi.DeleteVolumeRequest) (*csi.DeleteVolumeResponse, error) {
	if r.GetVolumeId() == "" {
		return nil, refuse(volume.ErrInvalid, "volume_id is missing")
	}
	st := s.agent.State()
	if foreign(st, r.GetVolumeId()) {
		_, err := find(st, r.GetVolumeId())
		return nil, err
	}
	uuid, ours := parseID(st, r.GetVolumeId())
	v, known := st.Volume(uuid)
	if !ours || !known {
		return &csi.DeleteVolumeResponse{}, nil
	}
	ops := []volume.Operation{volume.Destroy{Ref: string(uuid)}}
	if reservedHere(v) && v.Phase != volume.Destroying {
		space := st.Describe(volume.Account{Disk: v.Disk, Reservations: v.Reservations, Free: v.Size})
		ops = append(ops, volume.Unreserve{Resources: []resource.Resource{space}})
	}
	if _, err := s.ask(ctx, same(v), ops...); err != nil && !errors.Is(err, volume.ErrNotFound) {
		return nil, err
	}
	return &csi.DeleteVolumeResponse{}, nil
}

// same refuses operations on a volume that has changed since it was looked at.
func same(v *volume.Volume) func(*volume.State, volume.Operation) error {
	return func(now *volume.State, op volume.Operation) error {
		_, destroy := op.(volume.Destroy)
		_, resize := op.(volume.Resize)
		if found, ok := now.Volume(v.UUID); ok && (destroy || resize) && (found.Size != v.Size || found.Phase != v.Phase) {
			return refuse(volume.ErrPending, "volume %s is being changed by somebody else", v.Name)
		}
		return nil
	}
}

// ControllerExpandVolume makes a volume larger, in use or not. The limit moves at once, so
// nothing is left for the node to do.
func (s *Server) ControllerExpandVolume(ctx context.Context, r *csi.ControllerExpandVolumeRequest) (*csi.ControllerExpandVolumeResponse, error) {
	st := s.agent.State()
	if r.GetVolumeId() != "" && r.GetCapacityRange() == nil {
		return nil, refuse(volume.ErrInvalid, "capacity_range is missing")
	}
	v, err := find(st, r.GetVolumeId())
	if err != nil {
		return nil, err
	}
	n, err := s.expand(ctx, st, v, r.GetCapacityRange(), r.GetVolumeCapability())
	if err != nil {
		return nil, err
	}
	return &csi.ControllerExpandVolumeResponse{CapacityBytes: int64(n)}, nil
}

// expand makes a volume as large as a range requires, unless it is, and says how large it is
// then. It never becomes smaller.
func (s *Server) expand(ctx context.Context, st *volume.State, v *volume.Volume, r *csi.CapacityRange, c *csi.VolumeCapability) (resource.Bytes, error) {
	if c != nil {
		if _, err := accessOf(c); err != nil {
			return 0, err
		}
	}
	z, err := sizesOf(r)
	if err != nil {
		return 0, err
	}
	have := v.Size.Bytes()
	if z.most > 0 && have > z.most {
		return 0, outOfRange("volume %s has %s, which is more than the limit of %s, and cannot be made smaller by this", v.Name, have, z.most)
	}
	if have >= z.least {
		return have, usable(st, v)
	}
	size, err := z.choose(0)
	if err != nil {
		return 0, err
	}
	var ops []volume.Operation
	if reservedHere(v) {
		more := st.Describe(volume.Account{Disk: v.Disk, Reservations: v.Reservations, Free: size - v.Size})
		ops = append(ops, volume.Reserve{Resources: []resource.Resource{more}, Principal: Driver})
	}
	_, err = s.ask(ctx, same(v), append(ops, volume.Resize{Ref: string(v.UUID), Size: size})...)
	return size.Bytes(), err
}

// ValidateVolumeCapabilities confirms what a volume can do, or says why it cannot.
func (s *Server) ValidateVolumeCapabilities(_ context.Context, r *csi.ValidateVolumeCapabilitiesRequest) (*csi.ValidateVolumeCapabilitiesResponse, error) {
	v, err := find(s.agent.State(), r.GetVolumeId())
	if err != nil {
		return nil, err
	}
	if len(r.GetVolumeCapabilities()) == 0 {
		return nil, refuse(volume.ErrInvalid, "volume_capabilities are missing")
	}
	if err := validate(v, r); err != nil {
		return &csi.ValidateVolumeCapabilitiesResponse{Message: err.Error()}, nil
	}
	return &csi.ValidateVolumeCapabilitiesResponse{Confirmed: &csi.ValidateVolumeCapabilitiesResponse_Confirmed{
		VolumeContext: r.GetVolumeContext(), VolumeCapabilities: r.GetVolumeCapabilities(), Parameters: r.GetParameters()}}, nil
}

func validate(v *volume.Volume, r *csi.ValidateVolumeCapabilitiesRequest) error {
	a, err := accessOfAll(r.GetVolumeCapabilities())
	if err != nil {
		return err
	}
	p, err := parse(r.GetParameters())
	switch {
	case err != nil:
		return err
	case a.shared && !v.Shared:
		return notShared(v)
	case len(r.GetVolumeContext()) > 0 || len(r.GetMutableParameters()) > 0:
		return refuse(volume.ErrInvalid, "a volume has neither a context nor mutable parameters")
	case p.role != "" && p.role != v.Role, p.disk != nil && *p.disk != v.Disk, p.shared != nil && *p.shared != v.Shared:
		return refuse(volume.ErrInvalid, "volume %s is of role %s, on disk %s, shared: %t", v.Name, v.Role, volume.DiskName(v.Disk), v.Shared)
	}
	return nil
}

func notShared(v *volume.Volume) error {
	return refuse(volume.ErrInUse, "volume %s is exclusive: it was made without SINGLE_NODE_MULTI_WRITER, and has one target at a time", v.Name)
}
