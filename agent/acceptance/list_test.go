package acceptance

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// A kase is one line of the acceptance list.
type kase struct {
	id       string
	disks    bool   // asks for the root disk, a PATH disk and a MOUNT disk
	upstream string // names of Mesos' tests; "-" is none
	asks     string
}

// chapters says how many cases each chapter of spec.md 12 has.
var chapters = []struct {
	name  string
	cases int
}{
	{"PV", 29}, {"EP", 21}, {"RS", 25}, {"RA", 34}, {"VA", 20}, {"AL", 9}, {"MT", 25}, {"PA", 4},
	{"GI", 6}, {"QU", 16}, {"RE", 15}, {"OP", 13}, {"AU", 5}, {"RG", 8}, {"NEW", 16},
}

// cases reads the acceptance list.
func cases(t *testing.T) (all []kase) {
	t.Helper()
	text, err := os.ReadFile("../../testdata/mesos/acceptance/cases.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		part := strings.Split(line, " | ")
		if len(part) != 3 {
			t.Fatalf("not a case: %q", line)
		}
		id, disks := strings.CutSuffix(part[0], " x3")
		all = append(all, kase{id, disks, part[1], part[2]})
	}
	return all
}

func TestTheListHasEveryCaseOfTheSpecificationOnce(t *testing.T) {
	t.Parallel()
	var want, got []string
	for _, c := range chapters {
		for n := range c.cases {
			want = append(want, fmt.Sprintf("%s-%02d", c.name, n+1))
		}
	}
	for _, c := range cases(t) {
		got = append(got, c.id)
	}
	if !slices.Equal(got, want) {
		t.Errorf("the cases are\n%v\nwant\n%v", got, want)
	}
}

func TestEveryCaseHasOneRowAndEveryRowACase(t *testing.T) {
	t.Parallel()
	unshown := map[string]kase{}
	for _, c := range cases(t) {
		unshown[c.id] = c
	}
	for _, r := range rows() {
		c, ok := unshown[r.id]
		if !ok {
			t.Errorf("row %s has no case, or is there twice", r.id)
			continue
		}
		delete(unshown, r.id)
		if fault := r.fault(c); fault != "" {
			t.Errorf("row %s: %s", r.id, fault)
		}
	}
	for id := range unshown {
		t.Errorf("case %s has no row", id)
	}
}
