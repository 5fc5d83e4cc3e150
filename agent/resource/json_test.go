package resource

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

const fixtures = "../../testdata/mesos"

func mustRead(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(fixtures, name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestResourcesPrintAsMesosPrintsThem(t *testing.T) {
	t.Parallel()
	var cases []struct {
		Name      string
		Resources []Resource
		Printed   string
	}
	if err := json.Unmarshal(mustRead(t, "captures.json"), &cases); err != nil {
		t.Fatal(err)
	}
	if len(cases) < 10 {
		t.Fatalf("%d cases, want more", len(cases))
	}
	for _, c := range cases {
		for _, r := range c.Resources {
			if err := r.Validate(); err != nil {
				t.Errorf("%s: %v", c.Name, err)
			}
		}
		if got := SetOf(c.Resources...).String(); got != c.Printed {
			t.Errorf("%s prints as\n%s, want\n%s", c.Name, got, c.Printed)
		}
	}
}

func TestPrintingOfWhatMesosNeverShowsInAnOffer(t *testing.T) {
	t.Parallel()
	hosted := disk(1, "eng").volume("v", "p")
	hosted.Disk.Volume.HostPath = ptr("/h")
	block := disk(1, "").on(SourceBlock, "")
	block.Disk.Source.ID, block.Disk.Source.Profile = ptr("lv0"), ptr("fast")
	for want, r := range map[string]Resource{
		"disk(reservations: [(DYNAMIC,eng)])[v:/h:p:rw]:1": hosted,
		"disk[BLOCK(,lv0,fast)]:1":                         block,
		"disk[]:1":                                         disk(1, "").with(func(r *Resource) { r.Disk = &Disk{} }),
		"tags:{a, b}":                                      {Name: "tags", Type: TypeSet, Set: []string{"a", "b"}},
		"ports:[1-2, 4-4]":                                 {Name: "ports", Type: TypeRanges, Ranges: []Range{{1, 2}, {4, 4}}},
	} {
		if got := r.String(); got != want {
			t.Errorf("prints as %s, want %s", got, want)
		}
	}
}

func TestTheThreeFormatsReadAsOne(t *testing.T) {
	t.Parallel()
	const rest = `"disk":{"persistence":{"id":"vol-1","principal":"ops"},"volume":{"container_path":"data","mode":"RW"},
		"source":{"type":"PATH","path":{"root":"/mnt/d1"}}},"shared":{},"name":"disk","type":"SCALAR","scalar":{"value":2048.0}}`
	want := disk(2048, "eng").on(SourcePath, "/mnt/d1").volume("vol-1", "data").shared()
	want.Reservations[0].Principal, want.Disk.Persistence.Principal = ptr("ops"), ptr("ops")
	for format, text := range map[string]string{
		"old":      `{"role":"eng","reservation":{"principal":"ops"},` + rest,
		"new":      `{"reservations":[{"type":"DYNAMIC","role":"eng","principal":"ops"}],` + rest,
		"endpoint": `{"role":"eng","reservation":{"principal":"ops"},"reservations":[{"type":"DYNAMIC","role":"eng","principal":"ops"}],` + rest,
	} {
		if diff := cmp.Diff(want, mustParse(t, text), exactly); diff != "" {
			t.Errorf("%s format (-want +got):\n%s", format, diff)
		}
	}
}

func TestOldReservationsAreUpgraded(t *testing.T) {
	t.Parallel()
	labels := []Label{{"k", ptr("v")}, {"l", nil}}
	for text, want := range map[string][]Reservation{
		``:                               nil,
		`"role":"*",`:                    nil,
		`"reservations":[],`:             nil,
		`"role":"*","reservations":[],`:  nil,
		`"role":"eng",`:                  {{Type: Static, Role: "eng"}},
		`"role":"eng","reservation":{},`: {{Type: Dynamic, Role: "eng"}},
		`"role":"eng","reservation":{"principal":""},`:                                            {{Type: Dynamic, Role: "eng", Principal: ptr("")}},
		`"role":"eng","reservation":{"labels":{"labels":[{"key":"k","value":"v"},{"key":"l"}]}},`: {{Type: Dynamic, Role: "eng", Labels: labels}},
		`"role":"eng","reservations":[{"type":"STATIC","role":"eng"}],`:                           {{Type: Static, Role: "eng"}},
		`"reservations":[{"type":"STATIC","role":"a"},{"type":"DYNAMIC","role":"a/b"}],`:          {{Type: Static, Role: "a"}, {Type: Dynamic, Role: "a/b"}},
	} {
		got := mustParse(t, `{`+text+`"name":"disk","type":"SCALAR","scalar":{"value":1}}`)
		if diff := cmp.Diff(want, got.Reservations, exactly); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
}

func TestReservationFormatsThatContradictThemselvesAreRefused(t *testing.T) {
	t.Parallel()
	const format = "Invalid resource format: "
	for text, fragment := range map[string]string{
		`"role":"a//b"`:               "cannot contain two adjacent slashes",
		`"role":""`:                   "Role names cannot be the empty string",
		`"reservation":{}`:            `Invalid reservation: role "*" cannot be dynamically reserved`,
		`"role":"*","reservation":{}`: `Invalid reservation: role "*" cannot be dynamically reserved`,
		`"role":"a","reservation":{"type":"DYNAMIC"}`:                                                                 "'Resource.ReservationInfo.type' must not be set",
		`"role":"a","reservation":{"role":"a"}`:                                                                       "'Resource.ReservationInfo.role' must not be set",
		`"reservations":[{"role":"a"}]`:                                                                               "'type' is not set",
		`"reservations":[{"type":"DYNAMIC"}]`:                                                                         "'role' is not set",
		`"reservations":[{"type":"UNKNOWN","role":"a"}]`:                                                              `unsupported type "UNKNOWN"`,
		`"reservations":[{"type":"dynamic","role":"a"}]`:                                                              `unsupported type "dynamic"`,
		`"reservations":[{"type":"STATIC","role":"a"}],"role":"b"`:                                                    format + "'Resource.role'",
		`"reservations":[{"type":"STATIC","role":"a"}],"role":"a","reservation":{}`:                                   format + "'Resource.reservation' must not be set",
		`"reservations":[{"type":"STATIC","role":"a"}],"reservation":{}`:                                              format + "'Resource.reservation' must not be set",
		`"reservations":[{"type":"DYNAMIC","role":"a"}],"role":"a"`:                                                   format + "'Resource.role' and 'Resource.reservation' must either be both set",
		`"reservations":[{"type":"DYNAMIC","role":"a"}],"reservation":{}`:                                             format + "'Resource.role' and 'Resource.reservation' must either be both set",
		`"reservations":[{"type":"DYNAMIC","role":"a"}],"role":"b","reservation":{}`:                                  format + "'Resource.role'",
		`"reservations":[{"type":"DYNAMIC","role":"a"}],"role":"a","reservation":{"principal":"x"}`:                   format + "'Resource.reservation.principal'",
		`"reservations":[{"type":"DYNAMIC","role":"a","principal":"x"}],"role":"a","reservation":{}`:                  format + "'Resource.reservation.principal'",
		`"reservations":[{"type":"DYNAMIC","role":"a"}],"role":"a","reservation":{"labels":{"labels":[{"key":"k"}]}}`: format + "'Resource.reservation.labels'",
		`"reservations":[{"type":"DYNAMIC","role":"a"}],"role":"a","reservation":{"type":"DYNAMIC"}`:                  format + "'type' and 'role'",
		`"reservations":[{"type":"STATIC","role":"a"},{"type":"DYNAMIC","role":"a/b"}],"role":"a/b"`:                  format,
		`"reservations":[{"type":"STATIC","role":"a"},{"type":"DYNAMIC","role":"a/b"}],"reservation":{}`:              format,
		`"reservations":[{"type":"STATIC","role":"a"},{"role":"a/b"}]`:                                                "'type' is not set",
	} {
		var r Resource
		err := json.Unmarshal([]byte(`{`+text+`,"name":"disk","type":"SCALAR","scalar":{"value":1}}`), &r)
		refused(t, text, err, fragment)
	}
}

func TestReadingIsStrict(t *testing.T) {
	t.Parallel()
	const scalar = `{"name":"disk","type":"SCALAR","scalar":{"value":1}`
	for text, fragment := range map[string]string{
		`null`:                            "is null, want an object",
		`[]`:                              "is a list, want an object",
		`"disk"`:                          "is a string, want an object",
		`{}`:                              `field "name" is not set`,
		`{"name":"disk"}`:                 `field "type" is not set`,
		`{"name":"disk","type":"SCALAR"}`: "Invalid scalar resource",
		`{"name":"disk","type":"TEXT"}`:   "Unsupported resource type TEXT",
		`{"name":"disk","type":"scalar"}`: `Invalid resource type "scalar"`,
		`{"name":"disk","type":0}`:        "type: is a number, want a string",
		`{"name":"p","type":"RANGES"}`:    "Invalid ranges resource",
		`{"name":"p","type":"SET"}`:       "Invalid set resource",
		`{"name":"p","type":"RANGES","scalar":{"value":1}}`:                          "Invalid ranges resource",
		`{"name":"p","type":"RANGES","ranges":{"range":[{"begin":1}]}}`:              `ranges: range: [0]: field "end" is not set`,
		`{"name":"p","type":"RANGES","ranges":{"range":[{"begin":-1,"end":1}]}}`:     "range.begin: number -1 does not fit",
		`{"name":"p","type":"SET","set":{"item":[1]}}`:                               "set: item: [0]: is a number, want a string",
		scalar + `,"ranges":{}}`:                                                     "Invalid scalar resource",
		scalar + `,"set":{}}`:                                                        "Invalid scalar resource",
		scalar + `,"Role":"a"}`:                                                      `unknown field "Role"`,
		scalar + `,"text":{}}`:                                                       `unknown field "text"`,
		scalar + `,"name":"disk"}`:                                                   `field "name" occurs twice`,
		scalar + `,"n\u0061me":"disk"}`:                                              `field "name" occurs twice`,
		scalar + `,"disk":null}`:                                                     "disk: is null",
		scalar + `,"shared":true}`:                                                   "shared: is a boolean, want an object",
		scalar + `,"shared":{"x":1}}`:                                                `shared: unknown field "x"`,
		scalar + `,"disk":{"persistence":{}}}`:                                       `disk: persistence: field "id" is not set`,
		scalar + `,"disk":{"volume":{"mode":"RW"}}}`:                                 `field "container_path" is not set`,
		scalar + `,"disk":{"volume":{"container_path":"p"}}}`:                        `field "mode" is not set`,
		scalar + `,"disk":{"volume":{"container_path":"p","mode":"rw"}}}`:            `Unsupported volume mode "rw"`,
		scalar + `,"disk":{"volume":{"container_path":"p","mode":"RW","image":{}}}}`: `disk: volume: unknown field "image"`,
		scalar + `,"disk":{"source":{}}}`:                                            `disk: source: field "type" is not set`,
		scalar + `,"disk":{"source":{"type":"UNKNOWN"}}}`:                            `Unsupported 'DiskInfo.Source.Type' "UNKNOWN"`,
		scalar + `,"disk":{"source":{"type":"BLOCK","path":{}}}}`:                    "should not be set for BLOCK",
		scalar + `,"reservations":[{"type":"DYNAMIC","role":"a","x":1}]}`:            `reservations: [0]: unknown field "x"`,
		scalar + `,"allocation_info":{}}`:                                            `allocation_info: field "role" is not set`,
		scalar + `,"allocation_info":{"role":""}}`:                                   "'allocation_info.role' must not be empty",
		scalar + `,"provider_id":{"value":""}}`:                                      "'provider_id.value' must not be empty",
		`{"name":"d` + "\xff" + `","type":"SCALAR","scalar":{"value":1}}`:            "not valid UTF-8",
		`{"name":"disk","type":"SCALAR","scalar":{"value":"1"}}`:                     "scalar: value: is a string, want a number",
		`{"name":"disk","type":"SCALAR","scalar":{"value":-1}}`:                      "Invalid scalar resource: value <= 0",
		`{"name":"disk","type":"SCALAR","scalar":{"value":0.0001}}`:                  "Invalid scalar resource: value <= 0",
		`{"name":"disk","type":"SCALAR","scalar":{"value":1e300}}`:                   "Invalid scalar resource: number",
	} {
		var r Resource
		refused(t, text, r.UnmarshalJSON([]byte(text)), fragment)
	}
}

func TestTruncatedAndTrailingJSONIsRefused(t *testing.T) {
	t.Parallel()
	whole, err := json.Marshal(disk(64, "eng").on(SourcePath, "/mnt/d1").volume("v", "p").shared())
	if err != nil {
		t.Fatal(err)
	}
	for cut := range len(whole) {
		var r Resource
		refused(t, string(whole[:cut]), r.UnmarshalJSON(whole[:cut]), "resource")
	}
	for _, tail := range []string{"{}", ",", "]", " x"} {
		var r Resource
		refused(t, "tail "+tail, r.UnmarshalJSON(append(whole[:len(whole):len(whole)], tail...)), "resource")
	}
}

func TestAFailedReadLeavesTheResourceAlone(t *testing.T) {
	t.Parallel()
	r := disk(64, "eng")
	if err := json.Unmarshal([]byte(`{"name":"cpus","type":"SCALAR"}`), &r); err == nil {
		t.Fatal("a scalar without a value was read")
	}
	if diff := cmp.Diff(disk(64, "eng"), r, exactly); diff != "" {
		t.Errorf("changed (-want +got):\n%s", diff)
	}
}

func TestWritingInEachFormat(t *testing.T) {
	t.Parallel()
	dynamic := disk(768, "web").with(func(r *Resource) { r.Reservations[0].Principal = ptr("ops") })
	static := reserved(Reservation{Type: Static, Role: "eng"})
	refined := static.PushReservation(Reservation{Type: Dynamic, Role: "eng/ml"})
	const head = `{"name":"disk","type":"SCALAR","scalar":`
	const refinedJSON = `{"value":1},"reservations":[{"type":"STATIC","role":"eng"},{"type":"DYNAMIC","role":"eng/ml"}]}`
	for name, c := range map[string]struct {
		r                    Resource
		post, old, endpoints string
	}{
		"unreserved": {disk(3072, ""), `{"value":3072}}`, `{"value":3072},"role":"*"}`, `{"value":3072},"role":"*"}`},
		"static": {static, `{"value":1},"reservations":[{"type":"STATIC","role":"eng"}]}`, `{"value":1},"role":"eng"}`,
			`{"value":1},"role":"eng","reservations":[{"type":"STATIC","role":"eng"}]}`},
		"dynamic": {dynamic, `{"value":768},"reservations":[{"type":"DYNAMIC","role":"web","principal":"ops"}]}`,
			`{"value":768},"role":"web","reservation":{"principal":"ops"}}`,
			`{"value":768},"role":"web","reservation":{"principal":"ops"},"reservations":[{"type":"DYNAMIC","role":"web","principal":"ops"}]}`},
		"dynamic of nobody": {disk(1, "web"), `{"value":1},"reservations":[{"type":"DYNAMIC","role":"web"}]}`,
			`{"value":1},"role":"web","reservation":{}}`,
			`{"value":1},"role":"web","reservation":{},"reservations":[{"type":"DYNAMIC","role":"web"}]}`},
		"refined": {refined, refinedJSON, "", refinedJSON},
	} {
		for format, f := range map[string]struct {
			write func(Resource) ([]byte, error)
			want  string
		}{"new": {Resource.MarshalJSON, c.post}, "old": {Resource.MarshalOld, c.old}, "endpoint": {Resource.MarshalEndpoint, c.endpoints}} {
			got, err := f.write(c.r)
			if f.want == "" {
				refused(t, name, err, "Cannot downgrade resources containing refined reservations")
				continue
			}
			if err != nil || string(got) != head+f.want {
				t.Errorf("%s in the %s format: %s, %v; want %s", name, format, got, err, head+f.want)
			}
		}
	}
}

func TestEveryFormatReadsBackExactly(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := drawResource(t, 3)
		for format, write := range map[string]func(Resource) ([]byte, error){
			"new": Resource.MarshalJSON, "old": Resource.MarshalOld, "endpoint": Resource.MarshalEndpoint,
		} {
			data, err := write(r)
			if format == "old" && len(r.Reservations) > 1 {
				if err == nil {
					t.Fatalf("%s fits in the old format: %s", r, data)
				}
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			var back Resource
			if err := json.Unmarshal(data, &back); err != nil {
				t.Fatalf("%s format: %v in %s", format, err, data)
			}
			if diff := cmp.Diff(r, back, exactly); diff != "" {
				t.Fatalf("%s format, %s (-want +got):\n%s", format, data, diff)
			}
			if back.Key() != r.Key() {
				t.Fatalf("%s format: key %s became %s", format, r.Key(), back.Key())
			}
		}
	})
}

func TestGeneratedResourcesAreValid(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		if err := drawResource(t, 3).Validate(); err != nil {
			t.Fatal(err)
		}
	})
}
