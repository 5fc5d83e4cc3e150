package lint

import (
	"slices"
	"strings"
)

// directions says what of this repository each package may import. The first
// pattern that covers a package decides; a package that none covers may not exist.
// Tests may import more: see checkDirections.
var directions = []struct {
	packages string
	may      []string
}{
	{"mount/internal/sys", nil},
	{"mount/mounttest", []string{"mount", "mount/internal/..."}},
	{"mount/...", []string{"mount/internal/..."}},
	{"isolator/...", []string{"mount", "isolator/..."}},
	{"checkpoint/...", []string{"checkpoint/..."}},
	{"systemd", nil},

	{"agent/resource", nil},
	{"agent/volume", []string{"agent/resource"}},
	{"agent/access", []string{"agent/resource", "agent/volume"}},
	{"agent/wire", []string{"agent/resource", "agent/volume"}},
	{"agent/config", []string{"agent/access", "agent/resource", "isolator/owner", "isolator/quota"}},
	{"agent/pool", []string{"agent/resource", "mount"}},
	{"agent/internal/...", nil},
	{"agent/acceptance", nil},
	{"agent", []string{"agent/volume", "agent/resource", "checkpoint", "isolator/lease"}},
	{"agent/check", []string{"agent/volume"}},
	{"agent/host", []string{"agent", "agent/check", "agent/volume", "agent/resource", "agent/pool", "isolator/...", "mount"}},
	{"agent/agenttest/crash", []string{"agent/client", "agent/host", "agent/resource", "agent/volume", "agent/wire", "checkpoint", "mount/mounttest"}},
	{"agent/agenttest", []string{"agent", "agent/volume", "agent/resource", "checkpoint/..."}},
	{"agent/api", []string{"agent", "agent/access", "agent/volume", "agent/resource", "agent/wire"}},
	{"agent/client", []string{"agent/wire", "agent/resource", "agent/volume"}},
	{"agent/metrics", []string{"agent", "agent/volume", "agent/resource", "agent/wire"}},
	{"agent/csi", []string{"agent", "agent/volume", "agent/resource"}},
	{"agent/master/mastertest", []string{"agent", "agent/agenttest", "agent/volume", "agent/resource", "agent/wire", "agent/master", "mount/mounttest"}},
	{"agent/master/...", []string{"agent", "agent/access", "agent/volume", "agent/resource", "agent/wire", "agent/master"}},

	{"cmd/tenon", []string{"agent", "agent/access", "agent/check", "agent/resource", "agent/volume", "agent/host", "agent/config", "agent/wire",
		"agent/api", "agent/client", "agent/csi", "agent/master/...", "agent/metrics", "agent/pool",
		"mount", "isolator/...", "systemd", "checkpoint"}},
}

// standAlone are the packages that know nothing of the agent, in tests neither.
var standAlone = []string{"mount/...", "isolator/...", "checkpoint/...", "systemd"}

// checkDirections holds the imports to the table. A test may import anything, as it
// may need helpers from above; but a package that stands alone must be testable alone.
func checkDirections(t *Tree) (found []Finding) {
	for _, f := range t.files {
		may, listed := mayImport(f.dir)
		if !listed {
			found = append(found, t.at(f.syntax.Package, "package %s is not in the table directions", f.dir))
			continue
		}
		for _, spec := range f.syntax.Imports {
			target, ours := strings.CutPrefix(imported(spec), Module+"/")
			switch {
			case !ours || target == f.dir:
			case f.isTest && coversAny(standAlone, f.dir) && covers("agent/...", target):
				found = append(found, t.at(spec.Pos(), "a test of %s imports %s: %s must be testable alone", f.dir, target, f.dir))
			case !f.isTest && !coversAny(may, target):
				found = append(found, t.at(spec.Pos(), "%s imports %s; it may import %s", f.dir, target, orNothing(may)))
			}
		}
	}
	return found
}

// mayImport returns what a package may import of this repository.
func mayImport(dir string) (may []string, listed bool) {
	for _, d := range directions {
		if covers(d.packages, dir) {
			return d.may, true
		}
	}
	return nil, false
}

func coversAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return covers(p, name) })
}

func orNothing(list []string) string {
	if len(list) == 0 {
		return "nothing of this repository"
	}
	return strings.Join(list, ", ")
}

// restricted are packages that only few places may import.
var restricted = []struct {
	imports string
	reason  string
	within  string            // where the restriction holds; "" is everywhere
	allowed map[string]string // directory or file → its reason
	tests   bool              // tests may import it anywhere
}{
	{
		imports: "golang.org/x/sys/unix",
		reason:  "system calls sit behind small functions that can be read and tested alone",
		allowed: map[string]string{
			"mount":              "constants and types that its own functions take",
			"mount/internal/sys": "this is where they are made",
			"mount/mounttest":    "private namespaces and loop devices of tests",
			"isolator/...":       "quotactl, xattr ioctls and pidfds",
			"agent/pool":         "renames, syncs and flags of the directory tree",
			"agent/host":         "turns errnos into the kinds that the plan knows",
			"agent/api":          "peer credentials, descriptor passing",
			"agent/client":       "descriptor passing",
			"checkpoint/...":     "preallocation, fdatasync and the lock",
			"systemd":            "ownership of passed sockets",
			"cmd/tenon":          "signals, and the namespaces of tenon run",
		},
		tests: true,
	},
	{
		imports: "os/exec",
		reason:  "a program that is started needs a path, an environment and an owner; the kernel is asked directly",
		allowed: map[string]string{
			"cmd/tenon/run*.go": "tenon run starts the user's program",
			"mount/mounttest":   "tests only: mkfs for their images, their own binary in another namespace",

			"agent/agenttest/crash":   "tests only: the agent under test",
			"agent/master/mastertest": "tests only: etcd itself",
		},
		tests: true,
	},
	{
		imports: Module + "/checkpoint",
		reason:  "commands speak to the agent through its API; only offline inspection reads the journal",
		within:  "cmd/...",
		allowed: map[string]string{
			"cmd/tenon/check.go":       "compares the journal of an agent that may not run",
			"cmd/tenon/serve.go":       "opens the journal of the agent that it starts",
			"cmd/tenon/checkpoint*.go": "show and verify of a journal that no agent holds",
		},
		tests: true,
	},
	{
		imports: "log",
		reason:  "log lines have levels and keys",
		allowed: nil,
	},
	{
		imports: "C",
		reason:  "the binary is static and builds without a C compiler",
		allowed: nil,
	},
}

// checkRestricted holds the imports to the table restricted.
func checkRestricted(t *Tree) (found []Finding) {
	for _, f := range t.files {
		for _, spec := range f.syntax.Imports {
			for _, r := range restricted {
				if r.imports != imported(spec) || f.isTest && r.tests || r.within != "" && !covers(r.within, f.dir) {
					continue
				}
				if !allowed(r.allowed, f) {
					found = append(found, t.at(spec.Pos(), "imports %s: %s", r.imports, r.reason))
				}
			}
		}
	}
	return found
}

// allowed says whether a table has the file or its directory.
func allowed(table map[string]string, f *file) bool {
	for pattern := range table {
		if covers(pattern, f.dir) || covers(pattern, f.path) {
			return true
		}
	}
	return false
}
