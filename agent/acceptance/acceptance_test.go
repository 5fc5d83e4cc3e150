package acceptance

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"text/tabwriter"
)

// whole asks for the tests of other packages too, and for the table.
var whole = flag.Bool("whole", false, "run also what other packages show, and print the table")

// A result is what became of a case.
type result string

const (
	resultPassed result = "passed"
	resultBetter result = "better"
	resultFailed result = "FAILED"
	resultNotRun result = "not run" // its test elsewhere was not asked for, or skipped itself
)

func TestAcceptance(t *testing.T) {
	var ended map[string]outcome
	if *whole {
		ended = runElsewhere(t)
	}
	results := map[string]result{}
	for _, r := range rows() {
		results[r.id] = r.result(r.who != byAgent || r.run(t), ended)
	}
	if *whole {
		show(t, results)
	}
}

// result joins the outcome of a row's own checks with those of its tests elsewhere.
func (r row) result(ok bool, ended map[string]outcome) result {
	if r.who != byAgent {
		return result(r.who)
	}
	if !ok {
		return resultFailed
	}
	for _, ref := range r.elsewhere {
		switch ended[ref] {
		case passed:
		case skipped:
			return resultNotRun
		case "":
			if ended == nil {
				return resultNotRun
			}
			return resultFailed
		default:
			return resultFailed
		}
	}
	if r.better != "" {
		return resultBetter
	}
	return resultPassed
}

// show prints the table, with its counts, and fails the test for what has failed.
func show(t *testing.T, results map[string]result) {
	t.Helper()
	byID, counts := map[string]row{}, map[result]int{}
	for _, r := range rows() {
		byID[r.id] = r
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	for _, c := range cases(t) {
		got, r := results[c.id], byID[c.id]
		counts[got]++
		fmt.Fprintf(w, "%s\t%s\t%s\n", c.id, got, c.name()+remark(r))
		if got == resultFailed {
			t.Errorf("%s has failed", c.id)
		}
	}
	fmt.Fprintln(w)
	for _, k := range []result{resultPassed, resultBetter, result(byMaster), result(notBuilt), resultNotRun, resultFailed} {
		fmt.Fprintf(w, "%s\t%d\n", k, counts[k])
	}
	if err := w.Flush(); err != nil {
		t.Error(err)
	}
}

// name is what a case asks, behind the first of Mesos' tests that do.
func (c kase) name() string {
	first, _, more := strings.Cut(c.upstream, ", ")
	switch {
	case first == "-":
		return c.asks
	case more:
		first += ", …"
	}
	return first + ": " + c.asks
}

// remark is Tenon's own rule, or the reason that nothing shows a case.
func remark(r row) string {
	if r.better != "" {
		return " — here: " + r.better
	}
	if r.why != "" {
		return " — " + r.why
	}
	return ""
}

func TestACaseHasPassedOnlyWhenAllThatShowsItHas(t *testing.T) {
	t.Parallel()
	two := row{elsewhere: []string{"a.TestX", "b.TestY"}}
	for _, c := range []struct {
		what  string
		row   row
		ok    bool
		ended map[string]outcome
		want  result
	}{
		{"a check that fails", row{}, false, nil, resultFailed},
		{"a check that passes", row{}, true, nil, resultPassed},
		{"a rule of Tenon's own", row{better: "so"}, true, nil, resultBetter},
		{"tests elsewhere that pass", two, true, map[string]outcome{"a.TestX": passed, "b.TestY": passed}, resultPassed},
		{"tests elsewhere that nobody ran", two, true, nil, resultNotRun},
		{"a test elsewhere that said nothing", two, true, map[string]outcome{"a.TestX": passed}, resultFailed},
		{"a test elsewhere that fails", two, true, map[string]outcome{"a.TestX": passed, "b.TestY": "fail"}, resultFailed},
		{"a test elsewhere that skips itself", two, true, map[string]outcome{"a.TestX": passed, "b.TestY": skipped}, resultNotRun},
		{"what is a master's", row{who: byMaster}, true, nil, "master-only"},
	} {
		if got := c.row.result(c.ok, c.ended); got != c.want {
			t.Errorf("%s: %s, want %s", c.what, got, c.want)
		}
	}
}
