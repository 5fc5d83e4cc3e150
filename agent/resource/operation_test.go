package resource

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// ads is the reservation of the fixtures.
func ads(mib int) Resource {
	r := disk(mib, "ads")
	r.Reservations[0].Principal = ptr("ops")
	return r
}

func adsVolume(mib int, id string) Resource {
	r := ads(mib).volume(id, "data")
	r.Disk.Persistence.Principal = ptr("ops")
	return r
}

// fixtureOperations says what each file of testdata/mesos holds.
func fixtureOperations() map[string][]Operation {
	shared := adsVolume(2048, "shared-data").shared()
	reserve := Operation{Type: OpReserve, Reserve: &Reserve{Resources: []Resource{ads(2048)}}}
	create := Operation{Type: OpCreate, Create: &Create{Volumes: []Resource{shared}}}
	onPath := adsVolume(2048, "on-path").on(SourcePath, "/mnt/d1").shared()
	onMount := adsVolume(4096, "on-mount").on(SourceMount, "/mnt/d2")
	return map[string][]Operation{
		"reserve-2048":      {reserve},
		"create-shared":     {create},
		"ops":               {reserve, create},
		"create-exclusive":  {{Type: OpCreate, Create: &Create{Volumes: []Resource{adsVolume(2048, "scratch")}}}},
		"destroy-shared":    {{Type: OpDestroy, Destroy: &Destroy{Volumes: []Resource{shared}}}},
		"unreserve":         {{Type: OpUnreserve, Unreserve: &Unreserve{Resources: []Resource{ads(2048)}}}},
		"create-path-mount": {{Type: OpCreate, ID: "op-1", Create: &Create{Volumes: []Resource{onPath, onMount}}}},
		"grow-shrink": {
			{Type: OpGrowVolume, ID: "grow-1", GrowVolume: &GrowVolume{Volume: adsVolume(2048, "scratch"), Addition: ads(512)}},
			{Type: OpShrinkVolume, ID: "shrink-1", ShrinkVolume: &ShrinkVolume{Volume: adsVolume(2560, "scratch"), Subtract: 512 * One}},
		},
	}
}

func TestEveryFixtureReadsAsWhatItSays(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(fixtures, "*.json"))
	if err != nil || len(files) < 10 {
		t.Fatalf("%d fixtures, %v", len(files), err)
	}
	wants := fixtureOperations()
	for _, file := range files {
		name := filepath.Base(file)
		if name == "captures.json" {
			continue
		}
		want, ok := wants[strings.TrimSuffix(strings.TrimSuffix(name, ".json"), "-new")]
		if !ok {
			t.Errorf("%s: nobody says what it holds", name)
		}
		got, err := ParseOperations(mustRead(t, name))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got, exactly); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		for _, o := range got {
			if err := ValidateList(o.Resources()); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestOperationsReadBackExactly(t *testing.T) {
	t.Parallel()
	moved := Operation{Type: OpReserve, ID: "move", Reserve: &Reserve{Resources: []Resource{disk(1, "a")}, Source: []Resource{disk(1, "b")}}}
	all := append(launchOperations(t), moved)
	for _, operations := range fixtureOperations() {
		all = append(all, operations...)
	}
	data, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	for form, text := range map[string]string{"list": string(data), "body": `{"operations":` + string(data) + `}`, "spaced": "\n " + string(data) + "\n"} {
		back, err := ParseOperations([]byte(text))
		if err != nil {
			t.Fatalf("%s: %v", form, err)
		}
		if diff := cmp.Diff(all, back, exactly); diff != "" {
			t.Errorf("%s (-want +got):\n%s", form, diff)
		}
	}
	for _, o := range all {
		data, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		back, err := ParseOperations(data)
		if err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		if diff := cmp.Diff([]Operation{o}, back, exactly); diff != "" {
			t.Errorf("%s (-want +got):\n%s", data, diff)
		}
	}
}

func TestOperationsThatAreNotOneThingAreRefused(t *testing.T) {
	t.Parallel()
	const r = `{"name":"disk","type":"SCALAR","scalar":{"value":1}}`
	const known = "known are RESERVE, UNRESERVE, CREATE, DESTROY, GROW_VOLUME, SHRINK_VOLUME, LAUNCH, LAUNCH_GROUP"
	for text, fragment := range map[string]string{
		``:                                  "unexpected EOF",
		`null`:                              "is null, want an object",
		`{}`:                                `field "type" is not set`,
		`7`:                                 "is a number, want an object",
		`[7]`:                               "[0]: is a number, want an object",
		`{"operations":{}}`:                 "operations: is an object, want a list",
		`{"operations":[],"x":1}`:           `unknown field "x"`,
		`{"operations":[],"operations":[]}`: "occurs twice",
		`[] []`:                             "something follows",
		`{"type":""}`:                       `operation type "" is unknown; ` + known,
		`{"type":"reserve"}`:                `operation type "reserve" is unknown; ` + known,
		`{"type":"CALL","call":{}}`:         `operation type "CALL" is unknown; ` + known,
		`[{"type":"CALL","call":{}}]`:       `operation type "CALL" is unknown; ` + known,
		`{"operations":[{"type":"CREATE_DISK","create_disk":{}}]}`: `operation type "CREATE_DISK" is unknown; ` + known,
		`{"type":"RESERVE"}`:                                                  "operation RESERVE: 'reserve' is not set",
		`{"type":"GROW_VOLUME"}`:                                              "operation GROW_VOLUME: 'grow_volume' is not set",
		`{"type":"RESERVE","reserve":{}}`:                                     `reserve: field "resources" is not set`,
		`{"type":"RESERVE","reserve":{"resources":[]}}`:                       "operation RESERVE: Operation contains no resources",
		`{"type":"RESERVE","reserve":{"resources":[` + r + `],"volumes":[]}}`: "reserve: unknown field \"volumes\"",
		`{"type":"RESERVE","reserve":{"resources":[` + r + `]},"create":{"volumes":[` + r + `]}}`:              "operation RESERVE: 'create' must not be set",
		`{"type":"UNRESERVE","reserve":{"resources":[` + r + `]}}`:                                             "operation UNRESERVE: 'reserve' must not be set",
		`{"type":"SHRINK_VOLUME","shrink_volume":{"volume":` + r + `}}`:                                        `field "subtract" is not set`,
		`{"type":"SHRINK_VOLUME","shrink_volume":{"volume":` + r + `,"subtract":{"value":-1}}}`:                "shrink_volume.subtract: value <= 0",
		`{"type":"SHRINK_VOLUME","shrink_volume":{"volume":` + r + `,"subtract":{"value":1}},"id":{}}`:         `id: field "value" is not set`,
		`{"type":"GROW_VOLUME","grow_volume":{"volume":` + r + `,"addition":{"name":"x","type":"SCALAR"}}}`:    "grow_volume.addition: Resource 'x:0' is invalid",
		`{"type":"GROW_VOLUME","grow_volume":{"addition":` + r + `,"volume":{"name":"x","type":"SCALAR"}}}`:    "grow_volume.volume: Resource 'x:0' is invalid",
		`{"type":"SHRINK_VOLUME","shrink_volume":{"volume":{"name":"x","type":"SET"},"subtract":{"value":1}}}`: "shrink_volume.volume: Resource",
		`{"type":"CREATE","create":{"volumes":[` + r + `,{"name":"x","type":"SET"}]}}`:                         "create.volumes[1]: Resource",
		`{"type":"DESTROY","destroy":{"volumes":[{"name":"x","type":"SET"}]}}`:                                 "destroy.volumes[0]: Resource",
		`{"type":"UNRESERVE","unreserve":{"resources":[{"name":"x","type":"SET"}]}}`:                           "unreserve.resources[0]: Resource",
		`{"type":"RESERVE","reserve":{"resources":[` + r + `],"source":[{"name":"x","type":"SET"}]}}`:          "reserve.source[0]: Resource",
		`[{"type":"RESERVE","reserve":{"resources":[` + r + `]}},{"type":"RESERVE"}]`:                          "operations[1]: operation RESERVE",
		`[{"type":"RESERVE","reserve":{"resources":[` + r[:len(r)-1] + `,"Disk":{}}]}}]`:                       `[0]: reserve: resources: [0]: unknown field "Disk"`,
	} {
		_, err := ParseOperations([]byte(text))
		refused(t, text, err, fragment)
	}
}

func TestAnInvalidOperationIsNotWritten(t *testing.T) {
	t.Parallel()
	for _, o := range []Operation{{}, {Type: "CALL"}, {Type: OpLaunch}, {Type: OpReserve}, {Type: OpReserve, Reserve: &Reserve{}},
		{Type: OpReserve, Reserve: &Reserve{Resources: []Resource{ads(1)}}, Create: &Create{}}} {
		if data, err := json.Marshal(o); err == nil {
			t.Errorf("%+v was written as %s", o, data)
		}
	}
}
