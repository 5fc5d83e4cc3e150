package resource

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestAListInTheOldFormatIsMixedFromTheFirstRefinedEntry(t *testing.T) {
	t.Parallel()
	const head = `{"name":"disk","type":"SCALAR","scalar":{"value":1},`
	const nobodys, old = head + `"role":"*"}`, head + `"role":"eng","reservation":{}}`
	const plain, post = `{"name":"disk","type":"SCALAR","scalar":{"value":1}}`, head + `"reservations":[{"type":"DYNAMIC","role":"eng"}]}`
	const refinedJSON = head + `"reservations":[{"type":"DYNAMIC","role":"eng"},{"type":"DYNAMIC","role":"eng/ml"}]}`
	refined := refine(disk(1, "eng"), "eng/ml")
	for name, c := range map[string]struct {
		list  []Resource
		want  []string
		mixed bool
	}{
		"none":          {nil, nil, false},
		"no refined":    {[]Resource{disk(1, ""), disk(1, "eng")}, []string{nobodys, old}, false},
		"refined first": {[]Resource{refined, disk(1, "eng"), disk(1, "")}, []string{refinedJSON, post, plain}, true},
		"refined last":  {[]Resource{disk(1, "eng"), disk(1, ""), refined}, []string{old, nobodys, refinedJSON}, true},
		"between":       {[]Resource{disk(1, "eng"), refined, disk(1, "eng")}, []string{old, refinedJSON, post}, true},
	} {
		data, err := MarshalListOld(c.list)
		if want := "[" + strings.Join(c.want, ",") + "]"; string(data) != want {
			t.Errorf("%s: %s, want %s", name, data, want)
		}
		fault := ""
		if c.mixed {
			fault = "Cannot downgrade resources containing refined reservations"
		}
		refused(t, name, err, fault)
	}
}

func TestMixedListsReadBackExactly(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		list := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Resource { return drawResource(t, 3) }), 1, 5).Draw(t, "list")
		data, err := MarshalListOld(list)
		if refined := slices.ContainsFunc(list, func(r Resource) bool { return len(r.Reservations) > 1 }); (err != nil) != refined {
			t.Fatalf("%s: %v", data, err)
		}
		mixed := []json.RawMessage{}
		for _, r := range list {
			write := rapid.SampledFrom([]func(Resource) ([]byte, error){Resource.MarshalJSON, Resource.MarshalEndpoint}).Draw(t, "format")
			entry, err := write(r)
			if err != nil {
				t.Fatal(err)
			}
			mixed = append(mixed, entry)
		}
		whole, err := json.Marshal(mixed)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{string(data), string(whole)} {
			back, err := ParseList(text)
			if err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			if diff := cmp.Diff(list, back, exactly); diff != "" {
				t.Fatalf("%s (-want +got):\n%s", text, diff)
			}
		}
	})
}

// textOf is r in the text syntax; ok is false when that cannot say it.
func textOf(r Resource) (text string, ok bool) {
	bare := Resource{Name: r.Name, Type: r.Type, Scalar: r.Scalar, Ranges: r.Ranges, Set: r.Set, Reservations: r.Reservations}
	if r.Key() != bare.Key() || len(r.Reservations) > 1 || r.IsDynamicallyReserved() {
		return "", false
	}
	value := strings.TrimPrefix(Resource{Type: r.Type, Scalar: r.Scalar, Ranges: r.Ranges, Set: r.Set}.String(), ":")
	return fmt.Sprintf("%s(%s):%s", r.Name, r.Role(), value), true
}

func TestTextReadsBackWhereItCanSayIt(t *testing.T) {
	t.Parallel()
	seen := 0
	rapid.Check(t, func(t *rapid.T) {
		var list []Resource
		var texts []string
		for range rapid.IntRange(1, 4).Draw(t, "entries") {
			r := drawResource(t, 1)
			if text, ok := textOf(r); ok {
				list, texts = append(list, r), append(texts, text)
			}
		}
		back, err := ParseText(strings.Join(texts, rapid.SampledFrom([]string{";", " ;\n"}).Draw(t, "between")))
		if err != nil {
			t.Fatalf("%q: %v", texts, err)
		}
		if diff := cmp.Diff(list, back, exactly); diff != "" {
			t.Fatalf("%q (-want +got):\n%s", texts, diff)
		}
		seen += len(list)
	})
	if seen == 0 {
		t.Error("nothing drawn could be said")
	}
}
