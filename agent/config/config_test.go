package config_test

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tenon/agent/config"
	"tenon/agent/resource"
)

const gib = 1024 * resource.MiB

// mustWrite writes a configuration file and returns its path.
func mustWrite(t testing.TB, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tenon.toml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// problems splits a joined error into its lines, without the file's directory.
func problems(err error) []string {
	if err == nil {
		return nil
	}
	lines := strings.Split(err.Error(), "\n")
	for i, line := range lines {
		if at := strings.Index(line, "tenon.toml"); at > 0 {
			lines[i] = line[at:]
		}
	}
	return lines
}

func TestTheDefaultsAndTheDevelopersConfigurationAreValid(t *testing.T) {
	t.Parallel()
	if err := config.Default().Validate(); err != nil {
		t.Errorf("Default(): %v", err)
	}
	dir := t.TempDir()
	dev := config.Dev(dir)
	if err := dev.Validate(); err != nil {
		t.Errorf("Dev(): %v", err)
	}
	for _, path := range append([]string{dev.StateDir, dev.Pool, dev.Socket}, dev.SandboxRoots...) {
		if !strings.HasPrefix(path, dir+"/") {
			t.Errorf("Dev(%s) has %s outside", dir, path)
		}
	}
	if got := config.Default().CgroupParent; dev.CgroupParent == got {
		t.Errorf("Dev() shares the cgroup %s with the host's agent", got)
	}
}

func TestEachSourceOverridesTheOnesBeforeIt(t *testing.T) {
	t.Parallel()
	file := mustWrite(t, `
state_dir = "/file/state"
socket = "/file/sock"
group = "file"
pool_size = 2048
sandbox_roots = ["/file/a", "/file/b"]
log_level = "warn"
request_timeout = "5s"
[[disk]]
path = "/mnt/one"
size = "1.5GiB"
[[disk]]
path = "/mnt/two"
`)
	got, err := config.Load(config.Default(), config.Sources{
		File:    file,
		Environ: []string{"TENON_GROUP=env", "TENON_SOCKET=/env/sock", "TENON_POOL_SIZE=3GiB", "TENON_TEST_ROOT=1", "PATH=/bin", "TENONX=1"},
		Flags:   map[string]string{"socket": "/flag/sock", "sandbox_roots": "/flag/a,/flag/b", "log_format": "json"},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := config.Default()
	want.StateDir = "/file/state"
	want.Socket = "/flag/sock"
	want.Group = "env"
	want.PoolSize = 3 * gib
	want.SandboxRoots = []string{"/flag/a", "/flag/b"}
	want.LogLevel = slog.LevelWarn
	want.LogFormat = config.JSON
	want.RequestTimeout = 5 * time.Second
	want.Disks = []config.Disk{{Path: "/mnt/one", Size: 3 * gib / 2}, {Path: "/mnt/two"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Load() (-want +got):\n%s", diff)
	}
}

func TestWithoutSourcesTheBaseIsLoadedAndNotShared(t *testing.T) {
	t.Parallel()
	base := config.Default()
	got, err := config.Load(base, config.Sources{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(base, got); diff != "" {
		t.Errorf("Load() (-want +got):\n%s", diff)
	}
	got.SandboxRoots[0] = "/changed"
	if base.SandboxRoots[0] == "/changed" {
		t.Error("the loaded configuration shares its lists with the base")
	}
}

func TestANumberInTheFileIsASizeInMiBAsInText(t *testing.T) {
	t.Parallel()
	for _, size := range []string{`2048`, `"2048"`, `"2GiB"`} {
		got, err := config.Load(config.Default(), config.Sources{File: mustWrite(t, "pool_size = "+size)})
		if err != nil || got.PoolSize != 2*gib {
			t.Errorf("pool_size = %s is %d, %v, want %d", size, got.PoolSize, err, 2*gib)
		}
	}
}

func TestAMissingFileIsAnErrorUnlessItMayBeMissing(t *testing.T) {
	t.Parallel()
	from := config.Sources{File: filepath.Join(t.TempDir(), "none.toml")}
	if _, err := config.Load(config.Default(), from); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Load() = %v, want fs.ErrNotExist", err)
	}
	from.FileOptional = true
	if _, err := config.Load(config.Default(), from); err != nil {
		t.Errorf("Load() of an optional file = %v, want nil", err)
	}
	from.File = t.TempDir() // exists, but cannot be read
	if _, err := config.Load(config.Default(), from); err == nil {
		t.Error("Load() of an unreadable optional file succeeded")
	}
}

func TestAllProblemsOfAllSourcesAreReportedAtOnce(t *testing.T) {
	t.Parallel()
	file := mustWrite(t, `# line 1
statedir = "/x"
pool = ["/a"]
pool_size = "lots"
log_level = 1.5
[[disk]]
path = "/mnt/one"
sise = "1GiB"
size = "1furlong"
`)
	_, err := config.Load(config.Default(), config.Sources{
		File:    file,
		Environ: []string{"TENON_SOKET=/x", "TENON_socket=/x", "TENON_REQUEST_TIMEOUT=soon"},
		Flags:   map[string]string{"poool": "/x", "log_level": "loud", "log_format": "xml"},
	})
	want := []string{
		"tenon.toml: line 2: unknown key statedir",
		"tenon.toml: line 8: unknown key disk.sise",
		"tenon.toml: log_level: 1.5 is neither a text nor a whole number",
		"tenon.toml: pool: [/a] is not what it takes: a list for sandbox_roots and csi_roots, else a text or a number",
		"tenon.toml: pool_size: ",
		"tenon.toml: disk 1: size: ",
		"environment: unknown variable TENON_SOKET",
		"environment: unknown variable TENON_socket",
		`environment: TENON_REQUEST_TIMEOUT: time: invalid duration "soon"`,
		"command line: unknown setting poool",
		`command line: --log-level: "loud" is none of debug, info, warn, error`,
		`log_format: "xml" is neither text nor json`,
	}
	got := problems(err)
	if len(got) != len(want) {
		t.Fatalf("%d problems, want %d:\n%s", len(got), len(want), strings.Join(got, "\n"))
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("problem %d is %q, want it to begin with %q", i, got[i], want[i])
		}
	}
}

func TestASyntaxErrorSaysWhereItIs(t *testing.T) {
	t.Parallel()
	_, err := config.Load(config.Default(), config.Sources{File: mustWrite(t, "group = \"a\"\npool = \n")})
	if got := problems(err); len(got) == 0 || !strings.HasPrefix(got[0], "tenon.toml: line 2, column ") {
		t.Errorf("Load() = %q, want it to name line 2", got)
	}
}

func TestAnInvalidConfigurationIsRefusedWithTheReason(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*config.Config)
		want   []string
	}{
		"a relative path": {func(c *config.Config) { c.Pool = "pool" },
			[]string{"pool: pool is not an absolute path"}},
		"an unclean path": {func(c *config.Config) { c.Pool = "/a/../b" },
			[]string{"pool: /a/../b is not a clean path: write /b"}},
		"no path": {func(c *config.Config) { c.StateDir = ""; c.Disks = []config.Disk{{}} },
			[]string{"state_dir: a path is needed", "disk 1: path: a path is needed"}},
		"the whole host": {func(c *config.Config) { c.SandboxRoots = []string{"/"} },
			[]string{"sandbox_roots: / is the whole host"}},
		"a comma": {func(c *config.Config) { c.Pool = "/a,b" },
			[]string{`pool: "/a,b" holds a comma or a control character`}},
		"a pool in a sandbox root": {func(c *config.Config) { c.Pool = c.SandboxRoots[0] + "/pool" },
			[]string{"pool: /var/lib/tenon/sandboxes/pool is inside sandbox_roots: /var/lib/tenon/sandboxes"}},
		"a sandbox root in the pool": {func(c *config.Config) { c.SandboxRoots = append(c.SandboxRoots, c.Pool+"/live") },
			[]string{"sandbox_roots: /var/lib/tenon/pool/live is inside pool: /var/lib/tenon/pool"}},
		"the journal in the pool": {func(c *config.Config) { c.StateDir = c.Pool + "/state" },
			[]string{"state_dir: /var/lib/tenon/pool/state is inside pool: /var/lib/tenon/pool"}},
		"the pool in the journal's directory": {func(c *config.Config) { c.Pool = c.StateDir + "/pool" },
			[]string{"pool: /var/lib/tenon/state/pool is inside state_dir: /var/lib/tenon/state"}},
		"equal disks": {func(c *config.Config) { c.Disks = []config.Disk{{Path: "/d"}, {Path: "/d"}} },
			[]string{"disk 1: path and disk 2: path are the same directory /d"}},
		"nested disks": {func(c *config.Config) { c.Disks = []config.Disk{{Path: "/d/e"}, {Path: "/d"}} },
			[]string{"disk 1: path: /d/e is inside disk 2: path: /d"}},
		"a disk in the pool": {func(c *config.Config) { c.Disks = []config.Disk{{Path: c.Pool + "/d"}} },
			[]string{"disk 1: path: /var/lib/tenon/pool/d is inside pool: /var/lib/tenon/pool"}},
		"a socket in a sandbox": {func(c *config.Config) { c.Socket = c.SandboxRoots[0] + "/s" },
			[]string{"socket: /var/lib/tenon/sandboxes/s is inside sandbox_roots: /var/lib/tenon/sandboxes"}},
		"a socket too long for the kernel": {func(c *config.Config) { c.Socket = "/" + strings.Repeat("s", 107) },
			[]string{"socket: /" + strings.Repeat("s", 107) + " has 108 bytes, a socket's path holds 107"}},
		"no sandbox root": {func(c *config.Config) { c.SandboxRoots = nil },
			[]string{"sandbox_roots: at least one is needed"}},
		"sizes below the least": {func(c *config.Config) { c.PoolSize = 100; c.Disks = []config.Disk{{Path: "/d", Size: -1}} },
			[]string{"disk 1: size: -1 bytes are less than a volume's least of 1 MiB", "pool_size: 100 bytes are less than a volume's least of 1 MiB"}},
		"sizes above the largest amount": {func(c *config.Config) {
			c.PoolSize = 1<<62 + 1
			c.Disks = []config.Disk{{Path: "/d", Size: 1<<63 - 1}, {Path: "/e", Size: 1 << 62}}
		},
			[]string{"disk 1: size: 8388607.99 TiB is above 4194304 TiB", "pool_size: 4194304 TiB is above 4194304 TiB"}},
		"a group that cannot be": {func(c *config.Config) { c.Group = "no such:group" },
			[]string{`group: "no such:group" is not a group's name`}},
		"a cgroup beneath the service": {func(c *config.Config) { c.CgroupParent = "/system.slice/tenon.service/tasks" },
			[]string{"cgroup_parent: /system.slice/tenon.service/tasks is beneath the agent's own service, which then cannot be restarted while tasks run"}},
		"a walk that never ends": {func(c *config.Config) { c.SoftQuotaInterval = time.Millisecond },
			[]string{"soft_quota_interval: 1ms is neither 0s nor between 1s and 24h0m0s"}},
		"nothing that may follow": {func(c *config.Config) { c.OnExceed = "weep" },
			[]string{`on_exceed: "weep" is none of [report readonly kill]`}},
		"a timeout that ends every call": {func(c *config.Config) { c.RequestTimeout = time.Millisecond },
			[]string{"request_timeout: 1ms is not between 1s and 1h0m0s"}},
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

func TestWhatLooksLikeNestingButIsNotIsFine(t *testing.T) {
	t.Parallel()
	c := config.Default()
	c.Disks = []config.Disk{{Path: c.Pool + "2", Size: gib}, {Path: "/mnt/disk", Size: resource.MiB}, {Path: "/mnt/disk-2"}}
	c.Group = ""
	c.Socket = c.StateDir + "/tenon.sock"
	if err := c.Validate(); err != nil {
		t.Errorf("Validate() = %v, want nil", err)
	}
}

func TestTheExampleLoadsToTheDefaults(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := config.Write(&b, config.Default()); err != nil {
		t.Fatal(err)
	}
	base := config.Config{} // so that every value must come from the file
	got, err := config.Load(base, config.Sources{File: mustWrite(t, b.String())})
	if err != nil {
		t.Fatalf("%v\n%s", err, b.String())
	}
	if diff := cmp.Diff(config.Default(), got); diff != "" {
		t.Errorf("the example loads to (-default +got):\n%s", diff)
	}
	for line := range strings.Lines(b.String()) {
		if len(line) > 90 {
			t.Errorf("line too long to read: %s", line)
		}
	}
}

func TestAWriterThatFailsIsAnError(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err := errors.Join(err, r.Close(), w.Close()); err != nil {
		t.Fatal(err)
	}
	if err := config.Write(w, config.Default()); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Write() = %v, want os.ErrClosed", err)
	}
}

func TestEverySettingCanBeGivenItsDefaultAsAFlag(t *testing.T) {
	t.Parallel()
	flags := map[string]string{}
	for _, s := range config.Settings() {
		flags[s.Name] = s.Default
		if s.Flag != strings.ReplaceAll(s.Name, "_", "-") || s.Doc == "" {
			t.Errorf("setting %s has flag %q and doc %q", s.Name, s.Flag, s.Doc)
		}
	}
	got, err := config.Load(config.Config{}, config.Sources{Flags: flags})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(config.Default(), got); diff != "" {
		t.Errorf("loads to (-default +got):\n%s", diff)
	}
}

func TestARangeOfGroupsThatCannotBeIsRefused(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		"foo": "not of the form", "10000": "not of the form", "[10000-1099511627776]": "out of range",
		"[10000-5000]": "ends before it begins", "[]": "not of the form", "[0-5]": "group 0 is root's", "[1-5,5-9]": "is in two ranges",
	} {
		_, err := config.Load(config.Default(), config.Sources{Environ: []string{"TENON_VOLUME_GID_RANGE=" + value}})
		if err == nil || !strings.Contains(err.Error(), "VOLUME_GID_RANGE") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want an error with %q", value, err, want)
		}
	}
	for value, want := range map[string]uint64{"": 0, "[1-5,10-20]": 16} {
		c, err := config.Load(config.Default(), config.Sources{Environ: []string{"TENON_VOLUME_GID_RANGE=" + value}})
		if err != nil || c.Groups.Len() != want {
			t.Errorf("%q: %d groups, %v; want %d", value, c.Groups.Len(), err, want)
		}
	}
}
