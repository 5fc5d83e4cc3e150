package main

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestTablesAlignNumbersToTheRightAndEndWithoutSpaces(t *testing.T) {
	t.Parallel()
	p := &page{}
	p.table([]column{{"name", false}, {"size", true}, {"age", true}, {"state", false}}, [][]string{
		{"a", "1 GiB", "3m", "ready"}, {"long/name", "1023.5 MiB", "12d", ""},
	})
	want := `NAME              SIZE   AGE   STATE
a                1 GiB    3m   ready
long/name   1023.5 MiB   12d
`
	if p.String() != want {
		t.Errorf("got\n%s\nwant\n%s", p.String(), want)
	}
}

func TestColoursDoNotMoveColumns(t *testing.T) {
	t.Parallel()
	plain, colored := &page{}, &page{color: true}
	for _, p := range []*page{plain, colored} {
		p.table([]column{{"state", false}, {"size", true}}, [][]string{{p.state("ready"), "1 B"}, {p.state("unavailable"), "20 B"}})
		p.fields([]field{{"a", p.paint(bold, "x")}, {"none", ""}, {"long", "y"}})
	}
	if got := strip(colored.String()); got != plain.String() || colored.String() == plain.String() {
		t.Errorf("with colours\n%s\nwithout\n%s", got, plain.String())
	}
	if strings.Contains(plain.String(), "none") {
		t.Errorf("a field without a value is shown:\n%s", plain.String())
	}
}

// strip takes colours away.
func strip(text string) string {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(text, "\x1b[")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		_, text, _ = strings.Cut(rest, "m")
	}
}

func TestAgesHaveOneUnit(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for d, want := range map[time.Duration]string{
		-time.Hour: "0s", 0: "0s", 999 * time.Millisecond: "0s", time.Second: "1s", 59*time.Second + 999*time.Millisecond: "59s",
		time.Minute: "1m", 59*time.Minute + 59*time.Second: "59m", time.Hour: "1h", 47 * time.Hour: "47h",
		2 * day: "2d", 400 * day: "400d",
	} {
		if got := age(d); got != want {
			t.Errorf("age(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestNamesThatWouldDisturbATerminalAreQuoted(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"web/data": "web/data", "with space": "with space", "größe": "größe", "": "",
		"a\x1b[31mb": `"a\x1b[31mb"`, "two\nlines": `"two\nlines"`, "tab\t": `"tab\t"`, "\xff": "\"\\xff\"", "\u202e": `"\u202e"`,
	} {
		if got := clean(in); got != want {
			t.Errorf("clean(%q) = %s, want %s", in, got, want)
		}
	}
}

func TestNounsGoWithTheirNumbers(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]string{0: "0 tasks", 1: "1 task", 2: "2 tasks"} {
		if got := count(n, "task", "tasks"); got != want {
			t.Errorf("count(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestProgressIsToldAfterASecondAndTakenAway(t *testing.T) {
	t.Parallel()
	for took, want := range map[time.Duration]string{
		900 * time.Millisecond:  "",
		2500 * time.Millisecond: "\r\x1b[Kwaiting (1s)\r\x1b[Kwaiting (2s)\r\x1b[K",
	} {
		synctest.Test(t, func(t *testing.T) {
			var b strings.Builder
			end, done := make(chan struct{}), make(chan struct{})
			go func() { tick(&b, "waiting", end); close(done) }()
			time.Sleep(took)
			close(end)
			<-done
			if b.String() != want {
				t.Errorf("after %v: %q, want %q", took, b.String(), want)
			}
		})
	}
}

func TestNothingIsATerminalButATerminal(t *testing.T) {
	t.Parallel()
	if isTerminal(&strings.Builder{}) || wantsColor(&strings.Builder{}) {
		t.Error("a buffer counts as a terminal")
	}
}
