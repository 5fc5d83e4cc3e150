package lint

import (
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// root is the repository, seen from this package.
const root = "../../.."

func TestTheHouseRulesHold(t *testing.T) {
	t.Parallel()
	mod, err := os.ReadFile(root + "/go.mod")
	if err != nil || !strings.HasPrefix(string(mod), "module "+Module+"\n") {
		t.Fatalf("%s is not the repository: %v", root, err)
	}
	tree, err := Load(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	for _, rule := range Rules() {
		t.Run(rule.Name, func(t *testing.T) {
			t.Parallel()
			found := rule.Check(tree)
			for _, f := range found {
				t.Errorf("%s: %s", f.Where, f.What)
			}
			if found != nil {
				t.Errorf("\n  rule: %s\n  why:  %s\n  mend: %s", rule.Name, rule.Reason, rule.Mend)
			}
		})
	}
}

// TestExceptionsAreStillNeeded keeps the tables of this package short.
func TestExceptionsAreStillNeeded(t *testing.T) {
	t.Parallel()
	tree, err := Load(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	for name := range longFiles {
		if i := slices.IndexFunc(tree.files, func(f *file) bool { return f.path == name }); i < 0 || tree.files[i].lines <= maxFileLines {
			t.Errorf("longFiles: %s is not longer than %d lines", name, maxFileLines)
		}
	}
	long := map[string]bool{}
	for _, f := range tree.files {
		for _, fn := range functions(f) {
			long[f.path+":"+fn.Name.Name] = tree.functionLines(fn) > maxFunctionLines
		}
	}
	for name := range longFunctions {
		if !long[name] {
			t.Errorf("longFunctions: %s is not longer than %d lines", name, maxFunctionLines)
		}
	}
	for name, reason := range skippers {
		if _, err := fs.Stat(tree.fsys, name); err != nil || reason == "" {
			t.Errorf("skippers: %s, reason %q: %v", name, reason, err)
		}
	}
}

func TestLogKeysAreSortedAndOnce(t *testing.T) {
	t.Parallel()
	want := slices.Compact(slices.Sorted(slices.Values(logKeys)))
	if diff := cmp.Diff(want, logKeys); diff != "" {
		t.Errorf("logKeys (-want +got):\n%s", diff)
	}
}

// lines is so many lines of code.
func lines(n int, line string) string { return strings.Repeat(line+"\n", n) }

// offences are small repositories with what each rule finds there, as "where: what".
// A rule that finds nothing here would be a rule that cannot fail.
var offences = map[string]struct {
	files map[string]string
	want  []string
}{
	"the top level stays as it is": {
		map[string]string{"util/x.go": "package x", "notes.txt": "", ".gitignore": "/bin/\n*.out\n", "bin/tenon": "", "a.out": "", "go.mod": ""},
		[]string{"notes.txt: is not one of the names at the top", "util: is not one of the names at the top"},
	},
	"imports point down": {
		map[string]string{
			"mount/a.go":              "package mount\nimport \"tenon/agent/volume\"",
			"mount/a_test.go":         "package mount\nimport (\n\"tenon/mount/mounttest\"\n\"tenon/agent/agenttest\"\n)",
			"agent/volume/a.go":       "package volume\nimport (\n\"tenon/agent/resource\"\n\"tenon/agent\"\n)",
			"agent/resource/a.go":     "package resource\nimport \"tenon/agent/volume\"",
			"agent/host/a.go":         "package host\nimport (\n\"tenon/mount\"\n\"tenon/isolator/quota\"\n\"tenon/agent/api\"\n)",
			"agent/master/etcd/a.go":  "package etcd\nimport (\n\"tenon/agent/master\"\n\"tenon/agent/master/webhook\"\n)",
			"cmd/tenon/a.go":          "package main\nimport (\n\"tenon/agent/api\"\n\"tenon/agent/agenttest\"\n)",
			"agent/api/a_test.go":     "package api_test\nimport \"tenon/agent/client\"",
			"agent/util/a.go":         "package util",
			"isolator/quota/a.go":     "package quota\nimport (\n\"tenon/mount\"\n\"tenon/checkpoint\"\n)",
			"mount/internal/sys/a.go": "package sys\nimport \"tenon/mount\"",
		},
		[]string{
			"agent/host/a.go:5: agent/host imports agent/api; it may import agent, agent/check, agent/volume, agent/resource, agent/pool, isolator/..., mount",
			"agent/master/etcd/a.go:4: agent/master/etcd imports agent/master/webhook; it may import agent, agent/access, agent/volume, agent/resource, agent/wire, agent/master",
			"agent/resource/a.go:2: agent/resource imports agent/volume; it may import nothing of this repository",
			"agent/util/a.go:1: package agent/util is not in the table directions",
			"agent/volume/a.go:4: agent/volume imports agent; it may import agent/resource",
			"cmd/tenon/a.go:4: cmd/tenon imports agent/agenttest; it may import " + orNothing(directions[len(directions)-1].may),
			"isolator/quota/a.go:4: isolator/quota imports checkpoint; it may import mount, isolator/...",
			"mount/a.go:2: mount imports agent/volume; it may import mount/internal/...",
			"mount/a_test.go:4: a test of mount imports agent/agenttest: mount must be testable alone",
			"mount/internal/sys/a.go:2: mount/internal/sys imports mount; it may import nothing of this repository",
		},
	},
	"some packages may be imported in few places only": {
		map[string]string{
			"agent/a.go":                   "package agent\nimport \"golang.org/x/sys/unix\"",
			"agent/a_test.go":              "package agent\nimport (\n\"golang.org/x/sys/unix\"\n\"os/exec\"\n)",
			"agent/b_test.go":              "package agent\nimport \"C\"",
			"agent/c_test.go":              "package agent\nimport \"log\"",
			"isolator/quota/a.go":          "package quota\nimport (\n\"golang.org/x/sys/unix\"\n\"os/exec\"\n)",
			"cmd/tenon/run_linux.go":       "package main\nimport \"os/exec\"",
			"cmd/tenon/status.go":          "package main\nimport (\n\"os/exec\"\n\"tenon/checkpoint\"\n)",
			"cmd/tenon/checkpoint_show.go": "package main\nimport \"tenon/checkpoint\"",
			"agent/journal.go":             "package agent\nimport \"tenon/checkpoint\"",
		},
		[]string{
			"agent/a.go:2: imports golang.org/x/sys/unix", "agent/b_test.go:2: imports C", "agent/c_test.go:2: imports log",
			"cmd/tenon/status.go:3: imports os/exec", "cmd/tenon/status.go:4: imports tenon/checkpoint",
			"isolator/quota/a.go:4: imports os/exec",
		},
	},
	"only commands print": {
		map[string]string{
			"agent/a.go":      "package agent\nfunc f() {\nfmt.Printf(\"\")\nprintln()\nslog.Default()\nfmt.Sprintf(\"\")\nfmt.Fprintln(nil)\n}",
			"agent/a_test.go": "package agent\nfunc g() { fmt.Println() }",
			"agent/b/a.go":    "package b\nfunc f(print func()) { print() }",
			"cmd/tenon/a.go":  "package main\nfunc f() { fmt.Println(); slog.SetDefault(nil) }",
		},
		[]string{"agent/a.go:3: fmt.Printf", "agent/a.go:4: println", "agent/a.go:5: slog.Default: the logger is handed in"},
	},
	"a test never sleeps": {
		map[string]string{
			"agent/a_test.go": "package agent\nfunc f() {\ntime.Sleep(1)\n}",
			"agent/b_test.go": "package agent\nimport \"testing/synctest\"\nfunc f() { time.Sleep(1) }",
			"agent/a.go":      "package agent\nfunc g() { time.Sleep(1) }",
		},
		[]string{"agent/a_test.go:3: time.Sleep"},
	},
	"only a Require helper skips a test": {
		map[string]string{
			"agent/a_test.go":         "package agent\nimport \"testing\"\nfunc f() {\nt.Skip()\ntb.Skipf(\"\")\nt.SkipNow()\n}",
			"agent/agenttest/a.go":    "package agenttest\nimport \"testing\"\nfunc f() { t.Skip() }",
			"mount/mounttest/root.go": "package mounttest\nimport \"testing\"\nfunc f() { t.Skip() }",
			"agent/a.go":              "package agent\nfunc g() { scanner.Skip() }",
		},
		[]string{"agent/a_test.go:4: t.Skip", "agent/a_test.go:5: tb.Skipf", "agent/a_test.go:6: t.SkipNow", "agent/agenttest/a.go:3: t.Skip"},
	},
	"a file has at most 400 lines, tests aside": {
		map[string]string{"agent/a.go": "package agent\n" + lines(400, "//"), "agent/b.go": "package agent\n" + lines(399, "//"),
			"agent/a_test.go": "package agent\n" + lines(500, "//")},
		[]string{"agent/a.go: 401 lines"},
	},
	"a function has at most 60 lines, tables not counted": {
		map[string]string{
			"agent/a.go": "package agent\nfunc long() {\n" + lines(59, "g()") + "}\nfunc short() {\n" + lines(58, "g()") + "}\n" +
				"func table() {\n_ = []int{\n" + lines(100, "1,") + "}\n}\n",
			"agent/a_test.go": "package agent\n\nfunc TestLong() {\n" + lines(70, "g()") + "}\n",
		},
		[]string{"agent/a.go:2: long has 61 lines", "agent/a_test.go:3: TestLong has 72 lines"},
	},
	"nothing is left for later in a comment": {
		map[string]string{"agent/a.go": "package agent\n// TODO: more\nconst x = \"TODO\" /* FIXME */\n// methodology, TODOS\n"},
		[]string{"agent/a.go:2: TODO", "agent/a.go:3: FIXME"},
	},
	"a package has one package comment": {
		map[string]string{
			"agent/a.go": "package agent", "agent/a_test.go": "// Package agent_test is not it.\npackage agent_test",
			"mount/a.go": "// Package mount is.\npackage mount", "mount/b.go": "// Package mount is too.\npackage mount",
			"cmd/tenon/a.go": "// Command tenon is.\npackage main", "cmd/tenon/b.go": "package main",
			"cmd/x/a.go":                "// Package main is not the way.\npackage main",
			"systemd/a.go":              "// Systemd is.\npackage systemd",
			"agent/internal/x/a.go":     "// Package x is.\npackage x",
			"testdata/vm/vdisk/main.go": "package main",
		},
		[]string{
			"agent: no package comment", "cmd/x: no package comment",
			"mount/b.go: a second package comment; the first is in mount/a.go", "systemd: no package comment",
		},
	},
	"what is exported is documented": {
		map[string]string{
			"agent/a.go": `package agent
func F() {}
// G does.
func G() {}
func (t *T) M() {}
func (t *T[K]) N() {}
func (u u) O() {}
type T struct{}
// I is.
type I interface {
	A()
	B() // does
	// C does.
	C()
	other
}
const X = 1
// These are.
const (
	Y = 1
	Z = 2
)
var (
	V = 1
	W = 2 // is
	x = 3
)
`,
			"agent/a_test.go": "package agent\nfunc H() {}", "cmd/tenon/a.go": "package main\nfunc H() {}",
		},
		[]string{
			"agent/a.go:2: F has no comment", "agent/a.go:5: M has no comment", "agent/a.go:6: N has no comment",
			"agent/a.go:8: T has no comment", "agent/a.go:11: I.A has no comment", "agent/a.go:17: X has no comment",
			"agent/a.go:24: V has no comment",
		},
	},
	"a log line has known keys": {
		map[string]string{
			"agent/a.go": `package agent
import "log/slog"
func f() {
	log.Info("volume published", "volume", v, "vol", w)
	log.InfoContext(ctx, "x", slog.String("size", v), "task", t, "tasks", t)
	log.With("volume", v, "pth", w).Warn("Shouting", "path", "not a key")
	log.LogAttrs(ctx, l, "x", slog.Any("err", err), slog.Group("grp"))
	log.Debug("x", keyVolume, v, "project", 1)
	http.Error(w, "x", "y", "z")
	err.Error()
}`,
			"agent/b.go": "package agent\nfunc f() { x.Info(\"a\", \"nokey\", 1) }",
		},
		[]string{
			`agent/a.go:4: log key "vol"`, `agent/a.go:5: log key "size"`, `agent/a.go:5: log key "tasks"`,
			`agent/a.go:6: log key "pth"`, `agent/a.go:6: message "Shouting" begins in upper case`, `agent/a.go:7: log key "grp"`,
		},
	},
}

func TestEachRuleFindsItsOffences(t *testing.T) {
	t.Parallel()
	for _, rule := range Rules() {
		t.Run(rule.Name, func(t *testing.T) {
			t.Parallel()
			if rule.Reason == "" || rule.Mend == "" {
				t.Error("the rule has no reason or says not how to mend")
			}
			offence, ok := offences[rule.Name]
			if !ok {
				t.Fatal("no offence against this rule is tried")
			}
			var got []string
			for _, f := range rule.Check(mustLoad(t, offence.files)) {
				got = append(got, f.Where+": "+f.What)
			}
			slices.Sort(got)
			slices.Sort(offence.want)
			if rule.Name == "some packages may be imported in few places only" {
				got = withoutReasons(got)
			}
			if diff := cmp.Diff(offence.want, got); diff != "" {
				t.Errorf("found (-want +got):\n%s", diff)
			}
		})
	}
}

// withoutReasons cuts what follows the second colon and space.
func withoutReasons(list []string) (short []string) {
	for _, s := range list {
		parts := strings.SplitN(s, ": ", 3)
		short = append(short, strings.Join(parts[:2], ": "))
	}
	return short
}

func mustLoad(t testing.TB, files map[string]string) *Tree {
	t.Helper()
	fsys := fstest.MapFS{}
	for name, source := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(source)}
	}
	tree, err := Load(fsys)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func TestAFileThatDoesNotParseIsAnErrorThatNamesIt(t *testing.T) {
	t.Parallel()
	_, err := Load(fstest.MapFS{"agent/a.go": {Data: []byte("package")}})
	if err == nil || !strings.Contains(fmt.Sprint(err), "agent/a.go:1") {
		t.Errorf("Load() = %v, want an error with agent/a.go:1", err)
	}
}

func TestWhatTheGoCommandPassesOverIsPassedOver(t *testing.T) {
	t.Parallel()
	tree := mustLoad(t, map[string]string{
		"testdata/a.go": "no go", "agent/testdata/a.go": "no go", ".git/a.go": "no go", "_old/a.go": "no go", "agent/a.go": "package agent",
	})
	if len(tree.files) != 1 || tree.files[0].path != "agent/a.go" {
		t.Errorf("loaded %d files, want agent/a.go alone", len(tree.files))
	}
}
