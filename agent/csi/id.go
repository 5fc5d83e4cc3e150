package csi

import (
	"crypto/sha256"
	"encoding/hex"
	"path"
	"strings"

	"tenon/agent/resource"
	"tenon/agent/volume"
)

// prefix is that of names which are a digest of something longer, or of another form.
const prefix = "csi-"

// maxPath is PATH_MAX.
const maxPath = 4096

// digest names something by its first 128 bits of SHA-256.
func digest(of string) string {
	sum := sha256.Sum256([]byte(of))
	return prefix + hex.EncodeToString(sum[:16])
}

// persistenceID is what a volume of this name is called: the name itself where that can be,
// otherwise a digest of it.
func persistenceID(name string) string {
	if resource.CheckID(name) != nil || strings.HasPrefix(name, prefix) {
		return digest(name)
	}
	return name
}

// volumeID is what the orchestrator calls a volume.
func volumeID(s *volume.State, v *volume.Volume) string { return string(v.UUID) + "." + s.Agent }

// parseID gives the UUID in an id of this agent's, which the volume of may be gone. An id of
// another agent, or of another form, is none.
func parseID(s *volume.State, id string) (uuid volume.UUID, ours bool) {
	first, agent, _ := strings.Cut(id, ".")
	return volume.UUID(first), first != "" && agent == s.Agent
}

// foreign says whether an id has the form of another agent's.
func foreign(s *volume.State, id string) bool {
	first, agent, _ := strings.Cut(id, ".")
	return len(first) == 36 && len(agent) == 36 && agent != s.Agent
}

// find gives the volume of an id, tombstones not.
func find(s *volume.State, id string) (*volume.Volume, error) {
	if id == "" {
		return nil, refuse(volume.ErrInvalid, "volume_id is missing")
	}
	if uuid, ours := parseID(s, id); ours {
		if v, ok := s.Volume(uuid); ok && v.Phase != volume.Destroying {
			return v, nil
		}
	}
	if foreign(s, id) {
		return nil, refuse(volume.ErrNotFound, "volume %q is another agent's, this one is %s", id, s.Agent)
	}
	return nil, refuse(volume.ErrNotFound, "there is no volume %q on this node", id)
}

// target is where a volume is published: in the sandbox of a task that there is for each
// directory with targets.
type target struct {
	task, sandbox, name string
}

// path is where the target is.
func (t target) path() string { return path.Join(t.sandbox, t.name) }

// unit names the attachment of a volume there.
func (t target) unit(v volume.UUID) volume.Unit {
	return volume.Unit{Kind: volume.AttachmentUnit, Volume: v, Task: t.task, Path: t.name}
}

// targetAt places a path. It is refused unless it is absolute, clean and lies in a directory
// beneath one of the roots.
func (s *Server) targetAt(p string) (target, error) {
	switch {
	case p == "":
		return target{}, refuse(volume.ErrInvalid, "target_path is missing")
	case len(p) > maxPath:
		return target{}, refuse(volume.ErrInvalid, "target_path is longer than %d bytes", maxPath)
	case !path.IsAbs(p) || path.Clean(p) != p || strings.ContainsRune(p, 0):
		return target{}, refuse(volume.ErrInvalid, "target_path %q must be an absolute, clean path", p)
	}
	dir, name := path.Dir(p), path.Base(p)
	for _, root := range s.roots {
		if strings.HasPrefix(dir, root+"/") {
			return target{task: digest(dir), sandbox: dir, name: name}, nil
		}
	}
	return target{}, refuse(volume.ErrInvalid, "target_path %q lies in no directory beneath %s", p, strings.Join(s.roots, ", "))
}
