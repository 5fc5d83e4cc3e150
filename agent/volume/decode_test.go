package volume

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tenon/agent/resource"
)

func TestDecodeRefusesWhatEncodeDoesNotWrite(t *testing.T) {
	t.Parallel()
	const (
		v = `"uuid":"v1","role":"web","id":"x","disk":"","reservations":[{"type":"DYNAMIC","role":"web"}],"container_path":"x","size":1,"owner":{"uid":0,"gid":0,"mode":0},"created":"2026-01-02T03:04:05Z"`
		a = `"volume":"v1","task":"t","path":"p","since":"2026-01-02T03:04:05Z"`
		o = `"id":"one","type":"CREATE","digest":"d","principal":"","since":"2026-01-02T03:04:05Z"`
	)
	for name, text := range map[string]string{
		"nothing":                      ``,
		"garbage":                      "\x00\xff",
		"a number":                     `7`,
		"a list":                       `[{"agent":"x"}]`,
		"null":                         `null`,
		"an empty object":              `{}`,
		"an empty field":               `{"agent":""}`,
		"a null object":                `{"volume":null}`,
		"an unknown field":             `{"agent":"x","colour":"red"}`,
		"an unknown field further in":  `{"drop":{"volume":"v1","why":"x"}}`,
		"a fault":                      `{"fault":{"kind":"x"}}`,
		"more behind it":               `{"agent":"x"} x`,
		"another behind it":            `{"agent":"x"}{"agent":"y"}`,
		"half of it":                   `{"drop":{"volume":"v1"`,
		"two at once":                  `{"agent":"x","boot":"y"}`,
		"two objects at once":          `{"drop":{"volume":"v1"},"disk":{"key":"","pool":"p","phase":"ready"}}`,
		"a drop of nothing":            `{"drop":{}}`,
		"a drop of half an attachment": `{"drop":{"volume":"v1","path":"p"}}`,
		"a drop of two things":         `{"drop":{"volume":"v1","task":"t"}}`,
		"an empty disk":                `{"disk":{}}`,
		"a disk without a phase":       `{"disk":{"key":"","pool":"p"}}`,
		"a disk that is destroyed":     `{"disk":{"key":"","pool":"p","phase":"destroying"}}`,
		"a disk without a pool":        `{"disk":{"key":"","phase":"creating"}}`,
		"an empty account":             `{"account":{}}`,
		"an unreserved account":        `{"account":{"disk":"","reservations":[],"free":5}}`,
		"an overdrawn account":         `{"account":{"disk":"","reservations":[{"type":"DYNAMIC","role":"web"}],"free":-5}}`,
		"an empty volume":              `{"volume":{}}`,
		"a volume without a phase":     `{"volume":{` + v + `}}`,
		"a volume in another phase":    `{"volume":{` + v + `,"phase":"sealed"}}`,
		"a volume without a size":      `{"volume":{` + strings.Replace(v, `"size":1`, `"size":0`, 1) + `,"phase":"ready"}}`,
		"a volume without a uuid":      `{"volume":{` + strings.Replace(v, `"uuid":"v1",`, "", 1) + `,"phase":"ready"}}`,
		"a volume without an id":       `{"volume":{` + strings.Replace(v, `"id":"x",`, "", 1) + `,"phase":"ready"}}`,
		"a volume of nobody":           `{"volume":{` + strings.Replace(v, `{"type":"DYNAMIC","role":"web"}`, "", 1) + `,"phase":"ready"}}`,
		"a volume of another role":     `{"volume":{` + strings.Replace(v, `"role":"web","id"`, `"role":"db","id"`, 1) + `,"phase":"ready"}}`,
		"an empty task":                `{"task":{}}`,
		"a task without a sandbox":     `{"task":{"id":"t","lease":{},"since":"2026-01-02T03:04:05Z"}}`,
		"an empty attachment":          `{"attachment":{}}`,
		"an attachment by nothing":     `{"attachment":{` + a + `,"mode":"RW"}}`,
		"an attachment by magic":       `{"attachment":{` + a + `,"mode":"RW","via":"magic"}}`,
		"an attachment of no mode":     `{"attachment":{` + a + `,"via":"path"}}`,
		"an attachment nowhere":        `{"attachment":{` + strings.Replace(a, `"path":"p",`, "", 1) + `,"mode":"RW","via":"path"}}`,
		"a part of a living volume":    `{"volume":{` + v + `,"phase":"ready","back":[{"reservations":[],"size":1}]}}`,
		"less back than there is":      `{"volume":{` + strings.Replace(v, `"size":1`, `"size":3`, 1) + `,"phase":"destroying","back":[{"reservations":[],"size":1}]}}`,
		"more back than there is":      `{"volume":{` + v + `,"phase":"destroying","back":[{"reservations":[],"size":1},{"reservations":[],"size":1}]}}`,
		"nothing back":                 `{"volume":{` + v + `,"phase":"destroying","back":[{"reservations":[],"size":0},{"reservations":[],"size":1}]}}`,
		"less than nothing back":       `{"volume":{` + v + `,"phase":"destroying","back":[{"reservations":[],"size":-1},{"reservations":[],"size":2}]}}`,
		"an empty operation":           `{"operation":{}}`,
		"an operation without an id":   `{"operation":{` + strings.Replace(o, `"id":"one",`, "", 1) + `,"state":"OPERATION_PENDING"}}`,
		"an operation of no type":      `{"operation":{` + strings.Replace(o, `"type":"CREATE",`, "", 1) + `,"state":"OPERATION_PENDING"}}`,
		"an operation for nothing":     `{"operation":{` + strings.Replace(o, `"digest":"d",`, "", 1) + `,"state":"OPERATION_PENDING"}}`,
		"an operation in no state":     `{"operation":{` + o + `}}`,
		"an operation dropped":         `{"operation":{` + o + `,"state":"OPERATION_DROPPED"}}`,
		"an operation, more in it":     `{"operation":{` + o + `,"state":"OPERATION_PENDING","uuid":"x"}}`,
		"a drop of an operation, more": `{"drop":{"operation":"one","volume":"v1"}}`,
	} {
		if c, err := Decode([]byte(text)); err == nil {
			t.Errorf("%s: %s is read as %+v", name, text, c)
		} else if c != (Change{}) {
			t.Errorf("%s: an error came with %+v", name, c)
		}
	}
	for name, text := range map[string]string{
		"a volume":      `{"volume":{` + v + `,"phase":"ready"}}`,
		"a tombstone":   `{"volume":{` + v + `,"phase":"destroying","back":[{"reservations":[],"size":1}]}}`,
		"an operation":  `{"operation":{` + o + `,"state":"OPERATION_PENDING"}}`,
		"an attachment": `{"attachment":{` + a + `,"mode":"RW","via":"path"}}`,
	} {
		if _, err := Decode([]byte(text)); err != nil {
			t.Errorf("%s, of which the cases above are made: %v", name, err)
		}
	}
}

// A journal that the first version has written, one record of each kind.
const firstJournal = `
{"agent":"9bd7a45c-6c3b-4b3c-8d0e-2f3f3a0f0001"}
{"boot":"b0"}
{"disk":{"key":"","total":4096,"pool":"p0","phase":"ready"}}
{"account":{"disk":"","reservations":[{"type":"DYNAMIC","role":"web"}],"free":36}}
{"volume":{"uuid":"v1","role":"web","id":"x","disk":"","reservations":[{"type":"DYNAMIC","role":"web"}],"container_path":"x","size":64,"owner":{"uid":0,"gid":0,"mode":493},"phase":"ready","created":"2026-01-02T03:04:05Z"}}
{"volume":{"uuid":"v2","role":"web","id":"y","disk":"","reservations":[{"type":"DYNAMIC","role":"web"}],"container_path":"y","size":1,"shared":true,"owner":{"uid":0,"gid":0,"mode":493},"phase":"destroying","created":"2026-01-02T03:04:05Z"}}
{"task":{"id":"t","sandbox":"/s/t","lease":{"pid":7,"start":1},"since":"2026-01-02T03:04:05Z"}}
{"attachment":{"volume":"v1","task":"t","path":"x","mode":"RW","via":"path","since":"2026-01-02T03:04:05Z"}}
{"drop":{"volume":"v0"}}
`

func TestTheFirstVersionsJournalStillLoads(t *testing.T) {
	t.Parallel()
	s := Empty()
	for line := range strings.Lines(strings.TrimSpace(firstJournal)) {
		c, err := Decode([]byte(strings.TrimSpace(line)))
		if err != nil {
			t.Fatal(err)
		}
		s = s.With(c)
	}
	s = configured(t, s, "b0", rootDisk(4096))
	want := []string{"agent 9bd7a45c-6c3b-4b3c-8d0e-2f3f3a0f0001 boot b0", "attachment v1 t x RW path", "disk root ready", "free root 36 \"DYNAMIC\"\"web\"", "free root 3995",
		"task t /s/t lease 7@1", "volume v1 web/x 64 on root ready", "volume v2 web/y 1 on root destroying shared"}
	if d := cmp.Diff(want, dump(s)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	s = removedAll(t, s)
	if got := s.Free("", mib(1, "web").Reservations); got != 37*resource.One {
		t.Errorf("%s are free, want 37", got)
	}
}

func TestAnErrorOfDecodeIsShort(t *testing.T) {
	t.Parallel()
	_, err := Decode(bytes.Repeat([]byte("x"), 1<<20))
	if err == nil || len(err.Error()) > 500 {
		t.Errorf("got %.600v", err)
	}
}

func FuzzDecode(f *testing.F) {
	for _, c := range samples() {
		data, err := c.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"AGENT":"x","agent":"y"}`))
	f.Add([]byte(`{"account":{"free":1e3,"reservations":[{"type":"DYNAMIC","role":"\ud800"}],"disk":"é"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Decode(data)
		if err != nil {
			return
		}
		again, err := c.Encode()
		if err != nil {
			t.Fatalf("%q is read but not written: %v", data, err)
		}
		back, err := Decode(again)
		if err != nil {
			t.Fatalf("%q is written as %q, which is not read: %v", data, again, err)
		}
		sameTimes := cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) })
		if d := cmp.Diff(c, back, cmpopts.EquateEmpty(), sameTimes); d != "" {
			t.Fatalf("%q (-read +read again):\n%s", data, d)
		}
		s := Empty().With(c)
		_ = s.Check() // must not panic on any record by itself
		for u := range s.Units() {
			Plan(s, u, Seen{})
			s = s.With(Settle(s, u, Seen{}, second)...)
		}
	})
}
