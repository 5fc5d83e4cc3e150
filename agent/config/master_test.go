package config_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tenon/agent/config"
)

func TestMastersAreReadFromTheFile(t *testing.T) {
	t.Parallel()
	got, err := config.Load(config.Default(), config.Sources{File: mustWrite(t, `
[[master]]
name = "fleet"
url = "https://fleet.example:8443/agents"
principal = "ops"
secret_file = "/etc/tenon/secret"
ca_file = "/etc/tenon/ca"
cert_file = "/etc/tenon/cert"
key_file = "/etc/tenon/key"
interval = "500ms"
heartbeat = "1m"
[[master]]
name = "keys"
url = "etcd://a:2379,b:2379/tenon"
`)})
	if err != nil {
		t.Fatal(err)
	}
	want := []config.Master{
		{Name: "fleet", URL: "https://fleet.example:8443/agents", Principal: "ops", SecretFile: "/etc/tenon/secret", CAFile: "/etc/tenon/ca",
			CertFile: "/etc/tenon/cert", KeyFile: "/etc/tenon/key", Interval: time.Second / 2, Heartbeat: time.Minute},
		{Name: "keys", URL: "etcd://a:2379,b:2379/tenon"},
	}
	if diff := cmp.Diff(want, got.Masters); diff != "" {
		t.Errorf("Masters (-want +got):\n%s", diff)
	}
}

func TestMastersOfTheCommandLineReplaceTheFilesAndAreCalledAsTheirHosts(t *testing.T) {
	t.Parallel()
	file := mustWrite(t, "[[master]]\nname = 'fleet'\nurl = 'http://fleet'\n")
	for given, want := range map[string][]config.Master{
		"":                       nil,
		"https://m1.example:8/a": {{Name: "m1-example", URL: "https://m1.example:8/a"}},
		"etcd://a:1,b:2/x,http://c,etcds://[::1]:3,[::2]:3": {
			{Name: "a", URL: "etcd://a:1,b:2/x"}, {Name: "c", URL: "http://c"}, {Name: "--1", URL: "etcds://[::1]:3,[::2]:3"}},
		"http://user:secret@host":           {{Name: "host", URL: "http://user:secret@host"}}, // refused by those who make clients
		"http://" + strings.Repeat("h", 40): {{Name: strings.Repeat("h", 32), URL: "http://" + strings.Repeat("h", 40)}},
	} {
		got, err := config.Load(config.Default(), config.Sources{File: file, Flags: map[string]string{"master": given}})
		if err != nil {
			t.Errorf("%s: %v", given, err)
		}
		if diff := cmp.Diff(want, got.Masters); diff != "" {
			t.Errorf("%s (-want +got):\n%s", given, diff)
		}
	}
	for given, want := range map[string]string{
		"host:5050":           "command line: --master: it does not begin with a URL, such as https://host/path",
		"http://a/1,http://a": `master 2: name: there is a master "a" before it; in the file, masters have names of their own`,
		"http://":             `master 1: name: "" is not 1 to 32 letters, digits, "-" and "_"`,
	} {
		_, err := config.Load(config.Default(), config.Sources{Flags: map[string]string{"master": given}})
		if got := problems(err); len(got) == 0 || got[0] != want {
			t.Errorf("%s: got %q, want %q", given, got, want)
		}
	}
}

func TestAMasterThatCannotBeIsRefusedWithTheReason(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*config.Master)
		want   []string
	}{
		"no name":           {func(m *config.Master) { m.Name = "" }, []string{`master 1: name: "" is not 1 to 32 letters, digits, "-" and "_"`}},
		"a name of orders":  {func(m *config.Master) { m.Name = "a:b" }, []string{`master 1: name: "a:b" is not 1 to 32 letters, digits, "-" and "_"`}},
		"no scheme":         {func(m *config.Master) { m.URL = "user:secret@host" }, []string{"master 1: url: it is not like https://host/path"}},
		"a blank":           {func(m *config.Master) { m.URL = "http://a b" }, []string{"master 1: url: it is not like https://host/path"}},
		"everybody":         {func(m *config.Master) { m.Principal = "ANY" }, []string{`master 1: principal: `}},
		"half a pair":       {func(m *config.Master) { m.KeyFile = "/k" }, []string{"master 1: cert_file and key_file: both are needed, or none"}},
		"a relative secret": {func(m *config.Master) { m.SecretFile = "s" }, []string{`master "m": secret_file: s is not an absolute path`}},
		"a negative time":   {func(m *config.Master) { m.Interval = -1 }, []string{"master 1: interval: -1ns is not between 0s and 1h0m0s"}},
		"a very long time":  {func(m *config.Master) { m.Heartbeat = 2 * time.Hour }, []string{"master 1: heartbeat: 2h0m0s is not between 0s and 1h0m0s"}},
		"a secret in a sandbox": {func(m *config.Master) { m.SecretFile = "/var/lib/tenon/sandboxes/s" },
			[]string{`master "m": secret_file: /var/lib/tenon/sandboxes/s is inside sandbox_roots: /var/lib/tenon/sandboxes`}},
	} {
		got := config.Default()
		m := config.Master{Name: "m", URL: "http://host"}
		c.change(&m)
		got.Masters = []config.Master{m}
		found := problems(got.Validate())
		if len(found) != len(c.want) || !strings.HasPrefix(found[0], c.want[0]) {
			t.Errorf("%s: Validate() = %q, want %q", name, found, c.want)
		}
	}
	_, err := config.Load(config.Default(), config.Sources{File: mustWrite(t, "[[master]]\nname = 'a'\nurl = 'http://a'\nheartbeat = 'soon'\n")})
	if got := problems(err); len(got) != 1 || !strings.HasPrefix(got[0], `tenon.toml: master 1: heartbeat: time: invalid duration "soon"`) {
		t.Errorf("Load() = %q", got)
	}
}

func TestCSIHasAllOfItsSettingsOrNone(t *testing.T) {
	t.Parallel()
	kubelet := config.CSI{Socket: "/var/lib/kubelet/plugins/tenon.dev/csi.sock", Roots: []string{"/var/lib/kubelet"}, Node: "n1",
		Registration: "/var/lib/kubelet/plugins_registry", NodeExpansion: true}
	for name, c := range map[string]struct {
		change func(*config.Config)
		want   []string
	}{
		"Kubernetes": {func(*config.Config) {}, nil},
		"Nomad": {func(c *config.Config) {
			c.CSI = config.CSI{Socket: "/run/tenon/csi.sock", Roots: []string{"/opt/nomad"}}
		}, nil},
		"no socket": {func(c *config.Config) { c.CSI.Socket = "" },
			[]string{"csi_node: is of no use without csi_socket", "csi_registration: is of no use without csi_socket", "csi_node_expansion: is of no use without csi_socket"}},
		"no root":    {func(c *config.Config) { c.CSI.Roots = nil }, []string{"csi_roots: csi_socket needs at least one"}},
		"a bad node": {func(c *config.Config) { c.CSI.Node = "-n" }, []string{`csi_node: "-n" is not 1 to 63 letters, digits, "-", "_" and ".", with a letter or digit at both ends`}},
		"the agent's socket": {func(c *config.Config) { c.CSI.Socket = c.Socket },
			[]string{"socket and csi_socket are the same file /run/tenon/tenon.sock"}},
		"a pool in a root": {func(c *config.Config) { c.Pool = "/var/lib/kubelet/pool" },
			[]string{"pool: /var/lib/kubelet/pool is inside csi_roots: /var/lib/kubelet"}},
		"a sandbox root as well": {func(c *config.Config) { c.SandboxRoots = c.CSI.Roots },
			[]string{
				"csi_socket: /var/lib/kubelet/plugins/tenon.dev/csi.sock is inside sandbox_roots: /var/lib/kubelet",
				"csi_registration: /var/lib/kubelet/plugins_registry is inside sandbox_roots: /var/lib/kubelet",
				"sandbox_roots and csi_roots are the same directory /var/lib/kubelet"}},
		"a disk in a root": {func(c *config.Config) { c.Disks = []config.Disk{{Path: "/var/lib/kubelet/d"}} },
			[]string{"disk 1: path: /var/lib/kubelet/d is inside csi_roots: /var/lib/kubelet"}},
		"the audit file in a root": {func(c *config.Config) { c.AuditLog = "/var/lib/kubelet/log" },
			[]string{"audit_log: /var/lib/kubelet/log is inside csi_roots: /var/lib/kubelet"}},
		"a root beneath the socket": {func(c *config.Config) { c.CSI.Roots = []string{c.CSI.Socket + "/a"} },
			[]string{"csi_roots: " + kubelet.Socket + "/a is inside csi_socket: " + kubelet.Socket}},
		"the socket in the pool": {func(c *config.Config) { c.CSI.Socket = c.Pool + "/s" },
			[]string{"csi_socket: /var/lib/tenon/pool/s is inside pool: /var/lib/tenon/pool"}},
		"paths too long": {func(c *config.Config) {
			c.CSI.Socket, c.CSI.Registration = "/"+strings.Repeat("s", 107), "/"+strings.Repeat("r", 90)
		}, []string{"csi_socket: /" + strings.Repeat("s", 107) + " has 108 bytes, a socket's path holds 107",
			"csi_registration: /" + strings.Repeat("r", 90) + " leaves no room for a socket's name"}},
	} {
		got := config.Default()
		got.CSI = kubelet
		c.change(&got)
		if diff := cmp.Diff(c.want, problems(got.Validate())); diff != "" {
			t.Errorf("%s: Validate() (-want +got):\n%s", name, diff)
		}
	}
}

func TestTrueIsATruthOrAText(t *testing.T) {
	t.Parallel()
	for file, want := range map[string]string{
		"csi_node_expansion = true":   "",
		"csi_node_expansion = 'true'": "",
		"csi_node_expansion = 1":      `tenon.toml: csi_node_expansion: "1" is neither true nor false`,
		"group = true":                "tenon.toml: group: true is neither a text nor a whole number",
		"csi_roots = 'a'":             "tenon.toml: csi_roots: a is not what it takes: a list",
	} {
		got, err := config.Load(config.Default(), config.Sources{File: mustWrite(t, "csi_socket = '/run/csi'\n"+file)})
		found := strings.Join(problems(err), "\n")
		if !strings.HasPrefix(found, want) || want == "" && (found != "" || !got.CSI.NodeExpansion) {
			t.Errorf("%s: got %q and %v, want %q", file, found, got.CSI.NodeExpansion, want)
		}
	}
}
