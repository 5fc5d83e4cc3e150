// Package config makes one validated Config of the defaults, a TOML file, the
// environment (TENON_*) and the command line's flags; each overrides the ones before
// it. Every way speaks of the same settings by the same names and goes through the
// same parser.
//
// It is not for what needs the host: whether a directory exists, how large a file
// system is, whether a group is known, what a certificate says. The agent finds out when
// it uses them. The one file that Load reads besides the configuration's is that of
// "resources".
//
// A Config that Load returned is valid, and nobody changes it afterwards.
package config

import (
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"tenon/agent/access"
	"tenon/agent/resource"
	"tenon/isolator/owner"
	"tenon/isolator/quota"
)

// DefaultFile is the file that the agent reads when none is named.
const DefaultFile = "/etc/tenon/tenon.toml"

// Config is all that an operator decides about one agent. Paths are absolute and
// clean.
type Config struct {
	// StateDir holds the journal and the agent's identity.
	StateDir string

	// Socket is the path of the API's unix socket. It is not used when systemd hands
	// one over.
	Socket string

	// Group may use the socket besides root. Where the host does not know it, or
	// when it is empty, only root may.
	Group string

	// Pool is the directory on the root disk that volumes are made in.
	Pool string

	// PoolSize is how much of the root disk is offered; 0 leaves it to the agent
	// (spec.md 1.10).
	PoolSize resource.Bytes

	// Disks are the sources of space besides the root disk.
	Disks []Disk

	// Resources are what the agent offers, in Mesos' words. If a disk is among them,
	// they say all about disks, and PoolSize and Disks nothing: see Space. Each is
	// reserved, statically, to DefaultRole if it says no role of its own.
	Resources []resource.Resource

	// DefaultRole has whatever is not configured for some role; "*" is nobody.
	DefaultRole string

	// Attributes describe the host to whoever places tasks.
	Attributes []resource.Attribute

	// SandboxRoots are the directories beneath which a task's sandbox may be. The
	// agent makes its own in the first. There is at least one.
	SandboxRoots []string

	// Projects are the numbers by which file systems may be told to limit volumes; the
	// zero Range is none.
	Projects quota.Range

	// Groups are the group ids from which shared volumes are given groups of their own; none
	// gives them none.
	Groups owner.Ranges

	// SoftQuotaInterval is the time between two measurements of volumes that no file system
	// holds to their sizes; 0 is none.
	SoftQuotaInterval time.Duration

	// OnExceed is what follows when such a volume holds more than its size and says nothing
	// itself: "report", "readonly" or "kill".
	OnExceed string

	// CgroupParent is the cgroup, as a path from the hierarchy's root, in which the
	// agent makes those of tasks.
	CgroupParent string

	// Principals say who a user of the host is.
	Principals access.Principals

	// ACLs say which principal may do what. The zero value allows everything.
	ACLs access.ACLs

	// AuditLog is the file that tells who asked for what; empty for none.
	AuditLog string

	// TLSListen is where the API is served to other hosts, as host:port; empty for
	// nowhere.
	TLSListen string

	// TLSCert, TLSKey and TLSClientCA are the files of the server's certificate, of its
	// key, and of the authority of its clients' certificates. TLSListen needs them all,
	// PollListen the first two; without either there are none.
	TLSCert, TLSKey, TLSClientCA string

	// PollListen is where other hosts may read from the API, and only that, as
	// host:port; empty for nowhere. They prove who they are by the token in
	// PollTokenFile or a certificate of TLSClientCA; at least one of these is given.
	PollListen, PollTokenFile string

	// Masters are those that the agent reports to and takes orders from. Their names
	// are unique.
	Masters []Master

	// CSI is how the agent serves Kubernetes or Nomad.
	CSI CSI

	// LogLevel is the least severe level that is logged.
	LogLevel slog.Level

	// LogFormat is how a line of the log is written.
	LogFormat LogFormat

	// RequestTimeout ends a call whose work has not converged by then. The work goes
	// on, and the same call may be made again.
	RequestTimeout time.Duration
}

// Disk is a directory on a disk of its own, offered as a source of type PATH or MOUNT.
type Disk struct {
	// Path is the directory.
	Path string

	// Size is how much of it is offered; 0 leaves it to the agent.
	Size resource.Bytes

	// Mount is whether all of the disk is one volume: a source of type MOUNT. Then
	// something is mounted at Path.
	Mount bool

	// Role is whom the disk is reserved to, statically; empty for the DefaultRole, "*"
	// for nobody.
	Role string
}

// Master is one that the agent reports to and takes orders from.
type Master struct {
	// Name is what the agent calls it: 1 to 32 letters, digits, "-" and "_". The ids of
	// its orders are kept under it, so a master keeps its name.
	Name string

	// URL is where it is; the scheme says of which kind.
	URL string

	// Principal is as whom it asks, to the ACLs; empty is "master:" and the name.
	Principal string

	// SecretFile, CAFile, CertFile and KeyFile are what the two know each other by, as
	// far as the kind needs them. CertFile and KeyFile are given both or not at all.
	SecretFile, CAFile, CertFile, KeyFile string

	// Interval is the least time between two reports, and Heartbeat the longest; 0
	// leaves it to the agent.
	Interval, Heartbeat time.Duration
}

// CSI is how the agent serves Kubernetes or Nomad. Without a socket it does not.
type CSI struct {
	// Socket is the path of the endpoint; empty for none.
	Socket string

	// Roots are the directories beneath which volumes may be published; they stay
	// mounted as they are. There is at least one if there is a Socket.
	Roots []string

	// Node is what the orchestrator calls this host; empty is the host's name.
	Node string

	// Registration is the directory in which the kubelet looks for plugins; empty where
	// there is none.
	Registration string

	// NodeExpansion has volumes grow on the node alone, as Kubernetes needs it.
	NodeExpansion bool
}

// LogFormat is a way to write the log.
type LogFormat string

// The log's formats: for people and for programs.
const (
	Text LogFormat = "text"
	JSON LogFormat = "json"
)

// Default is the configuration of an agent about which nothing was said.
func Default() Config {
	return Config{
		StateDir:          "/var/lib/tenon/state",
		Socket:            "/run/tenon/tenon.sock",
		Group:             "tenon",
		Pool:              "/var/lib/tenon/pool",
		DefaultRole:       unreserved,
		AuditLog:          "/var/lib/tenon/audit.log",
		SandboxRoots:      []string{"/var/lib/tenon/sandboxes"},
		CSI:               CSI{Roots: []string{"/var/lib/kubelet"}},
		Projects:          quota.Range{First: 500_000, Last: 999_999},
		SoftQuotaInterval: time.Minute,
		OnExceed:          "report",
		CgroupParent:      "/tenon",
		LogLevel:          slog.LevelInfo,
		LogFormat:         Text,
		RequestTimeout:    time.Minute,
	}
}

// Dev is the configuration of an agent that is tried out: all it has lies beneath
// dir, which must be absolute, and it tells all it does.
func Dev(dir string) Config {
	c := Default()
	c.StateDir = filepath.Join(dir, "state")
	c.Socket = filepath.Join(dir, "tenon.sock")
	c.Group = ""
	c.Pool = filepath.Join(dir, "pool")
	c.SandboxRoots = []string{filepath.Join(dir, "sandboxes")}
	c.CgroupParent = "/" + filepath.Base(dir)
	c.AuditLog = filepath.Join(dir, "audit.log")
	return c
}

// clone returns a copy that shares nothing with c.
func (c Config) clone() Config {
	c.Disks = slices.Clone(c.Disks)
	c.SandboxRoots = slices.Clone(c.SandboxRoots)
	c.Masters = slices.Clone(c.Masters)
	c.CSI.Roots = slices.Clone(c.CSI.Roots)
	c.Resources = slices.Clone(c.Resources)
	c.Attributes = slices.Clone(c.Attributes)
	c.Principals = slices.Clone(c.Principals)
	c.ACLs.Rules = maps.Clone(c.ACLs.Rules)
	return c
}
