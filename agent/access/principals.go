package access

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// Mapping gives a name to a user of the host, to the members of a group, or to a user
// as long as it is in a group.
type Mapping struct {
	Name string `toml:"name"`
	UID  *int   `toml:"uid"` // nil is any user
	GID  *int   `toml:"gid"` // nil is any group
}

// Principals says which principal a user of the host is.
type Principals []Mapping

// Of is the name of the first mapping that a user with these groups, the primary one
// among them, fits; "" if none does.
func (p Principals) Of(uid int, gids []int) string {
	for _, m := range p {
		isUser := m.UID == nil || *m.UID == uid
		isMember := m.GID == nil || slices.Contains(gids, *m.GID)
		if isUser && isMember && (m.UID != nil || m.GID != nil) {
			return m.Name
		}
	}
	return ""
}

// Validate returns all that is wrong with the mappings, joined.
func (p Principals) Validate() error {
	var errs []error
	for i, m := range p {
		if err := m.validate(); err != nil {
			errs = append(errs, fmt.Errorf("principals[%d]: %w", i, err))
		}
	}
	return errors.Join(errs...)
}

func (m Mapping) validate() error {
	err := errors.Join(CheckPrincipal(m.Name), checkNumber("uid", m.UID), checkNumber("gid", m.GID))
	if m.UID == nil && m.GID == nil {
		err = errors.Join(err, errors.New("neither uid nor gid is set"))
	}
	return err
}

// checkNumber wants a number that a user or group may have: the largest stands for none
// (setreuid(2)).
func checkNumber(name string, n *int) error {
	if n != nil && (*n < 0 || *n >= math.MaxUint32) {
		return fmt.Errorf("%s %d is not between 0 and %d", name, *n, uint32(math.MaxUint32-1))
	}
	return nil
}
