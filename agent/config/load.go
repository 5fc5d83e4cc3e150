package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"tenon/agent/access"
	"tenon/agent/resource"
)

// Sources are what a configuration is made of besides the defaults, weakest first.
type Sources struct {
	// File is the path of a TOML file; empty for none.
	File string

	// FileOptional makes no error of a File that does not exist.
	FileOptional bool

	// Environ is the environment as os.Environ returns it.
	Environ []string

	// Flags are the values given on the command line, by setting ("state_dir").
	Flags map[string]string
}

// Load returns base, overridden by the sources and validated. The error joins all
// problems that were found, in all sources at once; each says where its value is
// from. A setting that nobody knows is an error in every source, so that a mistyped
// name does not pass as a default.
func Load(base Config, from Sources) (Config, error) {
	c := base.clone()
	var errs []error
	if from.File != "" {
		errs = append(errs, applyFile(&c, from))
	}
	errs = append(errs, applyEnviron(&c, from.Environ), applyFlags(&c, from.Flags))
	if resource.CheckRole(c.DefaultRole) == nil && len(c.Resources) > 0 {
		c.Resources = resource.WithDefaultRole(c.Resources, c.DefaultRole)
	}
	// A value that could not be read has left the weaker source's in place, so what
	// is found now is wrong by itself.
	if err := errors.Join(append(errs, c.Validate())...); err != nil {
		return Config{}, err
	}
	return c, nil
}

// document is the file. A value may be a text or a number: "2048" and 2048 are the
// same size.
type document struct {
	StateDir       any               `toml:"state_dir"`
	Socket         any               `toml:"socket"`
	Group          any               `toml:"group"`
	Pool           any               `toml:"pool"`
	PoolSize       any               `toml:"pool_size"`
	Resources      any               `toml:"resources"`
	DefaultRole    any               `toml:"default_role"`
	Attributes     any               `toml:"attributes"`
	SandboxRoots   any               `toml:"sandbox_roots"`
	AuditLog       any               `toml:"audit_log"`
	TLSListen      any               `toml:"tls_listen"`
	TLSCert        any               `toml:"tls_cert"`
	TLSKey         any               `toml:"tls_key"`
	TLSClientCA    any               `toml:"tls_client_ca"`
	PollListen     any               `toml:"poll_listen"`
	PollTokenFile  any               `toml:"poll_token_file"`
	CSISocket      any               `toml:"csi_socket"`
	CSIRoots       any               `toml:"csi_roots"`
	CSINode        any               `toml:"csi_node"`
	CSIRegistry    any               `toml:"csi_registration"`
	CSIExpansion   any               `toml:"csi_node_expansion"`
	CgroupParent   any               `toml:"cgroup_parent"`
	SoftQuota      any               `toml:"soft_quota_interval"`
	OnExceed       any               `toml:"on_exceed"`
	ProjectRange   any               `toml:"project_range"`
	VolumeGIDRange any               `toml:"volume_gid_range"`
	LogLevel       any               `toml:"log_level"`
	LogFormat      any               `toml:"log_format"`
	RequestTimeout any               `toml:"request_timeout"`
	Disk           []diskTable       `toml:"disk"`
	Master         []masterTable     `toml:"master"`
	Principal      access.Principals `toml:"principal"`
	ACL            map[string]any    `toml:"acl"`
}

// values returns the settings that the document holds, by name.
func (d document) values() map[string]any {
	all := map[string]any{
		"state_dir": d.StateDir, "socket": d.Socket, "group": d.Group, "pool": d.Pool,
		"pool_size": d.PoolSize, "sandbox_roots": d.SandboxRoots, "cgroup_parent": d.CgroupParent,
		"project_range": d.ProjectRange, "volume_gid_range": d.VolumeGIDRange,
		"log_level": d.LogLevel, "log_format": d.LogFormat,
		"request_timeout": d.RequestTimeout, "resources": d.Resources, "default_role": d.DefaultRole,
		"attributes": d.Attributes, "soft_quota_interval": d.SoftQuota, "on_exceed": d.OnExceed, "audit_log": d.AuditLog, "tls_listen": d.TLSListen,
		"tls_cert": d.TLSCert, "tls_key": d.TLSKey, "tls_client_ca": d.TLSClientCA,
		"poll_listen": d.PollListen, "poll_token_file": d.PollTokenFile,
		"csi_socket": d.CSISocket, "csi_roots": d.CSIRoots, "csi_node": d.CSINode,
		"csi_registration": d.CSIRegistry, "csi_node_expansion": d.CSIExpansion,
	}
	for name, value := range all {
		if value == nil {
			delete(all, name)
		}
	}
	return all
}

// applyFile applies the file of the sources.
func applyFile(c *Config, from Sources) error {
	b, err := os.ReadFile(from.File)
	if from.FileOptional && errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	var d document
	decoder := toml.NewDecoder(bytes.NewReader(b)).DisallowUnknownFields()
	// With unknown keys, the known ones have been read all the same.
	err = located(from.File, decoder.Decode(&d))
	return errors.Join(err, applyValues(c, from.File, d), applyDisks(c, from.File, d), applyMasters(c, from.File, d), applyAccess(c, from.File, d))
}

// applyValues applies all of the document but its tables.
func applyValues(c *Config, file string, d document) error {
	var errs []error
	texts := map[string]string{}
	for name, value := range d.values() {
		text, err := textOf(name, value)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %s: %w", file, name, err))
			continue
		}
		texts[name] = text
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	errs = append(errs, apply(c, func(name string) string { return file + ": " + name }, texts))
	return errors.Join(errs...)
}

// textOf is a value of the file as the environment would have it.
func textOf(name string, value any) (string, error) {
	s := settings[slices.IndexFunc(settings, func(s setting) bool { return s.name == name })]
	if truth, is := value.(bool); is && s.isFlag() {
		return fmt.Sprint(truth), nil
	}
	list, isList := value.([]any)
	if !isList {
		list = []any{value}
	}
	if isList != s.isList() {
		return "", fmt.Errorf("%v is not what it takes: a list for sandbox_roots and csi_roots, else a text or a number", value)
	}
	words, err := scalars(list)
	return strings.Join(words, ","), err
}

// scalars returns texts and whole numbers as texts.
func scalars(list []any) ([]string, error) {
	var words []string
	for _, value := range list {
		switch value.(type) {
		case string, int64:
			words = append(words, fmt.Sprint(value))
		default:
			return nil, fmt.Errorf("%v is neither a text nor a whole number", value)
		}
	}
	return words, nil
}

// located turns an error of the TOML parser into lines that say where it is.
func located(file string, err error) error {
	var unknown *toml.StrictMissingError
	if errors.As(err, &unknown) {
		var errs []error
		for i := range unknown.Errors {
			line, _ := unknown.Errors[i].Position()
			errs = append(errs, fmt.Errorf("%s: line %d: unknown key %s", file, line, strings.Join(unknown.Errors[i].Key(), ".")))
		}
		return errors.Join(errs...)
	}
	var syntax *toml.DecodeError
	if errors.As(err, &syntax) {
		line, column := syntax.Position()
		return fmt.Errorf("%s: line %d, column %d: %w", file, line, column, err)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}

const (
	envPrefix = "TENON_"
	testEnv   = envPrefix + "TEST_" // belongs to the tests
)

// taskEnv are the variables that a task of `tenon run` finds; an agent may be one.
var taskEnv = map[string]bool{"TASK": true, "SANDBOX": true}

// applyEnviron applies the variables that begin with TENON_.
func applyEnviron(c *Config, environ []string) error {
	var errs []error
	values := map[string]string{}
	for _, entry := range environ {
		variable, value, _ := strings.Cut(entry, "=")
		name, ours := strings.CutPrefix(variable, envPrefix)
		if !ours || strings.HasPrefix(variable, testEnv) || taskEnv[name] {
			continue
		}
		if name = strings.ToLower(name); !known(name) || variable != envName(name) {
			errs = append(errs, fmt.Errorf("environment: unknown variable %s", variable))
			continue
		}
		values[name] = value
	}
	errs = append(errs, apply(c, func(name string) string { return "environment: " + envName(name) }, values))
	return errors.Join(errs...)
}

// envName is the variable of a setting.
func envName(name string) string { return envPrefix + strings.ToUpper(name) }

// applyFlags applies the command line.
func applyFlags(c *Config, flags map[string]string) error {
	var errs []error
	for name := range flags {
		if !known(name) {
			errs = append(errs, fmt.Errorf("command line: unknown setting %s", name))
		}
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	flag := func(name string) string { return "command line: --" + strings.ReplaceAll(name, "_", "-") }
	errs = append(errs, apply(c, flag, flags))
	return errors.Join(errs...)
}
