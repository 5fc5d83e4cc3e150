package csi

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"tenon/agent/resource"
	"tenon/agent/volume"
)

// nodeDoes is what the node announces.
var nodeDoes = []csi.NodeServiceCapability_RPC_Type{
	csi.NodeServiceCapability_RPC_GET_VOLUME_STATS,
	csi.NodeServiceCapability_RPC_EXPAND_VOLUME,
	csi.NodeServiceCapability_RPC_SINGLE_NODE_MULTI_WRITER,
	csi.NodeServiceCapability_RPC_GET_VOLUME_HEALTH,
	csi.NodeServiceCapability_RPC_GET_STORAGE_HEALTH,
}

// NodeGetCapabilities announces what there is. Nothing is staged: a publication is one mount.
func (s *Server) NodeGetCapabilities(context.Context, *csi.NodeGetCapabilitiesRequest) (*csi.NodeGetCapabilitiesResponse, error) {
	r := &csi.NodeGetCapabilitiesResponse{}
	for _, t := range nodeDoes {
		r.Capabilities = append(r.Capabilities, &csi.NodeServiceCapability{Type: &csi.NodeServiceCapability_Rpc{
			Rpc: &csi.NodeServiceCapability_RPC{Type: t}}})
	}
	return r, nil
}

// NodeGetInfo names the node and its place, which are the same.
func (s *Server) NodeGetInfo(context.Context, *csi.NodeGetInfoRequest) (*csi.NodeGetInfoResponse, error) {
	return &csi.NodeGetInfoResponse{NodeId: s.node, AccessibleTopology: s.topology()[0]}, nil
}

// NodePublishVolume mounts a volume at a target, which it makes. The directory above must be
// there. The volume is held, by the task that stands for that directory, until NodeUnpublishVolume.
func (s *Server) NodePublishVolume(ctx context.Context, r *csi.NodePublishVolumeRequest) (*csi.NodePublishVolumeResponse, error) {
	if r.GetVolumeId() == "" {
		return nil, refuse(volume.ErrInvalid, "volume_id is missing")
	}
	t, err := s.targetAt(r.GetTargetPath())
	if err != nil {
		return nil, err
	}
	a, err := accessOf(r.GetVolumeCapability())
	if err != nil {
		return nil, err
	}
	v, err := find(s.agent.State(), r.GetVolumeId())
	switch {
	case err != nil:
		return nil, err
	case a.shared && !v.Shared:
		return nil, notShared(v)
	}
	mode := resource.RW
	if a.readOnly || r.GetReadonly() {
		mode = resource.RO
	}
	_, err = s.ask(ctx, alone(v, t, a), volume.Attach{Task: t.task, Sandbox: t.sandbox, Via: volume.ByPath,
		Use: volume.Use{Volume: string(v.UUID), Path: t.name, Mode: mode}})
	if _, lost := find(s.agent.State(), r.GetVolumeId()); errors.Is(err, volume.ErrNotFound) && lost == nil {
		err = noDirectory(err)
	}
	if err != nil {
		return nil, err
	}
	return &csi.NodePublishVolumeResponse{}, nil
}

// alone refuses a second target of a volume that may have only one: where the agent counts
// the tasks of an exclusive volume, CSI counts its targets.
func alone(v *volume.Volume, t target, a access) func(*volume.State, volume.Operation) error {
	return func(now *volume.State, _ volume.Operation) error {
		if v.Shared && !a.single {
			return nil
		}
		for other := range now.AttachmentsOf(v.UUID) {
			if other.Unit() != t.unit(v.UUID) {
				return refuse(volume.ErrInUse, "volume %s has one target at a time, and is held by task %s at %s", v.Name, other.Task, other.Path)
			}
		}
		return nil
	}
}

// NodeUnpublishVolume takes a volume from a target and removes that. It is nil when the
// volume was not there, or is no more. A target at which another volume is stays.
func (s *Server) NodeUnpublishVolume(ctx context.Context, r *csi.NodeUnpublishVolumeRequest) (*csi.NodeUnpublishVolumeResponse, error) {
	if r.GetVolumeId() == "" {
		return nil, refuse(volume.ErrInvalid, "volume_id is missing")
	}
	t, err := s.targetAt(r.GetTargetPath())
	if err != nil {
		return nil, err
	}
	st := s.agent.State()
	uuid, ours := parseID(st, r.GetVolumeId())
	if !ours {
		_, err := find(st, r.GetVolumeId())
		return nil, err
	}
	for a := range st.AttachmentsIn(t.task) {
		if a.Path == t.name && a.Volume != uuid {
			return nil, refuse(volume.ErrInUse, "another volume, %s, is published at %s", a.Volume, t.path())
		}
	}
	_, err = s.ask(ctx, nil, volume.Detach{Task: t.task, Volume: string(uuid), Path: t.name})
	if errors.Is(err, volume.ErrNotFound) {
		err = s.clearTarget(t.path()) // of a boot before this one, perhaps
	}
	if err != nil {
		return nil, err
	}
	return &csi.NodeUnpublishVolumeResponse{}, nil
}

// clearTarget removes an empty directory at a target at which nothing is published, without
// leaving the root that it lies beneath. What is not empty, or mounted, is somebody else's.
func (s *Server) clearTarget(target string) error {
	for _, path := range s.roots {
		if rest, ok := strings.CutPrefix(target, path+"/"); ok {
			return removeDir(path, rest)
		}
	}
	return nil
}

func removeDir(root, rest string) error {
	r, err := os.OpenRoot(root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove target: %w", err)
	}
	defer r.Close()
	info, err := r.Lstat(rest)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err == nil && !info.IsDir():
		return refuse(volume.ErrInUse, "%s is no directory of this agent's and is left alone", filepath.Join(root, rest))
	case err == nil:
		err = r.Remove(rest)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, syscall.ENOTEMPTY), errors.Is(err, syscall.EBUSY):
		return refuse(volume.ErrInUse, "what is at %s is not this volume and is left alone: %v", filepath.Join(root, rest), err)
	}
	return err
}

// NodeExpandVolume makes a published volume larger, unless the controller has done so.
func (s *Server) NodeExpandVolume(ctx context.Context, r *csi.NodeExpandVolumeRequest) (*csi.NodeExpandVolumeResponse, error) {
	st := s.agent.State()
	v, err := s.publishedAt(st, r.GetVolumeId(), r.GetVolumePath())
	if err != nil {
		return nil, err
	}
	n, err := s.expand(ctx, st, v, r.GetCapacityRange(), r.GetVolumeCapability())
	if err != nil {
		return nil, err
	}
	return &csi.NodeExpandVolumeResponse{CapacityBytes: int64(n)}, nil
}

// publishedAt finds a volume that is published at a path, which must be given: ErrInvalid;
// otherwise it is ErrNotFound.
func (s *Server) publishedAt(st *volume.State, id, path string) (*volume.Volume, error) {
	if id != "" && path == "" {
		return nil, refuse(volume.ErrInvalid, "volume_path is missing")
	}
	v, err := find(st, id)
	if err != nil {
		return nil, err
	}
	if t, err := s.targetAt(path); err == nil {
		if a, ok := st.Attachment(t.unit(v.UUID)); ok && !a.Gone {
			return v, nil
		}
	}
	return nil, refuse(volume.ErrNotFound, "volume %s is not published at %q", v.Name, path)
}
