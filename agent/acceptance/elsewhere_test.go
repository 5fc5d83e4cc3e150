package acceptance

import (
	"bufio"
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// An outcome is how a test of another package ended.
type outcome string

const (
	passed  outcome = "pass"
	skipped outcome = "skip"
)

// A place is where a test of another package is: "cmd/tenon.TestX/part" taken apart.
type place struct{ pkg, top, test string }

func placeOf(ref string) place {
	pkg, test, _ := strings.Cut(ref, ".")
	top, _, _ := strings.Cut(test, "/")
	return place{pkg, top, test}
}

// elsewheres are the tests that rows name, each once.
func elsewheres() (refs []string) {
	for _, r := range rows() {
		refs = append(refs, r.elsewhere...)
	}
	slices.Sort(refs)
	return slices.Compact(refs)
}

func TestEveryTestThatARowNamesExists(t *testing.T) {
	t.Parallel()
	known := map[string]map[string]bool{}
	for _, ref := range elsewheres() {
		p := placeOf(ref)
		if known[p.pkg] == nil {
			known[p.pkg] = testsIn(t, p.pkg)
		}
		if !known[p.pkg][p.top] {
			t.Errorf("there is no test %s in %s", p.top, p.pkg)
		}
	}
}

// testsIn are the names of a package's test functions.
func testsIn(t *testing.T, pkg string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("../..", pkg, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, path := range files {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Test") {
				found[f.Name.Name] = true
			}
		}
	}
	return found
}

// runElsewhere runs the tests that rows name, and says how each has ended. One that says
// nothing was not run. What the tests of a package that failed have said is logged.
func runElsewhere(t *testing.T) map[string]outcome {
	t.Helper()
	var names, pkgs []string
	for _, ref := range elsewheres() {
		p := placeOf(ref)
		names = append(names, "^"+strings.ReplaceAll(p.test, "/", "$/^")+"$")
		pkgs = append(pkgs, "./"+p.pkg)
	}
	slices.Sort(names)
	slices.Sort(pkgs)
	args := []string{"test", "-json", "-count=1", "-run", strings.Join(slices.Compact(names), "|")}
	cmd := exec.CommandContext(t.Context(), "go", append(args, slices.Compact(pkgs)...)...)
	cmd.Dir = "../.."
	var failures bytes.Buffer
	cmd.Stderr = &failures
	out, err := cmd.Output()
	if len(out) == 0 {
		t.Fatalf("run the tests of other packages: %v\n%s", err, &failures)
	}
	return outcomesOf(t, out)
}

// outcomesOf reads what go test -json says. Where a package has failed although all of its
// tests have passed, as when they left something behind, all of them have failed.
func outcomesOf(t *testing.T, out []byte) map[string]outcome {
	t.Helper()
	said, ended, blamed := map[string]string{}, map[string]outcome{}, map[string]bool{}
	built := "" // what the compiler says
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		var e struct {
			Action, Package, Test, Output, ImportPath string
		}
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatalf("go test says %q: %v", lines.Bytes(), err)
		}
		pkg := strings.TrimPrefix(e.Package, "tenon/")
		ref := strings.TrimSuffix(pkg+"."+e.Test, ".")
		switch e.Action {
		case "output":
			said[ref] += e.Output
		case "build-output":
			built += e.Output
		case "pass", "skip", "fail":
			ended[ref] = outcome(e.Action)
		}
		if e.Action == "fail" && (e.Test != "" || !blamed[pkg]) {
			blamed[pkg] = true
			t.Logf("%s has failed:\n%s", ref, said[ref])
			if e.Test == "" {
				failAll(ended, pkg)
			}
		}
	}
	if built != "" {
		t.Logf("what does not build:\n%s", built)
	}
	return ended
}

// failAll fails every test of a package.
func failAll(ended map[string]outcome, pkg string) {
	for ref := range ended {
		if placeOf(ref).pkg == pkg {
			ended[ref] = "fail"
		}
	}
}

func TestAnOutcomeIsAsGoTestSays(t *testing.T) {
	t.Parallel()
	got := outcomesOf(t, []byte(`{"Action":"output","Package":"tenon/mount","Test":"TestX","Output":"hm\n"}
{"Action":"pass","Package":"tenon/mount","Test":"TestX"}
{"Action":"skip","Package":"tenon/mount","Test":"TestY/part"}
{"Action":"pass","Package":"tenon/mount"}
{"Action":"pass","Package":"tenon/agent","Test":"TestX"}
{"Action":"fail","Package":"tenon/agent","Test":"TestY"}
{"Action":"fail","Package":"tenon/agent"}
{"Action":"pass","Package":"tenon/agent/pool","Test":"TestX"}
{"Action":"fail","Package":"tenon/agent/pool"}
`))
	for ref, want := range map[string]outcome{
		"mount.TestX": passed, "mount.TestY/part": skipped, "mount.TestZ": "",
		"agent.TestX": passed, "agent.TestY": "fail",
		"agent/pool.TestX": "fail", // its package has failed and no test is to blame
	} {
		if got[ref] != want {
			t.Errorf("%s has ended with %q, want %q", ref, got[ref], want)
		}
	}
}
