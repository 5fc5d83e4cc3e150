package resource

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// seedFixtures adds every fixture, whole and as its parts.
func seedFixtures(f *testing.F) {
	f.Helper()
	files, err := filepath.Glob(filepath.Join(fixtures, "*.json"))
	if err != nil || len(files) == 0 {
		f.Fatalf("no fixtures: %v", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
		operations, err := ParseOperations(data)
		if err != nil {
			continue // captures.json holds none
		}
		for _, r := range operations[0].Resources() {
			old, err := r.MarshalOld()
			if err != nil {
				f.Fatal(err)
			}
			f.Add(old)
		}
	}
}

// FuzzResourceJSON holds that reading never panics, fails only with ErrInvalid, and that
// what was read and is valid writes and reads back as itself.
func FuzzResourceJSON(f *testing.F) {
	seedFixtures(f)
	f.Add([]byte(`{"name":"ports","type":"RANGES","ranges":{"range":[{"begin":1,"end":18446744073709551615}]},"role":"*"}`))
	f.Add([]byte(`{"name":"t","type":"SET","set":{"item":["\u0000","\ud800"]},"revocable":{},"provider_id":{"value":"p"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var r Resource
		if err := r.UnmarshalJSON(data); err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Fatalf("%q: %v is no ErrInvalid", data, err)
			}
			return
		}
		if r.Validate() != nil {
			return
		}
		for _, write := range []func(Resource) ([]byte, error){Resource.MarshalJSON, Resource.MarshalOld, Resource.MarshalEndpoint} {
			written, err := write(r)
			if err != nil && len(r.Reservations) > 1 {
				continue // refined, and the old format
			}
			if err != nil {
				t.Fatal(err)
			}
			var back Resource
			if err := back.UnmarshalJSON(written); err != nil {
				t.Fatalf("%q wrote %s: %v", data, written, err)
			}
			if diff := cmp.Diff(r, back, cmpopts.EquateEmpty(), exactly); diff != "" {
				t.Fatalf("%q wrote %s (-want +got):\n%s", data, written, diff)
			}
		}
	})
}

// FuzzOperations holds the same of operations.
func FuzzOperations(f *testing.F) {
	seedFixtures(f)
	f.Add([]byte(`{"operations":[]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		operations, err := ParseOperations(data)
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Fatalf("%q: %v is no ErrInvalid", data, err)
			}
			return
		}
		written, err := json.Marshal(operations)
		if err != nil {
			t.Fatal(err)
		}
		back, err := ParseOperations(written)
		if err != nil {
			t.Fatalf("%q wrote %s: %v", data, written, err)
		}
		if diff := cmp.Diff(operations, back, cmpopts.EquateEmpty(), exactly); diff != "" {
			t.Fatalf("%q wrote %s (-want +got):\n%s", data, written, diff)
		}
	})
}

// FuzzList holds that operators' lists are read as valid resources, or refused, and that
// unreserved ones print as text that reads as the same set.
func FuzzList(f *testing.F) {
	for _, seed := range []string{
		"cpus:24;mem:24576;disk:409600;disk(eng):2048;ports:[21000-24000]", "disks:{sda1,sda2}", "a:1;a:[1-2]", "disk(*):0.001",
		`[{"name":"disk","type":"SCALAR","scalar":{"value":4},"role":"eng"}]`, "[", "{", "x(:1", "ports:[1-2,2-3]", "a:1e3;b:00.5",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		list, err := ParseList(text)
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Fatalf("%q: %v is no ErrInvalid", text, err)
			}
			return
		}
		for _, r := range list {
			if err := r.Validate(); err != nil {
				t.Fatalf("%q reads as something invalid: %v", text, err)
			}
		}
		if text != "" && text[0] == '[' {
			return // JSON says more than text can
		}
		want := SetOf(list...).Unreserved()
		back, err := ParseText(printed(want))
		if err != nil || !SetOf(back...).Equal(want) {
			t.Fatalf("%q is %s, which reads as %s, %v", text, want, SetOf(back...), err)
		}
	})
}

// printed is the set as text; the empty one has no text of its own.
func printed(s Set) string {
	if s.Len() == 0 {
		return ""
	}
	return s.String()
}

// FuzzNumbers holds that numbers and sizes never panic and read back from what they print.
func FuzzNumbers(f *testing.F) {
	for _, seed := range []string{"64", "0.5", "1.5015", "1e3", "1e-999999999", "4398046511104", "4398046511104.0005", "100GiB", "1.5 GiB", "512m", "4096B", "nan", "-1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if s, err := ParseScalar(text); err == nil {
			if back, err := ParseScalar(s.String()); err != nil || back != s {
				t.Fatalf("%q is %s, which reads as %s, %v", text, s, back, err)
			}
		}
		if b, err := ParseBytes(text); err == nil {
			if _, err := ParseBytes(b.String()); err != nil || b < 0 {
				t.Fatalf("%q is %d: %v", text, int64(b), err)
			}
		}
	})
}
