package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"tenon/agent/resource"
)

const (
	maxSocket   = 107 // bytes in sun_path less the final zero (unix(7))
	minTimeout  = time.Second
	maxTimeout  = time.Hour
	minPace     = time.Second
	maxPace     = 24 * time.Hour
	leastOffer  = resource.MiB
	hostName    = `^[A-Za-z0-9]([A-Za-z0-9._-]{0,252})$`
	groupName   = `^[a-z_][a-z0-9_-]{0,31}$` // as groupadd(8) wants it
	serviceUnit = "tenon.service"
)

var (
	validGroup = regexp.MustCompile(groupName)
	validHost  = regexp.MustCompile(hostName)
)

// onExceeds are what may follow when a volume holds more than its size.
var onExceeds = []string{"report", "readonly", "kill"}

// Validate returns all that is wrong with c, joined. Paths are compared as they are
// written: what a symbolic link makes of them only the host knows.
func (c Config) Validate() error {
	space, err := c.Space()
	errs := c.checkPaths()
	if len(errs) == 0 {
		errs = c.checkNesting(space)
	}
	errs = append(errs, err,
		checkSize("pool_size", c.PoolSize),
		checkRole("default_role", c.DefaultRole),
		checkAttributes(c.Attributes),
		c.checkAccess(),
		check(c.Group == "" || validGroup.MatchString(c.Group), "group: %q is not a group's name", c.Group),
		check(len(c.SandboxRoots) > 0, "sandbox_roots: at least one is needed"),
		check(len(c.Socket) <= maxSocket, "socket: %s has %d bytes, a socket's path holds %d", c.Socket, len(c.Socket), maxSocket),
		check(!slices.Contains(strings.Split(c.CgroupParent, "/"), serviceUnit),
			"cgroup_parent: %s is beneath the agent's own service, which then cannot be restarted while tasks run", c.CgroupParent),
		check(c.LogFormat == Text || c.LogFormat == JSON, "log_format: %q is neither text nor json", c.LogFormat),
		check(c.SoftQuotaInterval == 0 || c.SoftQuotaInterval >= minPace && c.SoftQuotaInterval <= maxPace,
			"soft_quota_interval: %s is neither 0s nor between %s and %s", c.SoftQuotaInterval, minPace, maxPace),
		check(slices.Contains(onExceeds, c.OnExceed), "on_exceed: %q is none of %v", c.OnExceed, onExceeds),
		check(c.RequestTimeout >= minTimeout && c.RequestTimeout <= maxTimeout,
			"request_timeout: %s is not between %s and %s", c.RequestTimeout, minTimeout, maxTimeout))
	return errors.Join(slices.Concat(errs, c.checkTLS(), c.checkCSI(), c.checkMasters())...)
}

// place is a path with the setting that names it.
type place struct{ setting, path string }

// fixed are the directories besides the disks.
func (c Config) fixed() []place {
	places := []place{{"state_dir", c.StateDir}, {"pool", c.Pool}}
	for _, root := range c.SandboxRoots {
		places = append(places, place{"sandbox_roots", root})
	}
	if c.CSI.Socket != "" {
		for _, root := range c.CSI.Roots {
			places = append(places, place{"csi_roots", root})
		}
	}
	return places
}

// directories are all that must lie apart: the fixed ones, with the disks among them.
func (c Config) directories(space []Space) []place {
	places := c.fixed()
	roots := len(places) - slices.IndexFunc(places, func(p place) bool { return p.setting == "sandbox_roots" })
	for i, s := range space {
		if s.Source == nil {
			continue // the pool
		}
		name := fmt.Sprintf("disk %d: path", i)
		if len(c.Disks) == 0 {
			name = "resources: " + s.Source.String()
		}
		places = slices.Insert(places, len(places)-roots, place{name, s.Dir})
	}
	return places
}

// files are what is kept from all directories. Those that the agent makes come first.
func (c Config) files() (places []place) {
	places = []place{{"socket", c.Socket}}
	optional := []place{{"audit_log", c.AuditLog}, {"csi_socket", c.CSI.Socket}, {"csi_registration", c.CSI.Registration}, {"poll_token_file", c.PollTokenFile}}
	for _, p := range slices.Concat(optional, c.tlsFiles(), c.masterFiles()) {
		if p.path != "" {
			places = append(places, p)
		}
	}
	return places
}

func (c Config) tlsFiles() []place {
	return []place{{"tls_cert", c.TLSCert}, {"tls_key", c.TLSKey}, {"tls_client_ca", c.TLSClientCA}}
}

// checkPaths looks at each path alone, but for the disks'.
func (c Config) checkPaths() (errs []error) {
	for _, p := range slices.Concat(c.fixed(), c.files(), []place{{"cgroup_parent", c.CgroupParent}}) {
		if err := checkPath(p.setting, p.path); err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

func checkPath(setting, path string) error {
	switch {
	case path == "":
		return fmt.Errorf("%s: a path is needed", setting)
	case !filepath.IsAbs(path):
		return fmt.Errorf("%s: %s is not an absolute path", setting, path)
	case strings.ContainsFunc(path, func(r rune) bool { return r < ' ' || r == ',' || r == 0x7f }):
		return fmt.Errorf("%s: %q holds a comma or a control character", setting, path)
	case filepath.Clean(path) != path:
		return fmt.Errorf("%s: %s is not a clean path: write %s", setting, path, filepath.Clean(path))
	case path == "/":
		return fmt.Errorf("%s: / is the whole host", setting)
	}
	return nil
}

// checkNesting wants the directories apart and the files in none of them, though beside
// the journal is fine. A pool within a sandbox root would be shown to tasks; a disk
// within a disk would be offered twice; the journal within either could be purged,
// filled up or written by a task; a file in a sandbox could be read or replaced.
func (c Config) checkNesting(space []Space) (errs []error) {
	dirs := c.directories(space)
	for i, a := range dirs {
		for _, b := range dirs[:i] {
			if a.path == b.path {
				errs = append(errs, fmt.Errorf("%s and %s are the same directory %s", b.setting, a.setting, a.path))
				continue
			}
			errs = append(errs, apart(a, b), apart(b, a))
		}
		for _, file := range c.files() {
			errs = append(errs, beside(file, a))
		}
	}
	return append(errs, c.checkWritten()...)
}

// beside wants a file to be something else than the directory, and outside of it.
func beside(file, dir place) error {
	if file.path == dir.path {
		return fmt.Errorf("%s and %s are the same path %s", dir.setting, file.setting, file.path)
	}
	if dir.setting == "state_dir" || dir.setting == "csi_roots" && strings.HasPrefix(file.setting, "csi_") {
		return apart(dir, file) // the kubelet has all that is its plugins' in one directory
	}
	return errors.Join(apart(file, dir), apart(dir, file))
}

// apart wants a not to be inside b.
func apart(a, b place) error {
	return check(!strings.HasPrefix(a.path, b.path+"/"), "%s: %s is inside %s: %s", a.setting, a.path, b.setting, b.path)
}

// checkWritten wants the files that the agent writes to be no other file. Those that it
// only reads may be one: a certificate with its key, say.
func (c Config) checkWritten() (errs []error) {
	files := c.files()
	for i, a := range files {
		for _, b := range files[:i] {
			written := slices.Contains([]string{"socket", "audit_log", "csi_socket", "csi_registration"}, b.setting)
			errs = append(errs, check(!written || a.path != b.path, "%s and %s are the same file %s", b.setting, a.setting, a.path))
		}
	}
	return errs
}

// checkTLS wants all that those who listen for other hosts need, and nothing else.
func (c Config) checkTLS() (errs []error) {
	some := c.TLSListen != "" || c.PollListen != ""
	for _, p := range c.tlsFiles() {
		needed := c.TLSListen != "" || some && p.setting != "tls_client_ca"
		by := "tls_listen"
		if c.TLSListen == "" {
			by = "poll_listen"
		}
		errs = append(errs,
			check(!needed || p.path != "", "%s: %s needs it", p.setting, by),
			check(some || p.path == "", "%s: is of no use without tls_listen or poll_listen", p.setting))
	}
	return append(errs,
		check(c.PollListen != "" || c.PollTokenFile == "", "poll_token_file: is of no use without poll_listen"),
		check(c.PollListen == "" || c.PollTokenFile+c.TLSClientCA != "", "poll_listen: needs poll_token_file, tls_client_ca or both: anybody could read"),
		checkListen("tls_listen", c.TLSListen),
		checkListen("poll_listen", c.PollListen))
}

// checkListen wants a host and a port, or nothing.
func checkListen(setting, listen string) error {
	if listen == "" {
		return nil
	}
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return fmt.Errorf("%s: %q is not host:port", setting, listen)
	}
	_, notIP := netip.ParseAddr(host)
	_, notPort := strconv.ParseUint(port, 10, 16)
	return errors.Join(
		check(notIP == nil || validHost.MatchString(host), "%s: %q is neither an address nor a host's name; 0.0.0.0 and [::] are all addresses", setting, host),
		check(notPort == nil, "%s: %q is not a port's number", setting, port))
}

// checkRole wants a role that may exist, or one of those that stand for none.
func checkRole(setting, role string, none ...string) error {
	if slices.Contains(none, role) {
		return nil
	}
	if err := resource.CheckRole(role); err != nil {
		return fmt.Errorf("%s: %w", setting, err)
	}
	return nil
}

// checkSize wants nothing said, or at least as much as the smallest volume, and no more
// than an amount can be.
func checkSize(setting string, size resource.Bytes) error {
	return errors.Join(
		check(size == 0 || size >= leastOffer, "%s: %d bytes are less than a volume's least of 1 MiB", setting, int64(size)),
		check(size.Scalar() <= resource.MaxScalar, "%s: %s is above %s", setting, size, resource.MaxScalar.Bytes()))
}

// check makes an error of a condition that does not hold.
func check(ok bool, format string, args ...any) error {
	if ok {
		return nil
	}
	return fmt.Errorf(format, args...)
}

// checkAttributes wants each to be valid, and such that text can say it.
func checkAttributes(list []resource.Attribute) error {
	var errs []error
	for _, a := range list {
		if err := a.Validate(); err != nil {
			errs = append(errs, fmt.Errorf("attributes: %w", err))
		}
		errs = append(errs, check(a.Type != resource.TypeSet, "attributes: %s: a set cannot be written as text", a.Name))
	}
	return errors.Join(errs...)
}
