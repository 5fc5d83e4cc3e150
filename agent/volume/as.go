package volume

import (
	"fmt"
	"math"
)

// ID is a user and a group of the host.
type ID struct {
	UID uint32 `json:"uid"`
	GID uint32 `json:"gid"`
}

// String gives "uid:gid".
func (id *ID) String() string {
	return fmt.Sprintf("%d:%d", id.UID, id.GID)
}

// same says whether two are the same, or both none.
func (id *ID) same(other *ID) bool {
	if id == nil || other == nil {
		return id == other
	}
	return *id == *other
}

// check refuses what chown(2) takes for "leave it as it is".
func (id *ID) check(what string) error {
	if id != nil && (id.UID == math.MaxUint32 || id.GID == math.MaxUint32) {
		return refuse(ErrInvalid, "%s %s is not a user and a group", what, id)
	}
	return nil
}

// otherwise says how an attachment is other than one that is asked for.
func (a *Attachment) otherwise(asked *Attachment) string {
	switch {
	case a.NoExec && !asked.NoExec:
		return "noexec"
	case a.NoExec != asked.NoExec:
		return "without noexec"
	case a.As == nil:
		return "with its files as they are"
	}
	return "with its files as those of " + a.As.String()
}
