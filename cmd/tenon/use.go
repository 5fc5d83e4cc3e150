package main

import (
	"fmt"
	"strings"

	"tenon/agent/resource"
	"tenon/agent/wire"
)

// parseUse reads NAME[:PATH][:rw|ro]. It is read from the right, so that an id may hold
// colons where a path and a mode follow.
func parseUse(spec string) (wire.Use, error) {
	fields := strings.Split(spec, ":")
	use := wire.Use{}
	if last := len(fields) - 1; last > 0 && isMode(fields[last]) {
		use.Mode = resource.Mode(strings.ToUpper(fields[last]))
		fields = fields[:last]
	} else if last > 1 {
		return use, fmt.Errorf("volume %q: %q is neither rw nor ro; write NAME[:PATH][:rw|ro]", spec, fields[last])
	}
	if last := len(fields) - 1; last > 0 {
		if use.Path = fields[last]; use.Path == "" {
			return use, fmt.Errorf("volume %q: the path is empty; write NAME[:PATH][:rw|ro]", spec)
		}
		fields = fields[:last]
	}
	if use.Volume = strings.Join(fields, ":"); use.Volume == "" {
		return use, fmt.Errorf("volume %q: the name is missing; write NAME[:PATH][:rw|ro]", spec)
	}
	return use, nil
}

func isMode(s string) bool {
	mode := resource.Mode(strings.ToUpper(s))
	return mode == resource.RW || mode == resource.RO
}

// modeWord is a mode as people type it; none is read-write.
func modeWord(m resource.Mode) string {
	if m == resource.RO {
		return "ro"
	}
	return "rw"
}
