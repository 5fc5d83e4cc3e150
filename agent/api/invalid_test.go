package api

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tenon/agent/volume"
)

// res makes the JSON of a resource: disk of web with parts taken away, replaced or added.
// A value of "" takes the part away.
func res(change ...string) string {
	parts := map[string]string{
		"name": `"disk"`, "type": `"SCALAR"`, "scalar": `{"value":64}`,
		"reservations": `[{"type":"DYNAMIC","role":"web"}]`,
	}
	return object(parts, change)
}

// vol makes the JSON of a resource that CREATE would take.
func vol(change ...string) string {
	return res(append([]string{"disk", disk()}, change...)...)
}

// disk makes the JSON of the DiskInfo of a volume.
func disk(change ...string) string {
	return object(map[string]string{
		"persistence": `{"id":"new"}`, "volume": `{"container_path":"data","mode":"RW"}`,
	}, change)
}

func object(parts map[string]string, change []string) string {
	for pair := range slices.Chunk(change, 2) {
		parts[pair[0]] = pair[1]
	}
	var fields []string
	for _, name := range slices.Sorted(maps.Keys(parts)) {
		if parts[name] != "" {
			fields = append(fields, fmt.Sprintf("%q:%s", name, parts[name]))
		}
	}
	return "{" + strings.Join(fields, ",") + "}"
}

func op(verb string, resources ...string) string {
	list := map[string]string{"RESERVE": "resources", "UNRESERVE": "resources", "CREATE": "volumes", "DESTROY": "volumes"}[verb]
	return fmt.Sprintf(`{"type":%q,%q:{%q:[%s]}}`, verb, strings.ToLower(verb), list, strings.Join(resources, ","))
}

// inDisk is vol with another DiskInfo.
func inDisk(change ...string) string { return vol("disk", disk(change...)) }

func id(s string) string { return inDisk("persistence", fmt.Sprintf(`{"id":%q}`, s)) }

func at(path string) string {
	return inDisk("volume", fmt.Sprintf(`{"container_path":%q,"mode":"RW"}`, path))
}

func role(s string) string { return fmt.Sprintf(`[{"type":"DYNAMIC","role":%q}]`, s) }

const (
	onD2 = `{"source":{"type":"PATH","path":{"root":"/mnt/d2"}}}`
	// existing is the volume web/data as fixture.withVolumes made it.
	sharedData = `{"name":"disk","type":"SCALAR","scalar":{"value":1024},"reservations":[{"type":"DYNAMIC","role":"web"}],` +
		`"disk":{"persistence":{"id":"data"},"volume":{"container_path":"data","mode":"RW"}},"shared":{}}`
)

// invalidOperations are requests of spec.md sections 1 and 3 that cannot be granted,
// with what each is answered: a status, a kind and a part of the sentence.
var invalidOperations = []struct {
	name, body string
	status     int
	kind, want string
}{
	// What there is to ask for at all (spec.md 3.1).
	{"unknown type", `{"type":"BOIL","boil":{}}`, 400, "invalid", `unknown`},
	{"no type", `{"reserve":{"resources":[` + res() + `]}}`, 400, "invalid", `"type" is not set`},
	{"no body", `{"type":"CREATE"}`, 400, "invalid", "'create' is not set"},
	{"another body", `{"type":"CREATE","destroy":{"volumes":[` + vol() + `]}}`, 400, "invalid", "create"},
	{"no resources", `{"type":"CREATE","create":{"volumes":[]}}`, 400, "invalid", "contains no resources"},
	{"unknown field", op("CREATE", vol("colour", `"red"`)), 400, "invalid", `unknown field "colour"`},
	// GROW_VOLUME, SHRINK_VOLUME and RESERVE with a source (spec.md 3.4, 3.8, 3.9).
	{"grow by what is not reserved", `{"type":"GROW_VOLUME","grow_volume":{"volume":` + sharedData + `,"addition":` + res("reservations", "") + `}}`, 400, "invalid", "Incompatible resources"},
	{"grow by nothing", `{"type":"GROW_VOLUME","grow_volume":{"volume":` + sharedData + `,"addition":` + res("scalar", `{"value":0}`) + `}}`, 400, "invalid", "must be greater than zero"},
	{"grow by too much", `{"type":"GROW_VOLUME","grow_volume":{"volume":` + sharedData + `,"addition":` + res("scalar", `{"value":99999}`) + `}}`, 409, "insufficient", "does not contain"},
	{"grow what has another size", `{"type":"GROW_VOLUME","grow_volume":{"volume":` + strings.Replace(sharedData, "1024", "512", 1) + `,"addition":` + res() + `}}`, 404, "not_found", "does not contain"},
	{"shrink what a task holds", `{"type":"SHRINK_VOLUME","shrink_volume":{"volume":` + sharedData + `,"subtract":{"value":1}}}`, 409, "in_use", "Persistent volumes in use"},
	{"shrink to nothing", `{"type":"SHRINK_VOLUME","shrink_volume":{"volume":` + sharedData + `,"subtract":{"value":1024}}}`, 400, "invalid", "must be smaller than the size"},
	{"reserve from a source that is more", `{"type":"RESERVE","reserve":{"resources":[` + res() + `],"source":[` + res("reservations", "", "scalar", `{"value":65}`) + `]}}`, 400, "invalid", "identical resource quantities"},
	{"reserve from a source that is not there", `{"type":"RESERVE","reserve":{"resources":[` + res() + `],"source":[` + res("reservations", role("nobody")) + `]}}`, 409, "insufficient", "does not contain"},

	// Resources (spec.md 1.1, 1.3, 1.8).
	{"no name", op("RESERVE", res("name", "")), 400, "invalid", `"name" is not set`},
	{"empty name", op("RESERVE", res("name", `""`)), 400, "invalid", "Empty resource name"},
	{"not disk", op("RESERVE", res("name", `"cpus"`)), 400, "invalid", "not disk"},
	{"a set", op("RESERVE", res("type", `"SET"`, "scalar", "", "set", `{"item":["a"]}`)), 400, "invalid", "not disk"},
	{"text", op("RESERVE", res("type", `"TEXT"`)), 400, "invalid", "TEXT"},
	{"no scalar", op("RESERVE", res("scalar", "")), 400, "invalid", "scalar"},
	{"zero", op("RESERVE", res("scalar", `{"value":0}`)), 400, "invalid", "greater than zero"},
	{"negative", op("RESERVE", res("scalar", `{"value":-64}`)), 400, "invalid", "negative"},
	{"rounds to zero", op("RESERVE", res("scalar", `{"value":0.0004}`)), 400, "invalid", "zero"},
	{"not a number", op("RESERVE", res("scalar", `{"value":NaN}`)), 400, "invalid", "invalid character"},
	{"a number as text", op("RESERVE", res("scalar", `{"value":"64"}`)), 400, "invalid", "a number"},
	{"null", op("RESERVE", res("scalar", "null")), 400, "invalid", "null"},
	{"above all measure", op("RESERVE", res("scalar", `{"value":1e300}`)), 400, "invalid", "above"},
	{"unreserved", op("RESERVE", res("reservations", "")), 400, "invalid", "not dynamically reserved"},
	{"static", op("RESERVE", res("reservations", `[{"type":"STATIC","role":"web"}]`)), 400, "invalid", "not dynamically reserved"},
	{"role star", op("RESERVE", res("reservations", role("*"))), 400, "invalid", `role "*" cannot be reserved`},
	{"role with space", op("RESERVE", res("reservations", role("a b"))), 400, "invalid", "whitespace"},
	{"role that escapes", op("RESERVE", res("reservations", role("a/../b"))), 400, "invalid", "'..' as a component"},
	{"absolute role", op("RESERVE", res("reservations", role("/a"))), 400, "invalid", "start with a slash"},
	{"empty role", op("RESERVE", res("reservations", role(""))), 400, "invalid", "empty"},
	{"role that begins with a dash", op("RESERVE", res("reservations", role("-a"))), 400, "invalid", "dash"},
	{"endless role", op("RESERVE", res("reservations", role(strings.Repeat("r", 256)))), 400, "invalid", "longer than 255"},
	{"refinement to no sub-role", op("RESERVE", res("reservations", `[{"type":"DYNAMIC","role":"web"},{"type":"DYNAMIC","role":"db"}]`)), 400, "invalid", "refined"},
	{"both formats", op("RESERVE", res("role", `"web"`)), 400, "invalid", "Invalid resource format"},
	{"revocable", op("RESERVE", res("revocable", "{}")), 400, "invalid", "revocable"},
	{"of a provider", op("RESERVE", res("provider_id", `{"value":"p"}`)), 400, "invalid", "provider"},
	{"shared space", op("RESERVE", res("shared", "{}")), 400, "invalid", "Only persistent volumes can be shared"},
	{"empty DiskInfo", op("RESERVE", res("disk", "{}")), 400, "invalid", "DiskInfo is set but empty"},

	// RESERVE and UNRESERVE (spec.md 3.4, 3.5).
	{"more than there is", op("RESERVE", res("scalar", `{"value":2048.001}`)), 409, "insufficient", "does not contain"},
	{"more than there is, together", "[" + op("RESERVE", res("scalar", `{"value":2000}`)) + "," + op("RESERVE", res("scalar", `{"value":100}`)) + "]", 409, "insufficient", "does not contain"},
	{"a disk that is not there", op("RESERVE", res("disk", onD2)), 404, "not_found", "no disk PATH:/mnt/d2"},
	{"a volume reserved", op("RESERVE", sharedData), 400, "invalid", "persistent volume"},
	{"a volume unreserved", op("UNRESERVE", sharedData), 400, "invalid", "destroy the persistent volume first"},
	{"unreserve what is carved", op("UNRESERVE", res("scalar", `{"value":1024}`)), 409, "insufficient", "does not contain"},
	{"unreserve for another role", op("UNRESERVE", res("reservations", role("db"))), 409, "insufficient", "does not contain"},
	{"unreserve with another principal", op("UNRESERVE", res("reservations", `[{"type":"DYNAMIC","role":"web","principal":"p"}]`)), 409, "insufficient", "does not contain"},

	// CREATE (spec.md 1.5 to 1.7, 3.3, 3.6).
	{"of unreserved space", op("CREATE", vol("reservations", "")), 400, "invalid", "unreserved resources"},
	{"no persistence", op("CREATE", inDisk("persistence", "")), 400, "invalid", "Non-persistent volume not supported"},
	{"no DiskInfo", op("CREATE", res()), 400, "invalid", "does not have DiskInfo"},
	{"a source only", op("CREATE", vol("disk", `{"source":{"type":"PATH","path":{"root":"/mnt/d1"}}}`)), 400, "invalid", "'persistence' is not set"},
	{"no volume", op("CREATE", inDisk("volume", "")), 400, "invalid", "Expecting 'volume' to be set"},
	{"host path", op("CREATE", inDisk("volume", `{"container_path":"data","host_path":"/etc","mode":"RW"}`)), 400, "invalid", "'host_path' to be unset"},
	{"read-only", op("CREATE", inDisk("volume", `{"container_path":"data","mode":"RO"}`)), 400, "invalid", "Read-only persistent volume not supported"},
	{"no mode", op("CREATE", inDisk("volume", `{"container_path":"data"}`)), 400, "invalid", `"mode" is not set`},
	{"another mode", op("CREATE", inDisk("volume", `{"container_path":"data","mode":"WO"}`)), 400, "invalid", "WO"},
	{"empty id", op("CREATE", id("")), 400, "invalid", "ID must not be empty"},
	{"id dot dot", op("CREATE", id("..")), 400, "invalid", "'..' is disallowed"},
	{"id with slash", op("CREATE", id("a/b")), 400, "invalid", "invalid characters"},
	{"id with control character", op("CREATE", id(`a\nb`)), 400, "invalid", "invalid characters"},
	{"endless id", op("CREATE", id(strings.Repeat("i", 256))), 400, "invalid", "greater than 255"},
	{"no container path", op("CREATE", at("")), 400, "invalid", "container_path"},
	{"absolute container path", op("CREATE", at("/etc")), 400, "invalid", "relative to the sandbox"},
	{"container path that escapes", op("CREATE", at("../../etc")), 400, "invalid", "must be clean"},
	{"container path that escapes inside", op("CREATE", at("a/../../etc")), 400, "invalid", "must be clean"},
	{"container path dot", op("CREATE", at(".")), 400, "invalid", "must be clean"},
	{"container path of the sandbox's own", op("CREATE", at("stdout")), 400, "invalid", "taken by the sandbox"},
	{"id that exists", op("CREATE", inDisk("persistence", `{"id":"data"}`)), 409, "exists", "is not unique"},
	{"the same volume again", op("CREATE", sharedData), 409, "exists", "is not unique"},
	{"the same id twice", op("CREATE", vol(), vol()), 409, "exists", "is not unique"},
	{"the same id on another disk", op("CREATE", id("data")), 409, "exists", "is not unique"},
	{"too large", op("CREATE", vol("scalar", `{"value":1024}`)), 409, "insufficient", "does not contain"},
	{"too large, together", op("CREATE", vol("scalar", `{"value":1000}`), strings.Replace(vol("scalar", `{"value":1000}`), "new", "newer", 1)), 409, "insufficient", "does not contain"},
	{"for a role with nothing", op("CREATE", vol("reservations", role("db"))), 409, "insufficient", "does not contain"},
	{"with other labels", op("CREATE", vol("reservations", `[{"type":"DYNAMIC","role":"web","labels":{"labels":[{"key":"k"}]}}]`)), 409, "insufficient", "does not contain"},
	{"on a disk with nothing reserved", op("CREATE", inDisk("source", `{"type":"PATH","path":{"root":"/mnt/d1"}}`)), 409, "insufficient", "does not contain"},
	{"on a disk that is not there", op("CREATE", inDisk("source", `{"type":"PATH","path":{"root":"/mnt/d2"}}`)), 404, "not_found", "no disk"},
	{"on a raw disk", op("CREATE", inDisk("source", `{"type":"RAW"}`)), 404, "not_found", "no disk"},
	{"the second is bad", op("CREATE", vol(), id("..")), 400, "invalid", "disallowed"},
	{"the second operation is bad", "[" + op("CREATE", vol()) + "," + op("DESTROY", id("other")) + "]", 404, "not_found", "not found"},

	// DESTROY (spec.md 3.7).
	{"a volume that is not there", op("DESTROY", vol()), 404, "not_found", "Persistent volumes not found"},
	{"one of another size", op("DESTROY", strings.Replace(sharedData, "1024", "1023", 1)), 404, "not_found", "Persistent volumes not found"},
	{"one of another role", op("DESTROY", strings.Replace(sharedData, `"web"`, `"db"`, 1)), 404, "not_found", "Persistent volumes not found"},
	{"one that is not shared", op("DESTROY", strings.Replace(sharedData, `,"shared":{}`, "", 1)), 404, "not_found", "Persistent volumes not found"},
	{"read-only", op("DESTROY", strings.Replace(sharedData, "RW", "RO", 1)), 400, "invalid", "Read-only"},
	{"space", op("DESTROY", res()), 400, "invalid", "does not have DiskInfo"},
	{"one that is in use", op("DESTROY", sharedData), 409, "in_use", "held by task holder"},
	{"one before another that is in use", op("DESTROY", strings.Replace(vol("scalar", `{"value":1}`), "new", "alone", 1), sharedData), 409, "in_use", "held by task holder"},
}

func TestEveryInvalidOperationChangesNothing(t *testing.T) {
	t.Parallel()
	f, a, _ := running(t)
	f.withVolumes()
	f.must(200, "POST", "/v1/tasks/holder/attachments", `{"volume":"web/data"}`, nil)
	before := a.State()
	for _, tc := range invalidOperations {
		p := f.problem(tc.status, tc.kind, "POST", "/v1/operations", tc.body)
		if !strings.Contains(p.Detail, tc.want) || strings.ContainsAny(p.Detail, "\n") || len(p.Detail) > 600 {
			t.Errorf("%s: told %q, want one sentence with %q", tc.name, p.Detail, tc.want)
		}
		after := a.State()
		if after.Version != before.Version {
			t.Errorf("%s: version %d became %d", tc.name, before.Version, after.Version)
		}
		if diff := cmp.Diff(stored(t, before), stored(t, after)); diff != "" {
			t.Fatalf("%s has changed the state (-before +after):\n%s", tc.name, diff)
		}
	}
	// The requests above were refused for what is wrong with them: without it, they are taken.
	f.must(200, "POST", "/v1/operations", "["+op("RESERVE", res())+","+op("CREATE", vol())+","+op("DESTROY", vol())+","+op("UNRESERVE", res())+"]", nil)
}

// stored is all that a state keeps, as the journal would have it.
func stored(t *testing.T, s *volume.State) (list []string) {
	t.Helper()
	for c := range s.Snapshot() {
		data, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, string(data))
	}
	slices.Sort(list)
	return list
}

func TestInvalidRequestsForVolumesAndTasksChangeNothing(t *testing.T) {
	t.Parallel()
	f, a, _ := running(t)
	f.withVolumes()
	f.must(200, "POST", "/v1/tasks/holder/attachments", `{"volume":"web/alone"}`, nil)
	before := stored(t, a.State())
	for _, tc := range []struct {
		method, path, body string
		status             int
		kind               string
	}{
		{"POST", "/v1/volumes", `{"role":"web","id":"data","size":1}`, 409, "exists"},
		{"POST", "/v1/volumes", `{"role":"web","id":"a/b","size":1}`, 400, "invalid"},
		{"POST", "/v1/volumes", `{"role":"a b","id":"v","size":1}`, 400, "invalid"},
		{"POST", "/v1/volumes", `{"role":"db","id":"v","size":1}`, 409, "insufficient"},
		{"POST", "/v1/volumes", `{"role":"web","id":"v","size":9223372036854775807}`, 409, "insufficient"},
		{"POST", "/v1/volumes", `{"role":"web","id":"v","size":9223372036854775808}`, 400, "invalid"},
		{"POST", "/v1/volumes", `{"role":"web","id":"v","size":1,"container_path":"../x"}`, 400, "invalid"},
		{"POST", "/v1/volumes", `{"role":"web","id":"v","size":1,"mode":"rwx"}`, 400, "invalid"},
		{"POST", "/v1/volumes", `{"role":"web","id":"v","size":1,"disk":"/mnt/d2"}`, 404, "not_found"},
		{"POST", "/v1/tasks", `{"task":"a/b"}`, 400, "invalid"},
		{"POST", "/v1/tasks", `{"task":"t1","pid":-1}`, 400, "invalid"},
		{"POST", "/v1/tasks", `{"task":"t1","pid":999999}`, 400, "invalid"},
		{"POST", "/v1/tasks", `{"task":"t1","sandbox":"relative"}`, 400, "invalid"},
		{"POST", "/v1/tasks", `{"task":"t1","volumes":[{"volume":"web/data"},{"volume":"web/none"}]}`, 404, "not_found"},
		{"POST", "/v1/tasks", `{"task":"t1","volumes":[{"volume":"web/data"},{"volume":"web/alone"}]}`, 409, "in_use"},
		{"POST", "/v1/tasks", `{"task":"t1","volumes":[{"volume":"web/data","mode":"rw"}]}`, 400, "invalid"},
		{"POST", "/v1/tasks", `{"task":"t1","volumes":[{"volume":"web/data","path":"/abs"}]}`, 400, "invalid"},
		{"POST", "/v1/tasks/t1/attachments", `{"volume":"web/alone"}`, 409, "in_use"},
		{"POST", "/v1/tasks/t1/mounts", `{"volume":"web/alone"}`, 409, "in_use"},
		{"POST", "/v1/tasks/holder/attachments", `{"volume":"web/alone","mode":"RO"}`, 409, "exists"},
		{"POST", "/v1/tasks/holder/attachments", `{"volume":"web/data","path":"a"}`, 409, "exists"},
		{"DELETE", "/v1/tasks/none", "", 404, "not_found"},
		{"DELETE", "/v1/tasks/holder/attachments?volume=web/data", "", 404, "not_found"},
		{"DELETE", "/v1/tasks/holder/attachments?volume=web/alone&path=c", "", 404, "not_found"},
		{"DELETE", "/v1/volumes/web/none", "", 404, "not_found"},
		{"DELETE", "/v1/volumes/web/alone", "", 409, "in_use"},
	} {
		f.problem(tc.status, tc.kind, tc.method, tc.path, tc.body)
		if diff := cmp.Diff(before, stored(t, a.State())); diff != "" {
			t.Fatalf("%s %s %s has changed the state (-before +after):\n%s", tc.method, tc.path, tc.body, diff)
		}
	}
}
