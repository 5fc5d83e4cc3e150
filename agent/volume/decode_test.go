package volume

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestDecodeRefusesWhatEncodeDoesNotWrite(t *testing.T) {
	t.Parallel()
	const (
		v = `"uuid":"v1","role":"web","id":"x","disk":"","reservations":[{"type":"DYNAMIC","role":"web"}],"container_path":"x","size":1,"owner":{"uid":0,"gid":0,"mode":0},"created":"2026-01-02T03:04:05Z"`
		a = `"volume":"v1","task":"t","path":"p","since":"2026-01-02T03:04:05Z"`
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
	} {
		if c, err := Decode([]byte(text)); err == nil {
			t.Errorf("%s: %s is read as %+v", name, text, c)
		} else if c != (Change{}) {
			t.Errorf("%s: an error came with %+v", name, c)
		}
	}
	for name, text := range map[string]string{
		"a volume":      `{"volume":{` + v + `,"phase":"ready"}}`,
		"an attachment": `{"attachment":{` + a + `,"mode":"RW","via":"path"}}`,
	} {
		if _, err := Decode([]byte(text)); err != nil {
			t.Errorf("%s, of which the cases above are made: %v", name, err)
		}
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
