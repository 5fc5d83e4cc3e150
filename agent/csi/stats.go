package csi

import (
	"context"
	"errors"
	"io/fs"
	"syscall"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"tenon/agent/volume"
)

// space is what statfs(2) says of a file system, in bytes. Beneath a project quota (ext4,
// XFS) that is the quota.
type space struct {
	total, free, avail int64
	inodes, freeInodes int64
}

// spaceAt asks for the space at a path, which is that of the volume mounted there.
func spaceAt(path string) (space, error) {
	var st syscall.Statfs_t
	for {
		err := syscall.Statfs(path, &st)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil {
			return space{}, &fs.PathError{Op: "statfs", Path: path, Err: err}
		}
		b := st.Bsize
		return space{total: int64(st.Blocks) * b, free: int64(st.Bfree) * b, avail: int64(st.Bavail) * b,
			inodes: int64(st.Files), freeInodes: int64(st.Ffree)}, nil
	}
}

// NodeGetVolumeStats tells how full a volume is, by one system call. The total is the size
// that the agent gave it. Where the file system shows no more than that (a quota is on the
// directory, or the disk is the volume's alone), what is used and available is measured;
// otherwise the volume shares its file system with others, nothing says how much of it is its
// own, used is left out, and available is the lesser of its size and of what the file system has.
func (s *Server) NodeGetVolumeStats(ctx context.Context, r *csi.NodeGetVolumeStatsRequest) (*csi.NodeGetVolumeStatsResponse, error) {
	st := s.agent.State()
	v, err := s.publishedAt(st, r.GetVolumeId(), r.GetVolumePath())
	if err != nil {
		return nil, err
	}
	have, err := s.spaceOf(ctx, st, v, r.GetVolumePath())
	if err != nil {
		return nil, err
	}
	d, _ := st.Disk(v.Disk)
	return &csi.NodeGetVolumeStatsResponse{Usage: usage(int64(v.Size.Bytes()), have, whole(d))}, nil
}

// spaceOf asks for the space at a path, unless the volume's disk is known not to answer: whoever asks
// again and again must not have ever more threads wait for it.
func (s *Server) spaceOf(ctx context.Context, st *volume.State, v *volume.Volume, path string) (space, error) {
	if f, bad := st.Fault(volume.UnitOfVolume(v.UUID)); bad && f.Kind == volume.ErrUnavailable {
		return space{}, refuse(f.Kind, "volume %s: %s", v.Name, f.Reason)
	}
	type answer struct {
		space
		err error
	}
	answered := make(chan answer, 1)
	go func() {
		have, err := s.space(path)
		answered <- answer{have, err}
	}()
	select {
	case a := <-answered:
		return a.space, a.err
	case <-ctx.Done():
		return space{}, ctx.Err()
	}
}

// usage is what is known of a volume of a size, by what its file system has.
func usage(size int64, have space, whole bool) []*csi.VolumeUsage {
	own := whole || have.total <= size
	bytes := &csi.VolumeUsage{Unit: csi.VolumeUsage_BYTES, Total: size, Available: min(size, have.avail)}
	inodes := &csi.VolumeUsage{Unit: csi.VolumeUsage_INODES, Total: have.inodes, Available: have.freeInodes}
	if own {
		bytes.Total, bytes.Available, bytes.Used = have.total, have.avail, have.total-have.free
		inodes.Used = have.inodes - have.freeInodes
	}
	if have.inodes == 0 { // a file system that has no limit of them
		return []*csi.VolumeUsage{bytes}
	}
	return []*csi.VolumeUsage{bytes, inodes}
}
