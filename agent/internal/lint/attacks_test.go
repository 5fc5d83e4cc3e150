package lint

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// attackTests gives every test of the repository as "package.name": functions, and scripts
// of the command line.
func attackTests(t *Tree) (all []string, err error) {
	for _, f := range t.files {
		for _, fn := range functions(f) {
			if f.isTest && fn.Recv == nil && strings.HasPrefix(fn.Name.Name, "Test") {
				all = append(all, f.dir+"."+fn.Name.Name)
			}
		}
	}
	scripts, err := fs.Glob(t.fsys, "cmd/tenon/testdata/*.txtar")
	for _, s := range scripts {
		all = append(all, "cmd/tenon."+path.Base(s))
	}
	return all, err
}

var (
	attackName = regexp.MustCompile(`CVE-\d+-\d+`)
	attackTest = regexp.MustCompile("`([a-z/]+\\.(?:Test\\w+|\\w+\\.txtar))`")
	namedByOne = regexp.MustCompile(`\.(?:TestCVE|cve)_(\d+)_(\d+)`)
)

// checkAttacks holds the table of ARCHITECTURE.md, "Attacks", to the tests: each row names
// tests that there are, and each test that is named by an attack is in the row of that.
func checkAttacks(t *Tree) (wrong []string, err error) {
	text, err := fs.ReadFile(t.fsys, "agent/ARCHITECTURE.md")
	if err != nil {
		return nil, err
	}
	_, section, _ := strings.Cut(string(text), "\n## Attacks\n")
	section, _, _ = strings.Cut(section, "\n## ")
	tests, err := attackTests(t)
	if err != nil {
		return nil, err
	}
	listed := map[string]bool{} // attack and test
	for row := range strings.Lines(section) {
		if !strings.HasPrefix(row, "| CVE-") {
			continue
		}
		names := attackTest.FindAllStringSubmatch(row, -1)
		if len(names) == 0 {
			wrong = append(wrong, "no test in "+row)
		}
		for _, name := range names {
			if !slices.Contains(tests, name[1]) {
				wrong = append(wrong, name[1]+" is no test")
			}
			for _, attack := range attackName.FindAllString(row, -1) {
				listed[attack+" "+name[1]] = true
			}
		}
	}
	for _, test := range tests {
		if m := namedByOne.FindStringSubmatch(test); m != nil && !listed["CVE-"+m[1]+"-"+m[2]+" "+test] {
			wrong = append(wrong, test+" is in no row of its attack")
		}
	}
	return wrong, nil
}

func TestTheTableOfAttacksIsThatOfTheTests(t *testing.T) {
	t.Parallel()
	tree, err := Load(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	wrong, err := checkAttacks(tree)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range wrong {
		t.Error(w)
	}
	if tests, _ := attackTests(tree); !slices.ContainsFunc(tests, namedByOne.MatchString) {
		t.Error("no test is named by an attack")
	}
}

func TestAnAttackWithoutATestIsFound(t *testing.T) {
	t.Parallel()
	tree, err := Load(fstest.MapFS{
		"agent/ARCHITECTURE.md": {Data: []byte("# A\n\n## Attacks\n\n| attack |\n|---|\n| CVE-1-1 | `mount.TestCVE_1_1_Holds` |\n| CVE-1-2 | none |\n" +
			"| CVE-1-3 | `mount.TestGone` |\n| CVE-1-4 | `mount.TestCVE_1_5_Other` |\n\n## Other\n\n| CVE-1-9 | |\n")},
		"mount/a_test.go":                  {Data: []byte("package mount\nfunc TestCVE_1_1_Holds() {}\nfunc TestCVE_1_5_Other() {}\nfunc TestCVE_1_6_New() {}\n")},
		"cmd/tenon/testdata/cve_1_7.txtar": {},
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := checkAttacks(tree)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		fmt.Sprintf("no test in %s\n", "| CVE-1-2 | none |"), "mount.TestGone is no test",
		"mount.TestCVE_1_5_Other is in no row of its attack", "mount.TestCVE_1_6_New is in no row of its attack",
		"cmd/tenon.cve_1_7.txtar is in no row of its attack",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
