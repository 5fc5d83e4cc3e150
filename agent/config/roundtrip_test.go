package config_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"tenon/agent/access"
	"tenon/agent/config"
	"tenon/agent/resource"
	"tenon/isolator/owner"
)

// requireReadBack writes c to a file and wants to load the same from it.
func requireReadBack(t interface{ Fatalf(string, ...any) }, file string, c config.Config) {
	var b bytes.Buffer
	if err := config.Write(&b, c); err != nil {
		t.Fatalf("Write() = %v", err)
	}
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatalf("%v", err)
	}
	got, err := config.Load(config.Default(), config.Sources{File: file})
	if err != nil {
		t.Fatalf("Load() of what was written = %v\n%s", err, b.String())
	}
	if diff := cmp.Diff(c, got); diff != "" {
		t.Fatalf("read back (-written +got):\n%s\n%s", diff, b.String())
	}
}

func TestWhatIsWrittenIsReadBack(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "tenon.toml")
	rapid.Check(t, func(rt *rapid.T) { requireReadBack(rt, file, draw(rt)) })
}

// FuzzLoad feeds files to Load: none makes it panic, and what it loads is valid and the
// same again once it is written.
func FuzzLoad(f *testing.F) {
	for _, seed := range []string{
		"pool_size = \"1.5GiB\"\ngroup = ''\n[[disk]]\npath = \"/a\"\ntype = 'mount'\nrole = '*'\nsize = 7",
		"resources = 'cpus(a):0.5;disk:1;disk(eng):0;ports:[1-2,4-4];x:{a,b};y:{}'\ndefault_role = 'web'",
		"resources = '''[" + diskJSON(4, "MOUNT", "/m", static) + "," + diskJSON(1, "PATH", "/a", `,"role":"*"`) + "]'''",
		"attributes = 'rack:r2;level:-1.5;keys:[10-20];zone:a:b'",
		"tls_listen = '[::1]:0'\ntls_cert = '/c'\ntls_key = '/c'\ntls_client_ca = '/d'\naudit_log = ''",
		"csi_socket = '/c/s'\ncsi_roots = ['/c', '/d']\ncsi_node = 'n'\ncsi_registration = '/d/r'\ncsi_node_expansion = true",
		"poll_listen = '[::1]:0'\ntls_cert = '/c'\ntls_key = '/c'\npoll_token_file = '/d'",
		"[[master]]\nname = 'a'\nurl = 'etcd://a:1,b:2/x'\ninterval = '1s'\n[[master]]\nname = 'b'\nurl = 'https://h'\ncert_file = '/c'\nkey_file = '/k'\nprincipal = 'p'",
		"[[principal]]\nname = \"ops\"\nuid = 0\ngid = 7\n[[principal]]\nname = 'a\"b'\ngid = 1",
		"[acl]\npermissive = false\nview_roles = [{principals = 'ANY', roles = ['a/%', 'b']}]\n[[acl.destroy_volumes]]\nprincipals = {type = 'NONE'}\ncreator_principals = {values = ['x']}",
	} {
		f.Add([]byte(seed))
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, content []byte) {
		file := filepath.Join(dir, "tenon.toml")
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := config.Load(config.Default(), config.Sources{File: file})
		if err != nil {
			return
		}
		if err := c.Validate(); err != nil {
			t.Fatalf("what was loaded is not valid: %v", err)
		}
		requireReadBack(t, file, c)
	})
}

// draw returns some valid configuration.
func draw(rt *rapid.T) config.Config {
	name := rapid.StringMatching(`[a-z"'\\#= ]{1,10}`)
	size := rapid.Int64Range(int64(resource.MiB), 1<<55)
	c := config.Default()
	c.StateDir = "/state/" + name.Draw(rt, "state")
	c.Pool = "/pool/" + name.Draw(rt, "pool")
	c.Socket = "/run/" + name.Draw(rt, "socket")
	c.CgroupParent = "/cgroup/" + name.Draw(rt, "cgroup")
	c.Group = rapid.SampledFrom([]string{"", "tenon", "a_b-1"}).Draw(rt, "group")
	c.LogLevel = rapid.SampledFrom([]slog.Level{-4, 0, 4, 8}).Draw(rt, "level")
	c.LogFormat = rapid.SampledFrom([]config.LogFormat{config.Text, config.JSON}).Draw(rt, "format")
	c.SoftQuotaInterval = time.Duration(rapid.Int64Range(int64(time.Second), int64(24*time.Hour)).Draw(rt, "pace")) * time.Duration(rapid.IntRange(0, 1).Draw(rt, "paced"))
	c.OnExceed = rapid.SampledFrom([]string{"report", "readonly", "kill"}).Draw(rt, "on exceed")
	c.RequestTimeout = time.Duration(rapid.Int64Range(int64(time.Second), int64(time.Hour)).Draw(rt, "timeout"))
	c.SandboxRoots = nil
	for i := range rapid.IntRange(1, 3).Draw(rt, "roots") {
		c.SandboxRoots = append(c.SandboxRoots, fmt.Sprintf("/root%d/%s", i, name.Draw(rt, "root")))
	}
	c.Groups = rapid.SampledFrom([]owner.Ranges{nil, {{First: 10000, Last: 20000}}, {{First: 1, Last: 1}, {First: 7, Last: 9}}}).Draw(rt, "groups")
	c.Attributes = drawAttributes(rt)
	drawAccess(rt, &c)
	if rapid.Bool().Draw(rt, "served") {
		c.TLSListen = rapid.SampledFrom([]string{"0.0.0.0:5051", "[::1]:0", "host-1.example:65535"}).Draw(rt, "listen")
		c.TLSCert, c.TLSKey, c.TLSClientCA = "/tls/"+name.Draw(rt, "cert"), "/tls/"+name.Draw(rt, "key"), "/tls/"+name.Draw(rt, "authority")
	}
	if rapid.Bool().Draw(rt, "polled") {
		c.PollListen, c.PollTokenFile = "[::]:5052", "/poll/"+name.Draw(rt, "token")
		c.TLSCert, c.TLSKey = "/tls/"+name.Draw(rt, "cert"), "/tls/"+name.Draw(rt, "key")
	}
	drawMasters(rt, &c)
	if rapid.Bool().Draw(rt, "csi") {
		c.CSI = config.CSI{Socket: "/csi/a/" + name.Draw(rt, "csi"), Roots: []string{"/csi/" + name.Draw(rt, "csi root"), "/csi2"},
			Node: rapid.SampledFrom([]string{"", "n", "a.b-c"}).Draw(rt, "node"), NodeExpansion: rapid.Bool().Draw(rt, "expansion"),
			Registration: rapid.SampledFrom([]string{"", "/csi2/reg"}).Draw(rt, "registration")}
	}
	if rapid.Bool().Draw(rt, "disks are resources") {
		c.Resources = drawResources(rt)
		return c
	}
	c.DefaultRole = rapid.SampledFrom([]string{"*", "eng"}).Draw(rt, "default role")
	c.PoolSize = resource.Bytes(size.Draw(rt, "pool size"))
	for i := range rapid.IntRange(0, 3).Draw(rt, "disks") {
		c.Disks = append(c.Disks, config.Disk{
			Path:  fmt.Sprintf("/disk%d/%s", i, name.Draw(rt, "disk")),
			Size:  resource.Bytes(size.Draw(rt, "size")),
			Mount: rapid.Bool().Draw(rt, "mount"),
			Role:  rapid.SampledFrom([]string{"", "*", "eng", "eng/a"}).Draw(rt, "role"),
		})
	}
	return c
}

// drawMasters gives c some masters.
func drawMasters(rt *rapid.T, c *config.Config) {
	file := rapid.SampledFrom([]string{"", "/etc/m/\"a", "/etc/m/b"})
	pause := rapid.SampledFrom([]time.Duration{0, 1, time.Second, 90 * time.Second, time.Hour})
	for i := range rapid.IntRange(0, 3).Draw(rt, "masters") {
		c.Masters = append(c.Masters, config.Master{
			Name: fmt.Sprint("m-", i), URL: rapid.StringMatching(`(http|etcds)://[a-z"'\\#,?%]{1,20}`).Draw(rt, "url"),
			Principal:  rapid.SampledFrom([]string{"", "master", "a \"b"}).Draw(rt, "as"),
			SecretFile: file.Draw(rt, "secret"), CAFile: file.Draw(rt, "ca"),
			Interval: pause.Draw(rt, "interval"), Heartbeat: pause.Draw(rt, "heartbeat"),
		})
		if m := &c.Masters[i]; rapid.Bool().Draw(rt, "certified") {
			m.CertFile, m.KeyFile = "/etc/m/cert", "/etc/m/cert"
		}
	}
}

// drawResources returns resources that may be configured; disks of some sources, several
// of a PATH, and others.
func drawResources(rt *rapid.T) (list []resource.Resource) {
	mounted := map[string]bool{}
	for range rapid.IntRange(0, 8).Draw(rt, "resources") {
		r := resource.Resource{Name: rapid.SampledFrom([]string{"disk", "disk", "disk", "cpus", "weird \"'\\<name>"}).Draw(rt, "name"), Type: resource.TypeScalar}
		r.Scalar = resource.Scalar(rapid.Int64Range(0, int64(resource.MaxScalar)/8).Draw(rt, "amount"))
		if role := rapid.SampledFrom([]string{"", "eng", "eng/web"}).Draw(rt, "role"); role != "" {
			r.Reservations = []resource.Reservation{{Type: resource.Static, Role: role}}
		}
		source := rapid.SampledFrom([]string{"", "/a", "/b\"'", "/m", "/n"}).Draw(rt, "source")
		if r.Name == "disk" && source != "" {
			if mounted[source] {
				continue
			}
			r.Disk = &resource.Disk{Source: sourceAt(source)}
			mounted[source] = r.Disk.Source.Mount != nil
		}
		list = append(list, r)
	}
	return list
}

// sourceAt is a source of type PATH at /a and /b, else of type MOUNT.
func sourceAt(root string) *resource.Source {
	if root == "/a" || root == "/b\"'" {
		return &resource.Source{Type: resource.SourcePath, Path: &resource.Root{Root: &root}}
	}
	return &resource.Source{Type: resource.SourceMount, Mount: &resource.Root{Root: &root}}
}

func drawAttributes(rt *rapid.T) (list []resource.Attribute) {
	name := rapid.StringMatching(`[a-z"'\\# =]{0,5}[a-z]`).Filter(func(s string) bool { return s[0] != ' ' })
	for range rapid.IntRange(0, 3).Draw(rt, "attributes") {
		a := resource.Attribute{Name: name.Draw(rt, "attribute"), Type: resource.TypeText, Text: "a:b'\""}
		switch rapid.IntRange(0, 2).Draw(rt, "type") {
		case 0:
			a.Type, a.Text, a.Scalar = resource.TypeScalar, "", resource.Scalar(rapid.Int64Range(-1<<50, 1<<50).Draw(rt, "number"))
		case 1:
			a.Type, a.Text, a.Ranges = resource.TypeRanges, "", []resource.Range{{Begin: 1, End: 3}, {Begin: 7, End: 1 << 63}}
		}
		list = append(list, a)
	}
	return list
}

// drawAccess sets principals and rules.
func drawAccess(rt *rapid.T, c *config.Config) {
	name := rapid.StringMatching(`[a-z"'\\# =]{1,8}`)
	for range rapid.IntRange(0, 2).Draw(rt, "principals") {
		m := access.Mapping{Name: name.Draw(rt, "principal")}
		id := rapid.IntRange(0, 1<<32-2).Draw(rt, "id")
		m.UID = &id
		if rapid.Bool().Draw(rt, "of a group") {
			m.UID, m.GID = nil, &id
		}
		c.Principals = append(c.Principals, m)
	}
	c.ACLs.Strict = rapid.Bool().Draw(rt, "strict")
	entity := func(value string) access.Entity {
		if kind := rapid.SampledFrom([]access.Type{access.Some, access.Any, access.None}).Draw(rt, "entity"); kind != access.Some {
			return access.Entity{Type: kind}
		}
		return access.Entity{Values: []string{value, "b"}}
	}
	for range rapid.IntRange(0, 4).Draw(rt, "rules") {
		action := rapid.SampledFrom(actions).Draw(rt, "action")
		if c.ACLs.Rules == nil {
			c.ACLs.Rules = map[access.Action][]access.Rule{}
		}
		rule := access.Rule{Principals: entity(name.Draw(rt, "who")), Objects: entity("a")}
		c.ACLs.Rules[action] = append(c.ACLs.Rules[action], rule)
	}
}

// actions are all that rules can be about.
var actions = []access.Action{access.Reserve, access.Unreserve, access.Create, access.Destroy, access.Resize, access.Attach, access.View}
