package resource

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
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

// FuzzUnmarshalResource holds that reading never panics, fails only with ErrInvalid, and that
// what was read and is valid writes and reads back as itself.
func FuzzUnmarshalResource(f *testing.F) {
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

// FuzzParseOperations holds the same of operations, that what was read is valid, and that
// no operation changes how much there is.
func FuzzParseOperations(f *testing.F) {
	seedFixtures(f)
	f.Add([]byte(`{"operations":[]}`))
	for _, o := range launchOperations(f) {
		data, err := json.Marshal(o)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"type":"LAUNCH","launch":{"task_infos":[{"name":"n","task_id":{"value":"t"},"slave_id":{"value":"s"},"command":{"x":[null]}}]}}`))
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
		for _, o := range operations {
			wantKept(t, o)
		}
	})
}

// wantKept applies o to sets that have what it may call for.
func wantKept(t *testing.T, o Operation) {
	t.Helper()
	if err := o.Validate(); err != nil {
		t.Fatalf("%+v was read: %v", o, err)
	}
	var have, below Set
	for _, r := range o.Resources() {
		have = have.Add(r)
		r, _ = r.StripVolume().PopReservation()
		below = below.Add(r, r.StripVolume())
	}
	for _, s := range []Set{have, below, have.AddSet(below)} {
		done, err := s.Apply(o)
		if err != nil && !errors.Is(err, ErrInvalid) {
			t.Fatalf("%+v: %v is no ErrInvalid", o, err)
		}
		if amounts(done) != amounts(s) {
			t.Fatalf("%+v made %s of %s", o, done, s)
		}
	}
}

// FuzzParseList holds that operators' lists are read as valid resources, or refused, and
// that they write and read back as themselves, in the old format too.
func FuzzParseList(f *testing.F) {
	seedTexts(f)
	for _, seed := range []string{
		`[{"name":"disk","type":"SCALAR","scalar":{"value":4},"role":"eng"}]`, "[", "{", "[]",
		`[{"name":"disk","type":"SCALAR","scalar":{"value":4},"role":"eng","reservation":{}},{"name":"disk","type":"SCALAR","scalar":{"value":4},
		"reservations":[{"type":"STATIC","role":"eng"},{"type":"DYNAMIC","role":"eng/ml"}]},{"name":"cpus","type":"SCALAR","scalar":{"value":0.5},"role":"*"}]`,
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
		wantSameList(t, list)
	})
}

// wantSameList holds that a list is valid and writes and reads back as itself.
func wantSameList(t *testing.T, list []Resource) {
	t.Helper()
	for _, r := range list {
		if err := r.Validate(); err != nil {
			t.Fatalf("%s was read: %v", r, err)
		}
	}
	written, err := json.Marshal(list)
	if list == nil {
		written = []byte("[]")
	}
	if err != nil {
		t.Fatal(err)
	}
	old, err := MarshalListOld(list)
	if err != nil && !errors.Is(err, ErrInvalid) {
		t.Fatal(err)
	}
	for _, data := range [][]byte{written, old} {
		back, err := ParseList(string(data))
		if err != nil {
			t.Fatalf("wrote %s: %v", data, err)
		}
		if diff := cmp.Diff(list, back, cmpopts.EquateEmpty(), exactly); diff != "" {
			t.Fatalf("wrote %s (-want +got):\n%s", data, diff)
		}
	}
}

func seedTexts(f *testing.F) {
	f.Helper()
	for _, seed := range []string{
		"", "cpus:24;mem:24576;disk:409600;disk(eng):2048;ports:[21000-24000]", "disks:{sda1,sda2}", "a:1;a:[1-2]", "disk(*):0.001",
		"x(:1", "ports:[1-2,2-3]", "a:1e3;b:00.5", "disk:4096;cpus:2;mem:1024;ports:[31000-32000]",
	} {
		f.Add(seed)
	}
}

// FuzzParseText holds the same of the text syntax, and that what was read can be said in
// it again.
func FuzzParseText(f *testing.F) {
	seedTexts(f)
	f.Fuzz(func(t *testing.T, text string) {
		list, err := ParseText(text)
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Fatalf("%q: %v is no ErrInvalid", text, err)
			}
			return
		}
		wantSameList(t, list)
		var texts []string
		for _, r := range list {
			said, ok := textOf(r)
			if !ok {
				t.Fatalf("%q reads as %s, which text cannot say", text, r)
			}
			texts = append(texts, said)
		}
		back, err := ParseText(strings.Join(texts, ";"))
		if err != nil {
			t.Fatalf("%q is %q: %v", text, texts, err)
		}
		if diff := cmp.Diff(list, back, cmpopts.EquateEmpty(), exactly); diff != "" {
			t.Fatalf("%q is %q (-want +got):\n%s", text, texts, diff)
		}
	})
}

// FuzzParseAttributes holds that attributes are read as valid ones, or refused, and write
// and read back as themselves, as JSON and as text.
func FuzzParseAttributes(f *testing.F) {
	for _, seed := range []string{
		"", "rack:r1;level:10;keys:[1000-1500]", "url:http://x:80/", "t:-4.5\nu:nan", "k:[ 1 - 2 , 4-4 ]", "tags:{a,b}", "a:(", "a:-", "a:1e-3", ";:;",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		list, err := ParseAttributes(text)
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Fatalf("%q: %v is no ErrInvalid", text, err)
			}
			return
		}
		var texts []string
		for _, a := range list {
			if err := a.Validate(); err != nil {
				t.Fatalf("%q was read: %v", text, err)
			}
			texts = append(texts, a.String())
		}
		again, err := ParseAttributes(strings.Join(texts, ";"))
		if err != nil {
			t.Fatalf("%q is %q: %v", text, texts, err)
		}
		written, err := json.Marshal(list)
		if err != nil {
			t.Fatal(err)
		}
		var back []Attribute
		if err := json.Unmarshal(written, &back); err != nil {
			t.Fatalf("%q wrote %s: %v", text, written, err)
		}
		for _, got := range [][]Attribute{again, back} {
			if diff := cmp.Diff(list, got, cmpopts.EquateEmpty()); diff != "" {
				t.Fatalf("%q is %q and wrote %s (-want +got):\n%s", text, texts, written, diff)
			}
		}
	})
}

// FuzzParseScalar holds that numbers and sizes never panic and read back from what they
// print.
func FuzzParseScalar(f *testing.F) {
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
