package config

import (
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"tenon/agent/resource"
	"tenon/isolator/owner"
	"tenon/isolator/quota"
)

// setting is one thing that can be set: in the file under its name, in the
// environment as TENON_NAME, on the command line as --name with hyphens.
type setting struct {
	name string
	doc  string // what the written file says above it
	set  func(c *Config, text string) error
	get  func(c Config) any // as TOML holds it, which says what the file may have; set reads it back
}

// tabled is the setting that the file has tables for, which are written by themselves.
const tabled = "master"

// isList says whether the setting is a list in the file, and texts with commas elsewhere.
func (s setting) isList() bool { _, is := s.get(Config{}).([]string); return is }

// isFlag says whether the setting is true or false.
func (s setting) isFlag() bool { _, is := s.get(Config{}).(bool); return is }

// settings are all but the tables, which only the file can have.
var settings = []setting{
	{"state_dir", "Where the journal and the agent's identity are. Only root may look inside.",
		text(func(c *Config) *string { return &c.StateDir }),
		func(c Config) any { return c.StateDir }},
	{"socket", "The API's unix socket. Not used when systemd hands one over (tenon.socket).",
		text(func(c *Config) *string { return &c.Socket }),
		func(c Config) any { return c.Socket }},
	{"group", "Members of this group may use the socket, which is as good as being root.\nEmpty, or not known on this host: only root may.",
		text(func(c *Config) *string { return &c.Group }),
		func(c Config) any { return c.Group }},
	{"pool", "The directory on the root disk that volumes are made in.",
		text(func(c *Config) *string { return &c.Pool }),
		func(c Config) any { return c.Pool }},
	{"pool_size", "How much of the root disk is offered: \"100GiB\", \"512M\", or a number of MiB.\n\"0B\": 5 GB less than the file system has, or half of one below 10 GB.",
		parsed(resource.ParseBytes, func(c *Config) *resource.Bytes { return &c.PoolSize }),
		func(c Config) any { return exactly(c.PoolSize) }},
	{"resources", "What is offered, as mesos-agent has it: text, JSON, or file:///path of either, such as\n\"cpus:24;mem:24576;disk:409600;disk(eng):2048;ports:[21000-24000]\". If a disk is\namong them, leave out pool_size and [[disk]]. cpus, mem, ports and others are offered\nonly if they are named here: nothing about them is found out.",
		parsed(parseResources, func(c *Config) *[]resource.Resource { return &c.Resources }),
		func(c Config) any { return formatResources(c.Resources) }},
	{"default_role", "Whom disks and resources are reserved to that name no role; \"*\" is nobody.",
		text(func(c *Config) *string { return &c.DefaultRole }),
		func(c Config) any { return c.DefaultRole }},
	{"attributes", "What is to be known of this host, as mesos-agent has it: \"rack:r2;level:10\".",
		parsed(resource.ParseAttributes, func(c *Config) *[]resource.Attribute { return &c.Attributes }),
		func(c Config) any { return formatAttributes(c.Attributes) }},
	{"sandbox_roots", "The directories beneath which a task's sandbox may be. The agent makes its own\nin the first one. In the environment and on the command line: with commas.",
		list(func(c *Config) *[]string { return &c.SandboxRoots }),
		func(c Config) any { return c.SandboxRoots }},
	{"project_range", "The project numbers by which XFS, ext4 and btrfs may be told to hold volumes to\ntheir sizes, where they do such things; one for each volume. What else uses projects\non these disks (containers, say) needs others. \"[0-0]\": none.",
		parsed(parseProjects, func(c *Config) *quota.Range { return &c.Projects }),
		func(c Config) any { return c.Projects.String() }},
	{"volume_gid_range", "The group ids from which shared volumes are given groups of their own, so that tasks of\ndifferent users can work on one, as mesos-agent has it: \"[10000-20000]\". Nobody else\nmay use them. Empty: none are given.",
		parsed(parseGroups, func(c *Config) *owner.Ranges { return &c.Groups }),
		func(c Config) any { return formatGroups(c.Groups) }},
	{"soft_quota_interval", "Where a file system holds no volume to its size, what is in volumes is measured this\noften, by walking through them; less often where that takes long. \"0s\": not at all.",
		parsed(time.ParseDuration, func(c *Config) *time.Duration { return &c.SoftQuotaInterval }),
		func(c Config) any { return c.SoftQuotaInterval.String() }},
	{"on_exceed", "What follows when such a volume holds more than its size: \"report\"; \"readonly\": nobody\ncan write to it by a path until it is within again; or \"kill\": tasks that may write to\nit are killed. A volume may say otherwise.",
		text(func(c *Config) *string { return &c.OnExceed }),
		func(c Config) any { return c.OnExceed }},
	{"cgroup_parent", "The cgroup in which those of tasks are made. Not one beneath the agent's own\nservice: it could not be started again while tasks run there.",
		text(func(c *Config) *string { return &c.CgroupParent }),
		func(c Config) any { return c.CgroupParent }},
	{"audit_log", "The file that tells who asked for what, and whether it was done. Empty: none.",
		text(func(c *Config) *string { return &c.AuditLog }),
		func(c Config) any { return c.AuditLog }},
	{"tls_listen", "Where other hosts reach the API, such as \"0.0.0.0:5051\", with a certificate that\nthe authority in tls_client_ca has signed. Empty: nowhere.",
		text(func(c *Config) *string { return &c.TLSListen }),
		func(c Config) any { return c.TLSListen }},
	{"tls_cert", "The file of the server's certificate, for tls_listen.",
		text(func(c *Config) *string { return &c.TLSCert }),
		func(c Config) any { return c.TLSCert }},
	{"tls_key", "The file of the key to tls_cert.",
		text(func(c *Config) *string { return &c.TLSKey }),
		func(c Config) any { return c.TLSKey }},
	{"tls_client_ca", "The file of the authority that the certificates of clients are from.",
		text(func(c *Config) *string { return &c.TLSClientCA }),
		func(c Config) any { return c.TLSClientCA }},
	{"poll_listen", "Where other hosts may read, and change nothing, such as \"0.0.0.0:5052\": the status,\nlists, events and metrics. With tls_cert and tls_key, and for those who have the token\nin poll_token_file or a certificate that tls_client_ca has signed. Empty: nowhere.",
		text(func(c *Config) *string { return &c.PollListen }),
		func(c Config) any { return c.PollListen }},
	{"poll_token_file", "The file of the token for poll_listen, at least 16 bytes, for its owner alone to read.\nTo the ACLs, whoever has it is the principal \"poller\".",
		text(func(c *Config) *string { return &c.PollTokenFile }),
		func(c Config) any { return c.PollTokenFile }},
	{"master", "Where masters are that want no secret or certificate of the agent, in place of those\nof the file: the name of each is its host's. Several with commas.",
		parsed(parseMasters, func(c *Config) *[]Master { return &c.Masters }),
		func(c Config) any { return formatMasters(c.Masters) }},
	{"csi_socket", "The unix socket of the CSI endpoint, for Kubernetes or Nomad: see agent/csi/README.md.\nEmpty: there is none.",
		text(func(c *Config) *string { return &c.CSI.Socket }),
		func(c Config) any { return c.CSI.Socket }},
	{"csi_roots", "The directories beneath which volumes are published by CSI. Unlike sandbox_roots they\nstay mounted as they are. Used only with csi_socket.",
		list(func(c *Config) *[]string { return &c.CSI.Roots }),
		func(c Config) any { return c.CSI.Roots }},
	{"csi_node", "What the orchestrator calls this host. Empty: the host's name.",
		text(func(c *Config) *string { return &c.CSI.Node }),
		func(c Config) any { return c.CSI.Node }},
	{"csi_registration", "Where the kubelet looks for plugins, \"/var/lib/kubelet/plugins_registry\" as a rule.\nEmpty: the agent does not register.",
		text(func(c *Config) *string { return &c.CSI.Registration }),
		func(c Config) any { return c.CSI.Registration }},
	{"csi_node_expansion", "Whether volumes grow where they are published alone: true for Kubernetes.",
		parsed(parseTruth, func(c *Config) *bool { return &c.CSI.NodeExpansion }),
		func(c Config) any { return c.CSI.NodeExpansion }},
	{"log_level", "The least that is logged: debug, info, warn or error.",
		parsed(parseLevel, func(c *Config) *slog.Level { return &c.LogLevel }),
		func(c Config) any { return strings.ToLower(c.LogLevel.String()) }},
	{"log_format", "For people, text; for programs, json.",
		func(c *Config, s string) error { c.LogFormat = LogFormat(s); return nil },
		func(c Config) any { return string(c.LogFormat) }},
	{"request_timeout", "A call whose work is not done by then is answered; the work goes on.",
		parsed(time.ParseDuration, func(c *Config) *time.Duration { return &c.RequestTimeout }),
		func(c Config) any { return c.RequestTimeout.String() }},
}

// text sets a field that is a text itself.
func text(field func(*Config) *string) func(*Config, string) error {
	return func(c *Config, s string) error { *field(c) = s; return nil }
}

// list sets a field that is a list of texts.
func list(field func(*Config) *[]string) func(*Config, string) error {
	return func(c *Config, s string) error { *field(c) = strings.Split(s, ","); return nil }
}

func parseTruth(s string) (bool, error) {
	if s != "true" && s != "false" {
		return false, fmt.Errorf("%q is neither true nor false", s)
	}
	return s == "true", nil
}

// parsed sets a field that parse makes of a text, or leaves it as it is.
func parsed[T any](parse func(string) (T, error), field func(*Config) *T) func(*Config, string) error {
	return func(c *Config, s string) error {
		value, err := parse(s)
		if err != nil {
			return err
		}
		*field(c) = value
		return nil
	}
}

// parseProjects reads a range; "[0-0]" is none.
func parseProjects(s string) (quota.Range, error) {
	if none := (quota.Range{}); strings.TrimSpace(s) == none.String() {
		return none, nil
	}
	return quota.ParseRange(s)
}

// parseGroups reads ranges of group ids; the empty text is none.
func parseGroups(s string) (owner.Ranges, error) {
	if s == "" {
		return nil, nil
	}
	return owner.ParseRanges(s)
}

func formatGroups(rs owner.Ranges) string {
	if len(rs) == 0 {
		return ""
	}
	return rs.String()
}

func parseLevel(s string) (slog.Level, error) {
	for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
		if s == strings.ToLower(level.String()) {
			return level, nil
		}
	}
	return 0, fmt.Errorf("%q is none of debug, info, warn, error", s)
}

// apply sets what is named, and reports each problem with where the value was from.
func apply(c *Config, from func(name string) string, values map[string]string) error {
	var errs []error
	for _, s := range settings {
		if value, ok := values[s.name]; ok {
			if err := s.set(c, value); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", from(s.name), err))
			}
		}
	}
	return errors.Join(errs...)
}

// known says whether name is a setting.
func known(name string) bool {
	for _, s := range settings {
		if s.name == name {
			return true
		}
	}
	return false
}

// exactly is a size as resource.ParseBytes reads it back without loss.
func exactly(b resource.Bytes) string {
	for _, u := range []struct {
		name string
		size resource.Bytes
	}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}} {
		if b >= u.size && b%u.size == 0 {
			return strconv.FormatInt(int64(b/u.size), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(b), 10) + "B"
}
