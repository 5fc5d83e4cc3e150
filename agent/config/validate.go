package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"tenon/agent/resource"
)

const (
	maxSocket   = 107 // bytes in sun_path less the final zero (unix(7))
	minTimeout  = time.Second
	maxTimeout  = time.Hour
	leastOffer  = resource.MiB
	groupName   = `^[a-z_][a-z0-9_-]{0,31}$` // as groupadd(8) wants it
	serviceUnit = "tenon.service"
)

var validGroup = regexp.MustCompile(groupName)

// Validate returns all that is wrong with c, joined. Paths are compared as they are
// written: what a symbolic link makes of them only the host knows.
func (c Config) Validate() error {
	errs := c.checkPaths()
	if len(errs) == 0 {
		errs = c.checkNesting()
	}
	for i, disk := range c.Disks {
		errs = append(errs, checkSize(fmt.Sprintf("disk %d: size", i+1), disk.Size))
	}
	return errors.Join(append(errs,
		checkSize("pool_size", c.PoolSize),
		check(c.Group == "" || validGroup.MatchString(c.Group), "group: %q is not a group's name", c.Group),
		check(len(c.SandboxRoots) > 0, "sandbox_roots: at least one is needed"),
		check(len(c.Socket) <= maxSocket, "socket: %s has %d bytes, a socket's path holds %d", c.Socket, len(c.Socket), maxSocket),
		check(!slices.Contains(strings.Split(c.CgroupParent, "/"), serviceUnit),
			"cgroup_parent: %s is beneath the agent's own service, which then cannot be restarted while tasks run", c.CgroupParent),
		check(c.LogFormat == Text || c.LogFormat == JSON, "log_format: %q is neither text nor json", c.LogFormat),
		check(c.RequestTimeout >= minTimeout && c.RequestTimeout <= maxTimeout,
			"request_timeout: %s is not between %s and %s", c.RequestTimeout, minTimeout, maxTimeout),
	)...)
}

// place is a path with the setting that names it.
type place struct{ setting, path string }

// directories are all that must lie apart.
func (c Config) directories() []place {
	places := []place{{"state_dir", c.StateDir}, {"pool", c.Pool}}
	for i, disk := range c.Disks {
		places = append(places, place{fmt.Sprintf("disk %d: path", i+1), disk.Path})
	}
	for _, root := range c.SandboxRoots {
		places = append(places, place{"sandbox_roots", root})
	}
	return places
}

// checkPaths looks at each path alone.
func (c Config) checkPaths() (errs []error) {
	for _, p := range append(c.directories(), place{"socket", c.Socket}, place{"cgroup_parent", c.CgroupParent}) {
		switch {
		case p.path == "":
			errs = append(errs, fmt.Errorf("%s: a path is needed", p.setting))
		case !filepath.IsAbs(p.path):
			errs = append(errs, fmt.Errorf("%s: %s is not an absolute path", p.setting, p.path))
		case strings.ContainsFunc(p.path, func(r rune) bool { return r < ' ' || r == ',' || r == 0x7f }):
			errs = append(errs, fmt.Errorf("%s: %q holds a comma or a control character", p.setting, p.path))
		case filepath.Clean(p.path) != p.path:
			errs = append(errs, fmt.Errorf("%s: %s is not a clean path: write %s", p.setting, p.path, filepath.Clean(p.path)))
		case p.path == "/":
			errs = append(errs, fmt.Errorf("%s: / is the whole host", p.setting))
		}
	}
	return errs
}

// checkNesting wants the directories apart and the socket in none of them, though
// beside the journal is fine. A pool within a sandbox root would be shown to tasks; a
// disk within a disk would be offered twice; the journal within either could be
// purged, filled up or written by a task; a socket in a sandbox could be replaced.
func (c Config) checkNesting() (errs []error) {
	dirs := c.directories()
	for i, a := range dirs {
		for _, b := range dirs[:i] {
			switch {
			case a.path == b.path:
				errs = append(errs, fmt.Errorf("%s and %s are the same directory %s", b.setting, a.setting, a.path))
			case within(a.path, b.path):
				errs = append(errs, fmt.Errorf("%s: %s is inside %s: %s", a.setting, a.path, b.setting, b.path))
			case within(b.path, a.path):
				errs = append(errs, fmt.Errorf("%s: %s is inside %s: %s", b.setting, b.path, a.setting, a.path))
			}
		}
		if a.setting != "state_dir" && (a.path == c.Socket || within(c.Socket, a.path)) {
			errs = append(errs, fmt.Errorf("socket: %s is inside %s: %s", c.Socket, a.setting, a.path))
		}
	}
	return errs
}

// within says whether the path is somewhere beneath dir.
func within(path, dir string) bool { return strings.HasPrefix(path, dir+"/") }

// checkSize wants nothing said, or at least as much as the smallest volume.
func checkSize(setting string, size resource.Bytes) error {
	return check(size == 0 || size >= leastOffer, "%s: %d bytes are less than a volume's least of 1 MiB", setting, int64(size))
}

// check makes an error of a condition that does not hold.
func check(ok bool, format string, args ...any) error {
	if ok {
		return nil
	}
	return fmt.Errorf(format, args...)
}
