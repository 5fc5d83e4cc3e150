package csi

import (
	"context"
	"iter"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"tenon/agent/resource"
	"tenon/agent/volume"
)

// A page of a list, so that no answer is larger than a client takes (4 MiB).
const maxPage = 1000

// A token is the name of the last volume of a page, behind a word.
const (
	tokenWord = "after:"
	maxToken  = len(tokenWord) + 2*255 + 1
)

// describe gives a volume as the orchestrator knows it.
func (s *Server) describe(st *volume.State, v *volume.Volume) *csi.Volume {
	return &csi.Volume{VolumeId: volumeID(st, v), CapacityBytes: int64(v.Size.Bytes()), AccessibleTopology: s.topology()}
}

// published is this node, if any task holds the volume.
func (s *Server) published(st *volume.State, v *volume.Volume) []string {
	for range st.AttachmentsOf(v.UUID) {
		return []string{s.node}
	}
	return nil
}

// ListVolumes lists all volumes of the agent, whoever made them, by name. Those that come
// and go between two pages may be missing, no other is.
func (s *Server) ListVolumes(_ context.Context, r *csi.ListVolumesRequest) (*csi.ListVolumesResponse, error) {
	st, res := s.agent.State(), &csi.ListVolumesResponse{}
	volumes, err := page(st, r.GetStartingToken())
	if err != nil || r.GetMaxEntries() < 0 {
		return nil, orNegative(err)
	}
	for v := range volumes {
		if len(res.Entries) == pageSize(r.GetMaxEntries()) {
			return res, nil
		}
		res.NextToken = tokenWord + v.Name.String()
		res.Entries = append(res.Entries, &csi.ListVolumesResponse_Entry{Volume: s.describe(st, v),
			Status: &csi.ListVolumesResponse_VolumeStatus{PublishedNodeIds: s.published(st, v)}})
	}
	res.NextToken = ""
	return res, nil
}

// page yields the volumes after the one that a token names. A token of another form is
// ABORTED, as the specification has it.
func page(st *volume.State, token string) (iter.Seq[*volume.Volume], error) {
	if token == "" {
		return st.Volumes(volume.Name{}), nil
	}
	rest, ok := strings.CutPrefix(token, tokenWord)
	name, valid := volume.ParseName(rest)
	if !ok || !valid {
		return nil, status.Errorf(codes.Aborted, "starting_token %q is none of this agent's; begin again without one", token)
	}
	return st.Volumes(name), nil
}

func pageSize(n int32) int {
	if n == 0 || n > maxPage {
		return maxPage
	}
	return int(n)
}

func orNegative(err error) error {
	if err == nil {
		err = refuse(volume.ErrInvalid, "max_entries is negative")
	}
	return err
}

// ControllerGetVolume describes one volume.
func (s *Server) ControllerGetVolume(_ context.Context, r *csi.ControllerGetVolumeRequest) (*csi.ControllerGetVolumeResponse, error) {
	st := s.agent.State()
	v, err := find(st, r.GetVolumeId())
	if err != nil {
		return nil, err
	}
	return &csi.ControllerGetVolumeResponse{Volume: s.describe(st, v),
		Status: &csi.ControllerGetVolumeResponse_VolumeStatus{PublishedNodeIds: s.published(st, v)}}, nil
}

// GetCapacity says how much can be made of, by the parameters of a storage class: the sum,
// and the largest piece. Capabilities that no volume has, and other nodes, have none.
func (s *Server) GetCapacity(_ context.Context, r *csi.GetCapacityRequest) (*csi.GetCapacityResponse, error) {
	p, err := parse(r.GetParameters())
	if err != nil {
		return nil, err
	}
	var sum, most resource.Scalar
	if s.suits(r) {
		sum, most = free(s.agent.State(), p)
	}
	return &csi.GetCapacityResponse{AvailableCapacity: int64(sum.Bytes()), MaximumVolumeSize: wrapperspb.Int64(int64(most.Bytes()))}, nil
}

// suits says whether volumes with these capabilities may be made here.
func (s *Server) suits(r *csi.GetCapacityRequest) bool {
	for _, c := range r.GetVolumeCapabilities() {
		if _, err := accessOf(c); err != nil {
			return false
		}
	}
	return r.GetAccessibleTopology() == nil || s.within(r.GetAccessibleTopology())
}

// free adds up the space that volumes with these parameters can be made of.
func free(st *volume.State, p parameters) (sum, most resource.Scalar) {
	for a := range st.Accounts() {
		if p.from(st, a) {
			sum += a.Free // of one disk's total each, which add up to an amount
			most = max(most, a.Free)
		}
	}
	return sum, most
}
