package csi

import (
	"context"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"tenon/agent/volume"
)

// conditions gives the fault of a volume, or of its disk, its type in CSI and the one word
// that stands for it.
var conditions = []struct {
	kind   error
	status csi.VolumeHealthErrorType
	reason string
}{
	{volume.ErrLost, csi.VolumeHealthErrorType_DATA_LOSS, "DataLost"},
	{volume.ErrUnavailable, csi.VolumeHealthErrorType_INACCESSIBLE, "DiskUnavailable"},
	{volume.ErrBusy, csi.VolumeHealthErrorType_DEGRADED, "Busy"},
	{volume.ErrExists, csi.VolumeHealthErrorType_DEGRADED, "TargetTaken"},
	{volume.ErrFailed, csi.VolumeHealthErrorType_DEGRADED, "StepFailed"},
}

// healthOf tells what is wrong with a volume, and with its mounts.
func healthOf(st *volume.State, v *volume.Volume) *csi.VolumeHealth {
	h := &csi.VolumeHealth{VolumeId: volumeID(st, v)}
	add := func(u volume.Unit) {
		f, bad := st.Fault(u)
		for _, c := range conditions {
			if bad && f.Kind == c.kind && !reported(h, c.reason) {
				h.HealthStatuses = append(h.HealthStatuses, &csi.VolumeHealth_VolumeHealthEntry{Status: c.status, Reason: c.reason, Message: f.Reason})
			}
		}
	}
	add(volume.UnitOfVolume(v.UUID))
	for a := range st.AttachmentsOf(v.UUID) {
		add(a.Unit())
	}
	return h
}

// reported says whether a reason was given already: each may be once.
func reported(h *csi.VolumeHealth, reason string) bool {
	for _, e := range h.HealthStatuses {
		if e.Reason == reason {
			return true
		}
	}
	return false
}

// ControllerGetVolumeHealth tells what the agent's loop has found wrong with a volume.
func (s *Server) ControllerGetVolumeHealth(_ context.Context, r *csi.ControllerGetVolumeHealthRequest) (*csi.ControllerGetVolumeHealthResponse, error) {
	st := s.agent.State()
	v, err := find(st, r.GetVolumeId())
	if err != nil {
		return nil, err
	}
	return &csi.ControllerGetVolumeHealthResponse{VolumeHealth: healthOf(st, v)}, nil
}

// ControllerListVolumeHealth lists the volumes that something is wrong with, by name.
func (s *Server) ControllerListVolumeHealth(_ context.Context, r *csi.ControllerListVolumeHealthRequest) (*csi.ControllerListVolumeHealthResponse, error) {
	st, res := s.agent.State(), &csi.ControllerListVolumeHealthResponse{}
	volumes, err := page(st, r.GetStartingToken())
	if err != nil || r.GetMaxEntries() < 0 {
		return nil, orNegative(err)
	}
	for v := range volumes {
		if len(res.Entries) == pageSize(r.GetMaxEntries()) {
			return res, nil
		}
		if h := healthOf(st, v); len(h.HealthStatuses) > 0 {
			res.NextToken = tokenWord + v.Name.String()
			res.Entries = append(res.Entries, h)
		}
	}
	res.NextToken = ""
	return res, nil
}

// NodeGetVolumeHealth is ControllerGetVolumeHealth: one agent is both.
func (s *Server) NodeGetVolumeHealth(_ context.Context, r *csi.NodeGetVolumeHealthRequest) (*csi.NodeGetVolumeHealthResponse, error) {
	st := s.agent.State()
	v, err := find(st, r.GetVolumeId())
	if err != nil {
		return nil, err
	}
	return &csi.NodeGetVolumeHealthResponse{VolumeHealth: healthOf(st, v)}, nil
}

// NodeGetStorageHealth tells which disks are out of reach.
func (s *Server) NodeGetStorageHealth(context.Context, *csi.NodeGetStorageHealthRequest) (*csi.NodeGetStorageHealthResponse, error) {
	st, message := s.agent.State(), ""
	for u, f := range st.Faults() {
		if u.Kind == volume.DiskUnit {
			message += "disk " + volume.DiskName(u.Disk) + ": " + f.Reason + "; "
		}
	}
	if message == "" {
		return &csi.NodeGetStorageHealthResponse{}, nil
	}
	return &csi.NodeGetStorageHealthResponse{BackendHealth: []*csi.NodeGetStorageHealthResponse_StorageBackendHealth{{
		Status: csi.StorageHealthErrorType_STORAGE_UNREACHABLE, Reason: "DiskUnavailable", Message: message[:len(message)-2]}}}, nil
}
