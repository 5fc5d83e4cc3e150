package master

import (
	"errors"
	"strings"
	"testing"

	"tenon/agent/volume"
)

const operations = `[{"type":"UNRESERVE","unreserve":{"resources":[{"name":"disk","type":"SCALAR","scalar":{"value":1},"reservations":[{"type":"DYNAMIC","role":"web"}]}]}}]`

func TestAnOrderIsReadAsStrictlyAsARequest(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ text, key, id, refusal string }{
		{`{"id":"one","agent":"a","operations":` + operations + `}`, "", "one", ""},
		{`{"id":"one","agent":"a","operations":` + operations + `}`, "one", "one", ""},
		{`{"id":"one","agent":"a","operations":{"operations":` + operations + `}}`, "", "one", ""},
		{`{"id":"one","agent":"a","operations":` + operations + `}`, "two", "two", `id "one" is not "two"`},
		{`{"id":"one","agent":"b","operations":` + operations + `}`, "", "one", `for agent "b", this is agent "a"`},
		{`{"id":"one","operations":` + operations + `}`, "", "one", `for agent "", this is agent "a"`},
		{`{"id":"one","agent":"a","operations":` + operations + `,"operations":[]}`, "", "one", "twice"},
		{`{"id":"one","agent":"a","operations":` + operations + `} `, "", "one", ""},
		{`{"id":"one","agent":"a","operations":` + operations + `}{}`, "", "", "after its JSON value"},
		{`{"ID":"one","agent":"a","operations":` + operations + `}`, "", "one", `unknown field "ID"`},
		{`{"id":"one","agent":"a","operations":[]}`, "", "one", ""}, // refused when it is applied
		{`{"id":"a/b","agent":"a","operations":[]}`, "", "", "invalid characters"},
		{strings.Repeat(" ", MaxOrder) + `{"id":"one","agent":"a","operations":[]}`, "", "one", "1048616 bytes; 1048576 are allowed"},
		{"", "key", "key", "ends too early"},
	} {
		o, err := readOrder([]byte(tc.text), tc.key, "a")
		if o.id != tc.id || o.digest == "" || (err == nil) != (tc.refusal == "") || err != nil && !strings.Contains(err.Error(), tc.refusal) {
			t.Errorf("%.100s by %q becomes %q, %v; want %q, %q", tc.text, tc.key, o.id, err, tc.id, tc.refusal)
		}
	}
}

func TestOrdersAreTheSameWhateverTheyLookLike(t *testing.T) {
	t.Parallel()
	digest := func(text string) string {
		t.Helper()
		o, err := readOrder([]byte(text), "", "a")
		if err != nil {
			t.Fatal(err)
		}
		return o.digest
	}
	one := digest(`{"id":"one","agent":"a","operations":` + operations + `}`)
	if same := digest(`{ "operations":` + strings.ReplaceAll(operations, ",", " , ") + `, "agent":"a", "id":"one" }`); same != one {
		t.Error("white space and order of fields make another order")
	}
	if other := digest(`{"id":"one","agent":"a","operations":` + strings.Replace(operations, `"value":1`, `"value":2`, 1) + `}`); other == one {
		t.Error("another amount makes the same order")
	}
}

func FuzzWhateverComesIsAnOrderOrIsRefused(f *testing.F) {
	f.Add([]byte(`{"id":"one","agent":"a","operations":`+operations+`}`), "")
	f.Add([]byte(`{"id":"one","agent":"a","operations":[{"type":"LAUNCH"}]}`), "one")
	f.Add([]byte("\xff"), "a/b")
	f.Fuzz(func(t *testing.T, data []byte, key string) {
		o, err := readOrder(data, key, "a")
		switch {
		case err != nil && !errors.Is(err, volume.ErrInvalid):
			t.Errorf("refused with %v, which is not invalid", err)
		case err == nil && (checkID(o.id) != nil || key != "" && key != o.id):
			t.Errorf("%q by %q has the id %q", data, key, o.id)
		}
	})
}
