package host

import (
	"errors"
	"fmt"
	"os"

	"tenon/agent/volume"
	"tenon/isolator/owner"
	"tenon/isolator/sandbox"
	"tenon/mount"
)

// makeSandbox makes the sandbox of a task, which is root's where it names no user.
func makeSandbox(r *sandbox.Root, task, boot string, user *volume.ID) error {
	if user == nil {
		user = &volume.ID{}
	}
	return r.Make(task, boot, int(user.UID), int(user.GID))
}

// mapOf is the map by which an attachment shows the files of the volume's owner as those of
// somebody else. The caller closes it.
func (h *Host) mapOf(s *volume.State, a *volume.Attachment) (*os.File, error) {
	v, ok := s.Volume(a.Volume)
	if !ok {
		return nil, fmt.Errorf("there is no volume %s", a.Volume)
	}
	ns, err := h.maps.As(owner.ID{UID: uint32(v.Owner.UID), GID: uint32(v.Owner.GID)}, owner.ID(*a.As))
	if err != nil {
		return nil, &volume.Error{Kind: volume.ErrInvalid, Cause: err, Message: fmt.Sprintf("volume %s cannot be attached as the files of %s: %v "+
			"(the agent needs CAP_SETUID, CAP_SETGID and CAP_SETFCAP)", v.Name, a.As, err)}
	}
	return ns, nil
}

// noMap says what to do where a file system has no such mounts.
func noMap(s *volume.State, a *volume.Attachment, err error) error {
	if !errors.Is(err, mount.ErrNoIDMap) {
		return err
	}
	name := string(a.Volume)
	if v, ok := s.Volume(a.Volume); ok {
		name = v.Name.String()
	}
	return &volume.Error{Kind: volume.ErrInvalid, Cause: err, Message: fmt.Sprintf("volume %s cannot be attached as the files of %s, since its file "+
		"system has no idmapped mounts (%v); attach it as it is, to tasks that are in the group of a shared volume (volume_gid_range)", name, a.As, err)}
}
