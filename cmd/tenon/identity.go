package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/user"
	"strconv"
	"strings"
	"syscall"

	"tenon/agent/volume"
	"tenon/isolator/owner"
)

// identity is as whom a command is run. Without a User it is as whoever runs tenon run, with
// the groups of the task's volumes besides.
type identity struct {
	User   *volume.ID `json:"user,omitempty"`
	Own    []uint32   `json:"own,omitempty"`    // supplementary groups of the user
	Groups []uint32   `json:"groups,omitempty"` // of the task's volumes
	Name   string     `json:"name,omitempty"`   // of the user, or the number where there is none
	Home   string     `json:"home,omitempty"`
}

// findUser reads NAME|UID[:GROUP|GID] and looks the user up on this host. A number that is
// nobody's on this host will do if it comes with a group.
func findUser(text string) (id identity, err error) {
	name, group, named := strings.Cut(text, ":")
	u, err := lookUp(name)
	if err != nil {
		uid, numeric := hostID(name)
		if !numeric {
			return id, fmt.Errorf("user %q is not known on this host", name)
		}
		if !named {
			return id, fmt.Errorf("user %q is not known on this host; say of which group: --user %s:GID", name, name)
		}
		id = identity{User: &volume.ID{UID: uid}, Name: name, Home: "/"}
	} else if id, err = identityOf(u); err != nil {
		return id, err
	}
	if !named {
		return id, nil
	}
	if id.User.GID, err = findGroup(group); err != nil {
		return identity{}, err
	}
	return id, nil
}

// lookUp finds a user by name or, where none has that name, by number.
func lookUp(name string) (*user.User, error) {
	u, err := user.Lookup(name)
	if err == nil {
		return u, nil
	}
	if _, numeric := hostID(name); !numeric {
		return nil, err // LookupId may take a number that is too large for another one
	}
	return user.LookupId(name)
}

// identityOf is a user of this host, with all that says so.
func identityOf(u *user.User) (id identity, err error) {
	uid, okUID := hostID(u.Uid)
	gid, okGID := hostID(u.Gid)
	if !okUID || !okGID {
		return id, fmt.Errorf("user %s has number %s:%s, which cannot be", u.Username, u.Uid, u.Gid)
	}
	id = identity{User: &volume.ID{UID: uid, GID: gid}, Name: u.Username, Home: u.HomeDir}
	groups, err := u.GroupIds()
	if err != nil {
		return id, fmt.Errorf("groups of user %s: %w", u.Username, err)
	}
	for _, text := range groups {
		if gid, ok := hostID(text); ok {
			id.Own = append(id.Own, gid)
		}
	}
	return id, nil
}

func findGroup(name string) (uint32, error) {
	if g, err := user.LookupGroup(name); err == nil {
		name = g.Gid
	}
	if gid, ok := hostID(name); ok {
		return gid, nil
	}
	return 0, fmt.Errorf("group %q is not known on this host", name)
}

// hostID reads the number of a user or a group.
func hostID(text string) (uint32, bool) {
	n, err := strconv.ParseUint(text, 10, 32)
	return uint32(n), err == nil && n < math.MaxUint32
}

// findMap reads what --idmap says: UID:GID, or "user" for the one that the command runs as.
func findMap(text string, as *volume.ID) (*volume.ID, error) {
	if text == "user" {
		if as == nil {
			return nil, fmt.Errorf("--idmap user is the one of --user, which is not given; give it, or --idmap UID:GID")
		}
		return as, nil
	}
	first, second, _ := strings.Cut(text, ":")
	uid, okUID := hostID(first)
	gid, okGID := hostID(second)
	if !okUID || !okGID {
		return nil, fmt.Errorf("--idmap %q is not UID:GID, as in 1000:1000", text)
	}
	return &volume.ID{UID: uid, GID: gid}, nil
}

// String is how the stage is told; of nobody else it is empty.
func (id identity) String() string {
	if len(id.Groups) == 0 && id.User == nil {
		return ""
	}
	text, err := json.Marshal(id)
	if err != nil {
		panic(err) // cannot happen: numbers and texts
	}
	return string(text)
}

func parseIdentity(text string) (id identity, err error) {
	if text == "" {
		return id, nil
	}
	if err := json.Unmarshal([]byte(text), &id); err != nil {
		return id, fmt.Errorf("%q is nobody to run as: %w", text, err)
	}
	return id, nil
}

// assume makes all threads of this process the identity's. Whoever becomes another user than
// root has no capability any more (capabilities(7)).
func (id identity) assume() error {
	if id.User == nil && len(id.Groups) == 0 {
		return nil
	}
	have := id.Own
	if id.User == nil {
		own, err := os.Getgroups()
		if err != nil {
			return err
		}
		for _, gid := range own {
			have = append(have, uint32(gid))
		}
	}
	if err := setGroups(have, id.Groups); err != nil || id.User == nil {
		return err
	}
	if err := syscall.Setgid(int(id.User.GID)); err != nil {
		return os.NewSyscallError("setgid", err)
	}
	return os.NewSyscallError("setuid", syscall.Setuid(int(id.User.UID)))
}

// setGroups makes groups the supplementary ones of this process.
func setGroups(have, shared []uint32) error {
	all, err := owner.Groups(have, shared...)
	if err != nil {
		return err
	}
	list := make([]int, len(all))
	for i, gid := range all {
		list[i] = int(gid)
	}
	return os.NewSyscallError("setgroups", syscall.Setgroups(list))
}

// environment is what the identity changes of one (environ(7)).
func (id identity) environment(env []string) []string {
	if id.User == nil {
		return env
	}
	var kept []string
	for _, v := range env {
		if !strings.HasPrefix(v, "HOME=") && !strings.HasPrefix(v, "USER=") && !strings.HasPrefix(v, "LOGNAME=") {
			kept = append(kept, v)
		}
	}
	return append(kept, "HOME="+id.Home, "USER="+id.Name, "LOGNAME="+id.Name)
}
