package access

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"tenon/agent/resource"
	"tenon/agent/volume"
)

// mustOpen opens an audit file, and closes it when the test ends.
func mustOpen(t testing.TB, path string) *Audit {
	t.Helper()
	a, err := OpenAudit(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	return a
}

func mustWrite(t testing.TB, a *Audit, reason string) {
	t.Helper()
	if err := a.Write(Entry{Outcome: "ok", Reason: reason}); err != nil {
		t.Fatal(err)
	}
}

// reasons reads a file and gives the reason of each line, or the line itself where it is
// no entry.
func reasons(t testing.TB, path string) []string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for line := range strings.Lines(string(data)) {
		var e Entry
		if err := json.Unmarshal([]byte(line), &e); err != nil || !strings.HasSuffix(line, "\n") {
			list = append(list, line)
			continue
		}
		list = append(list, e.Reason)
	}
	return list
}

func wantReasons(t testing.TB, path string, want ...string) {
	t.Helper()
	if d := cmp.Diff(want, reasons(t, path)); d != "" {
		t.Errorf("%s (-want +got):\n%s", path, d)
	}
}

func TestAnEntryIsOneLineOfJSON(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit")
	a := mustOpen(t, path)
	root := 0
	at := time.Date(2026, 1, 2, 3, 4, 5, 600, time.FixedZone("", 3600))
	for _, e := range []Entry{
		{Time: at, Principal: "ops", UID: &root, PID: 7, Operations: []string{"create volume web/data"}, Outcome: "ok"},
		{Time: at, Subject: "CN=<m>", Remote: "192.0.2.1:5", DryRun: true, Outcome: "forbidden", Reason: "a\nb\x1b\u009b\xff"},
	} {
		if err := a.Write(e); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"time":"2026-01-02T02:04:05.0000006Z","principal":"ops","uid":0,"pid":7,"operations":["create volume web/data"],"outcome":"ok"}` + "\n" +
		`{"time":"2026-01-02T02:04:05.0000006Z","subject":"CN=<m>","remote":"192.0.2.1:5","operations":[],"dry_run":true,"outcome":"forbidden","reason":"a�b���"}` + "\n"
	if d := cmp.Diff(want, string(got)); d != "" {
		t.Errorf("file (-want +got):\n%s", d)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestALineIsBounded(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("ä\x00", 1<<16)
	e := Entry{Principal: long, Subject: long, Remote: long, Outcome: long, Reason: long, Operations: []string{}}
	for range 1000 {
		e.Operations = append(e.Operations, long)
	}
	lines, err := e.lines()
	if err != nil || bytes.Count(lines, []byte("\n")) != 50 || !utf8.Valid(lines) {
		t.Fatalf("%d lines, %v", bytes.Count(lines, []byte("\n")), err)
	}
	for line := range bytes.Lines(lines) {
		var back Entry
		if err := json.Unmarshal(line, &back); err != nil || len(line) > 256<<10 || !strings.HasSuffix(back.Reason, "…") {
			t.Fatalf("%d bytes, %v", len(line), err)
		}
	}
	if len(e.Operations) != 1000 || e.Operations[0] != long {
		t.Error("the caller's entry was changed")
	}
}

// TestNothingOfACallIsLeftOut pads a call with harmless operations, in the ways that there are:
// before it, in a group with an id, and with names.
func TestNothingOfACallIsLeftOut(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit")
	a := mustOpen(t, path)
	for n := 1; n <= 10_000; n *= 10 {
		var batch []volume.Operation
		var uses []volume.Use
		want := map[string]bool{}
		for i := range n {
			batch = append(batch, volume.Destroy{Ref: fmt.Sprintf("web/%d.", i)})
			uses = append(uses, volume.Use{Volume: fmt.Sprintf("used/%d.", i)})
			want[fmt.Sprintf("web/%d.", i)], want[fmt.Sprintf("used/%d.", i)] = true, true
		}
		ops := []volume.Operation{volume.Identified{ID: "all", Operations: batch}, volume.Claim{Task: "t", Uses: uses}}
		for _, ops := range [][]volume.Operation{ops, append(batch, ops[1])} {
			if err := a.Write(Entry{Principal: "ops", Operations: Describe(ops), Outcome: "ok"}); err != nil {
				t.Fatal(err)
			}
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(path, 0); err != nil {
				t.Fatal(err)
			}
			checkParts(t, data, want)
		}
	}
}

// checkParts wants all the names in the lines of one entry, which must know each other.
func checkParts(t *testing.T, data []byte, want map[string]bool) {
	t.Helper()
	got, lines := map[string]bool{}, bytes.Count(data, []byte("\n"))
	for line := range bytes.Lines(data) {
		var e Entry
		if err := json.Unmarshal(line, &e); err != nil || len(line) > 128<<10 {
			t.Fatalf("a line of %d bytes: %v", len(line), err)
		}
		if e.Part > lines || e.Parts != lines && lines > 1 || lines == 1 && e.Part != 0 || e.Principal != "ops" || e.Outcome != "ok" {
			t.Fatalf("%d lines, and one is part %d of %d: %.200s", lines, e.Part, e.Parts, line)
		}
		for _, op := range e.Operations {
			if verb := strings.Fields(op)[0]; verb != "destroy" && !strings.HasPrefix(op, "operation all: destroy ") && !strings.HasPrefix(op, "claim task t, ") {
				t.Fatalf("%.100s does not say what it is", op)
			}
			for _, word := range strings.FieldsFunc(op, func(r rune) bool { return strings.ContainsRune(" ,;", r) }) {
				got[word] = true
			}
		}
	}
	missing := 0
	for name := range want {
		if !got[name] {
			missing++
		}
	}
	if missing > 0 {
		t.Errorf("%d names of %d are in none of %d lines", missing, len(want), lines)
	}
}

func TestEntriesGoToANewFileWhenTheOldOneIsMovedOrRemoved(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit")
	a := mustOpen(t, path)
	mustWrite(t, a, "one")
	mustWrite(t, a, "two")
	first := a.file
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, a, "three")
	if _, err := first.Stat(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("the file that was moved is still open: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, a, "four")
	if err := os.Rename(path, path+".2"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("torn"), 0o640); err != nil { // as logrotate's create does
		t.Fatal(err)
	}
	mustWrite(t, a, "five")
	mustWrite(t, a, "six")
	wantReasons(t, path+".1", "one", "two")
	wantReasons(t, path+".2", "four")
	wantReasons(t, path, "torn\n", "five", "six")
}

func TestAFileThatIsCutShortGoesOnAtItsEnd(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit")
	a := mustOpen(t, path)
	mustWrite(t, a, "one")
	if err := os.Truncate(path, 0); err != nil { // logrotate's copytruncate
		t.Fatal(err)
	}
	mustWrite(t, a, "two")
	wantReasons(t, path, "two")
}

func TestAnEntryIsNotLostWhereNoNewFileCanBeOpened(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "audit")
	a := mustOpen(t, path)
	mustWrite(t, a, "one")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("elsewhere", path); err != nil {
		t.Fatal(err)
	}
	if err := a.Write(Entry{Reason: "two"}); !errors.Is(err, syscall.ELOOP) || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, a, "three")
	wantReasons(t, path+".1", "one", "two")
	wantReasons(t, path, "three")
	if _, err := os.Lstat(filepath.Join(dir, "elsewhere")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the link was followed: %v", err)
	}
}

func TestATornLastLineIsEndedFirst(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit")
	a := mustOpen(t, path)
	mustWrite(t, a, "one")
	mustWrite(t, a, "two")
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, info.Size()-5); err != nil {
		t.Fatal(err)
	}
	b := mustOpen(t, path)
	mustWrite(t, b, "three")
	mustWrite(t, b, "four")
	got := reasons(t, path)
	if len(got) != 4 || got[0] != "one" || !strings.HasPrefix(got[1], `{"time":`) || got[2] != "three" || got[3] != "four" {
		t.Errorf("the file has %q", got)
	}
}

// TestAnEntryAfterAPartialOneHasALineOfItsOwn lets the file grow no further in the middle
// of an entry, as a full disk does.
func TestAnEntryAfterAPartialOneHasALineOfItsOwn(t *testing.T) {
	// Not parallel: the limit is the process's.
	path := filepath.Join(t.TempDir(), "audit")
	a := mustOpen(t, path)
	mustWrite(t, a, "one")
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	lift := limitFiles(t, info.Size()+10)
	for range 2 {
		if err := a.Write(Entry{Reason: "two"}); !errors.Is(err, syscall.EFBIG) {
			t.Errorf("got %v", err)
		}
	}
	lift()
	mustWrite(t, a, "three")
	got := reasons(t, path)
	if len(got) != 3 || got[0] != "one" || len(got[1]) != 11 || got[2] != "three" {
		t.Errorf("the file has %q", got)
	}
}

// limitFiles bounds the size of files (setrlimit(2)) until lift is called. The Go runtime
// takes the signal that comes with it.
func limitFiles(t *testing.T, size int64) (lift func()) {
	t.Helper()
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	set := func(l syscall.Rlimit) {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &l); err != nil {
			t.Errorf("setrlimit: %v", err)
		}
	}
	lift = sync.OnceFunc(func() { set(old) })
	t.Cleanup(lift)
	set(syscall.Rlimit{Cur: uint64(size), Max: old.Max})
	return lift
}

// TestWritersAtTheSameTimeDoNotMixLines moves the file away in the middle, too.
func TestWritersAtTheSameTimeDoNotMixLines(t *testing.T) {
	t.Parallel()
	const writers, entries = 8, 50
	path := filepath.Join(t.TempDir(), "audit")
	a := mustOpen(t, path)
	want := map[string]int{}
	var wg sync.WaitGroup
	for w := range writers {
		for n := range entries {
			want[fmt.Sprint(w, "/", n)] = 1
		}
		wg.Go(func() {
			for n := range entries {
				if err := a.Write(Entry{Reason: fmt.Sprint(w, "/", n), Subject: strings.Repeat("x", 400)}); err != nil {
					t.Error(err)
				}
				if w == 0 && n == entries/2 {
					if err := os.Rename(path, path+".1"); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	got := map[string]int{}
	for _, r := range append(reasons(t, path+".1"), reasons(t, path)...) {
		got[r]++
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("entries (-want +got):\n%s", d)
	}
}

func TestOnlyARegularFileIsAnAuditFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	link, pipe := filepath.Join(dir, "link"), filepath.Join(dir, "pipe")
	if err := errors.Join(os.Symlink("target", link), syscall.Mkfifo(pipe, 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{link, pipe, dir, os.DevNull, filepath.Join(dir, "none", "audit")} {
		a, err := OpenAudit(path)
		if err == nil {
			_ = a.Close()
		}
		if a != nil || err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("OpenAudit(%s) = %v, %v", path, a, err)
		}
	}
}

func TestAClosedAuditIsClosedAndTakesNothing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit")
	a := mustOpen(t, path)
	for range 2 {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := a.Write(Entry{}); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("got %v", err)
	}
	wantReasons(t, path)
}

func TestAnEntryThatCannotBeWrittenDoesNotStopTheNext(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit")
	a := mustOpen(t, path)
	if err := a.Write(Entry{Time: time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC)}); err == nil {
		t.Error("JSON has no year 10,000, but it was written")
	}
	mustWrite(t, a, "two")
	wantReasons(t, path, "two")
}

func TestAnOutcomeIsOkOrAKindAndItsSentence(t *testing.T) {
	t.Parallel()
	for _, kind := range volume.Kinds() {
		outcome, reason := Outcome(fmt.Errorf("it is so: %w", &volume.Error{Kind: kind, Message: "because"}))
		if outcome != kind.Error() || reason != "it is so: because" {
			t.Errorf("%v: %q, %q", kind, outcome, reason)
		}
	}
	if outcome, reason := Outcome(nil); outcome != "ok" || reason != "" {
		t.Errorf("nil: %q, %q", outcome, reason)
	}
	if outcome, reason := Outcome(errors.New("disk")); outcome != "failed" || reason != "disk" {
		t.Errorf("no kind: %q, %q", outcome, reason)
	}
}

func TestAnOperationIsDescribedByVerbAndNames(t *testing.T) {
	t.Parallel()
	secret := disk(resource.Reservation{Type: resource.Dynamic, Role: "web", Labels: []resource.Label{{Key: "token", Value: new("hunter2")}}})
	uses := make([]volume.Use, 12)
	for i := range uses {
		uses[i] = volume.Use{Volume: fmt.Sprint("web/", i)}
	}
	for want, op := range map[string]volume.Operation{
		"reserve role web, role eng": volume.Reserve{Resources: list(secret, secret, disk(level("eng", "")))},
		"unreserve role web":         volume.Unreserve{Resources: list(secret)},
		"unreserve role *":           volume.Unreserve{Resources: list(disk())},
		"reserve":                    volume.Reserve{},
		"create volume web/data":     volume.Create{Volume: claims("web", "data", ""), Role: "not this"},
		"create volume eng/":         volume.Create{Volume: disk(), Role: "eng"},
		"destroy volume web/data":    volume.Destroy{Volume: claims("web", "data", "")},
		"destroy volume v1":          volume.Destroy{Ref: "v1"},
		"attach task t, volume web/data": volume.Attach{Task: "t", Sandbox: "/s",
			Use: volume.Use{Volume: "web/data", Path: "p"}},
		"set-mode task t, volume web/data, RO": volume.SetMode{Task: "t", Volume: "web/data", Mode: "RO"},
		"detach task t, volume web/data":       volume.Detach{Task: "t", Volume: "web/data"},
		"release task t":                       volume.Release{Task: "t"},
		"renew task t":                         volume.Renew{Task: "t"},
		"kill task t":                          volume.Kill{Task: "t"},
		"grow volume web/data":                 volume.Grow{Volume: claims("web", "data", "")},
		"shrink volume web/data":               volume.Shrink{Volume: claims("web", "data", "")},
		"resize volume web/data":               volume.Resize{Ref: "web/data"},
		"acknowledge operation o1":             volume.Acknowledge{ID: "o1"},
		"launch task t, volume web/data":       volume.Launch{Task: "t", Resources: list(secret, claims("web", "data", ""))},
		"operation o1: release task t; resize volume v1": volume.Identified{ID: "o1", Type: "RESIZE",
			Operations: []volume.Operation{volume.Release{Task: "t"}, volume.Resize{Ref: "v1"}}},
		"claim task t, volume web/0, volume web/1, volume web/2, volume web/3, volume web/4, volume web/5, volume web/6, " +
			"volume web/7, volume web/8, volume web/9, volume web/10, volume web/11": volume.Claim{Task: "t", Uses: uses},
	} {
		if got := Describe([]volume.Operation{op}); len(got) != 1 || got[0] != want {
			t.Errorf("%+v is %q, want %q", op, got, want)
		}
	}
}
