package main

import (
	"encoding/json"
	"fmt"
	"os"
	"syscall"

	"tenon/isolator/owner"
)

// identity is as whom a command is run. Without a User it is as whoever runs tenon run, with
// groups besides.
type identity struct {
	Groups []uint32 `json:"groups,omitempty"` // of the task's volumes
}

// String is how the stage is told; none is the empty text.
func (id identity) String() string {
	if len(id.Groups) == 0 {
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

// assume makes all threads of this process the identity's.
func (id identity) assume() error {
	if len(id.Groups) == 0 {
		return nil
	}
	own, err := os.Getgroups()
	if err != nil {
		return err
	}
	have := make([]uint32, len(own))
	for i, gid := range own {
		have[i] = uint32(gid)
	}
	return setGroups(have, id.Groups)
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
