package config_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tenon/agent/config"
)

// serves makes c serve other hosts.
func serves(c *config.Config) {
	c.TLSListen, c.TLSCert, c.TLSKey, c.TLSClientCA = "[::]:5051", "/etc/tenon/tls.pem", "/etc/tenon/tls.pem", "/etc/tenon/ca.pem"
}

func TestAFileInTheWrongPlaceIsRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*config.Config)
		want   []string
	}{
		"a log in the pool": {func(c *config.Config) { c.AuditLog = c.Pool + "/log" },
			[]string{"audit_log: /var/lib/tenon/pool/log is inside pool: /var/lib/tenon/pool"}},
		"a log in a sandbox": {func(c *config.Config) { c.AuditLog = c.SandboxRoots[0] + "/log" },
			[]string{"audit_log: /var/lib/tenon/sandboxes/log is inside sandbox_roots: /var/lib/tenon/sandboxes"}},
		"a log on a disk": {func(c *config.Config) { c.AuditLog = "/d/log"; c.Disks = []config.Disk{{Path: "/d"}} },
			[]string{"audit_log: /d/log is inside disk 1: path: /d"}},
		"a log that is a directory": {func(c *config.Config) { c.AuditLog = c.StateDir },
			[]string{"state_dir and audit_log are the same path /var/lib/tenon/state"}},
		"a log above a directory": {func(c *config.Config) { c.AuditLog = "/log"; c.StateDir = "/log/state" },
			[]string{"state_dir: /log/state is inside audit_log: /log"}},
		"a log that is the socket": {func(c *config.Config) { c.AuditLog = c.Socket },
			[]string{"socket and audit_log are the same file /run/tenon/tenon.sock"}},
		"a log that is a key": {func(c *config.Config) { serves(c); c.AuditLog = c.TLSClientCA },
			[]string{"audit_log and tls_client_ca are the same file /etc/tenon/ca.pem"}},
		"a relative log": {func(c *config.Config) { c.AuditLog = "log" },
			[]string{"audit_log: log is not an absolute path"}},
		"an unclean log": {func(c *config.Config) { c.AuditLog = "/a//b" },
			[]string{"audit_log: /a//b is not a clean path: write /a/b"}},
		"a key in a sandbox": {func(c *config.Config) { serves(c); c.TLSKey = c.SandboxRoots[0] + "/key" },
			[]string{"tls_key: /var/lib/tenon/sandboxes/key is inside sandbox_roots: /var/lib/tenon/sandboxes"}},
		"relative files": {func(c *config.Config) { serves(c); c.TLSCert, c.TLSKey, c.TLSClientCA = "a", "b", "c" },
			[]string{"tls_cert: a is not an absolute path", "tls_key: b is not an absolute path", "tls_client_ca: c is not an absolute path"}},
		"TLS without its files": {func(c *config.Config) { c.TLSListen = "a:1" },
			[]string{"tls_cert: tls_listen needs it", "tls_key: tls_listen needs it", "tls_client_ca: tls_listen needs it"}},
		"TLS without one of its files": {func(c *config.Config) { serves(c); c.TLSClientCA = "" },
			[]string{"tls_client_ca: tls_listen needs it"}},
		"files without TLS": {func(c *config.Config) { serves(c); c.TLSListen = "" },
			[]string{"tls_cert: is of no use without tls_listen or poll_listen", "tls_key: is of no use without tls_listen or poll_listen", "tls_client_ca: is of no use without tls_listen or poll_listen"}},
		"polling without its files": {func(c *config.Config) { c.PollListen = "a:1" },
			[]string{"tls_cert: poll_listen needs it", "tls_key: poll_listen needs it", "poll_listen: needs poll_token_file, tls_client_ca or both: anybody could read"}},
		"polling by nobody": {func(c *config.Config) { serves(c); c.TLSListen, c.PollListen, c.TLSClientCA = "", "a:1", "" },
			[]string{"poll_listen: needs poll_token_file, tls_client_ca or both: anybody could read"}},
		"polling nowhere": {func(c *config.Config) { c.PollTokenFile = "/t"; c.PollListen = "" },
			[]string{"poll_token_file: is of no use without poll_listen"}},
		"polling at no address": {func(c *config.Config) { serves(c); c.PollListen = "a" },
			[]string{`poll_listen: "a" is not host:port`}},
		"a token in the pool": {func(c *config.Config) { serves(c); c.PollListen, c.PollTokenFile = "a:1", c.Pool+"/t" },
			[]string{"poll_token_file: /var/lib/tenon/pool/t is inside pool: /var/lib/tenon/pool"}},
		"a token that is the log": {func(c *config.Config) { serves(c); c.PollListen, c.PollTokenFile = "a:1", c.AuditLog },
			[]string{"audit_log and poll_token_file are the same file /var/lib/tenon/audit.log"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := config.Default()
			c.change(&got)
			if diff := cmp.Diff(c.want, problems(got.Validate())); diff != "" {
				t.Errorf("Validate() (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFilesThatAreFine(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*config.Config){
		"no audit log":                       func(c *config.Config) { c.AuditLog = "" },
		"an audit log beside the journal":    func(c *config.Config) { c.AuditLog = c.StateDir + "/audit.log" },
		"a certificate that is with its key": serves,
		"polling by token alone": func(c *config.Config) {
			serves(c)
			c.TLSListen, c.PollListen, c.TLSClientCA, c.PollTokenFile = "", "a:1", "", "/etc/tenon/token"
		},
		"polling by certificate alone":        func(c *config.Config) { serves(c); c.TLSListen, c.PollListen = "", "a:1" },
		"an audit log next to a sandbox root": func(c *config.Config) { c.AuditLog = c.SandboxRoots[0] + ".log" },
	} {
		c := config.Default()
		change(&c)
		if err := c.Validate(); err != nil {
			t.Errorf("%s: Validate() = %v, want nil", name, err)
		}
	}
}

func TestWhereToListenIsAHostAndAPort(t *testing.T) {
	t.Parallel()
	for listen, want := range map[string]string{
		"127.0.0.1:0":          "",
		"0.0.0.0:65535":        "",
		"[::1]:5051":           "",
		"[fe80::1%eth0]:5051":  "",
		"node-1.example_x:443": "",
		"5051":                 `tls_listen: "5051" is not host:port`,
		"::1:5051":             `tls_listen: "::1:5051" is not host:port`,
		"a:b:1":                `tls_listen: "a:b:1" is not host:port`,
		":5051":                `tls_listen: "" is neither an address nor a host's name; `,
		"a b:1":                `tls_listen: "a b" is neither an address nor a host's name; `,
		"-a:1":                 `tls_listen: "-a" is neither an address nor a host's name; `,
		"https://a:1":          `tls_listen: "https://a:1" is not host:port`,
		"a:":                   `tls_listen: "" is not a port's number`,
		"a:https":              `tls_listen: "https" is not a port's number`,
		"a:65536":              `tls_listen: "65536" is not a port's number`,
		"a:-1":                 `tls_listen: "-1" is not a port's number`,
	} {
		c := config.Default()
		serves(&c)
		c.TLSListen = listen
		got := strings.Join(problems(c.Validate()), "\n")
		if got != want && (want == "" || !strings.HasPrefix(got, want) || strings.Contains(got, "\n")) {
			t.Errorf("%s: %q, want %q", listen, got, want)
		}
	}
}
