package main

import (
	"strings"
	"testing"

	"tenon/agent/resource"
)

// described is what op apply says of operations in JSON, a line for each.
func described(t *testing.T, text string) string {
	t.Helper()
	ops, err := resource.ParseOperations([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, op := range ops {
		lines = append(lines, describeOperation(op))
	}
	return strings.Join(lines, "\n")
}

// Parts of operations in JSON.
const (
	webDisk   = `{"name": "disk", "type": "SCALAR", "scalar": {"value": 64}, "role": "web", "reservation": {}}`
	dbDisk    = `{"name": "disk", "type": "SCALAR", "scalar": {"value": 64}, "role": "db", "reservation": {}}`
	webVolume = `{"name": "disk", "type": "SCALAR", "scalar": {"value": 64}, "role": "web", "reservation": {}, "shared": {},
		"disk": {"persistence": {"id": "data"}, "volume": {"container_path": "x", "mode": "RO"},
		"source": {"type": "MOUNT", "mount": {"root": "/mnt/d"}}}}`
	cpus = `{"name": "cpus", "type": "SCALAR", "scalar": {"value": 1}}`
)

func TestEveryTypeOfOperationIsDescribed(t *testing.T) {
	t.Parallel()
	task := func(id, resources string) string {
		return `{"name": "t", "task_id": {"value": "` + id + `"}, "resources": [` + resources + `]}`
	}
	for want, text := range map[string]string{
		"reserve 64 MiB of disk root for role web, 64 MiB of disk root for role db":            `{"type": "RESERVE", "reserve": {"resources": [` + webDisk + `,` + dbDisk + `]}}`,
		"reserve 64 MiB of disk root for role web, of what is reserved for role db":            `{"type": "RESERVE", "reserve": {"resources": [` + webDisk + `], "source": [` + dbDisk + `]}}`,
		"unreserve 64 MiB of disk root for role db":                                            `{"type": "UNRESERVE", "unreserve": {"resources": [` + dbDisk + `]}}`,
		"create volume web/data (64 MiB, shared) on disk MOUNT:/mnt/d":                         `{"type": "CREATE", "create": {"volumes": [` + webVolume + `]}}`,
		"destroy volume web/data (64 MiB, shared) on disk MOUNT:/mnt/d":                        `{"type": "DESTROY", "destroy": {"volumes": [` + webVolume + `]}}`,
		"grow volume web/data by 64 MiB to 128 MiB on disk MOUNT:/mnt/d":                       `{"type": "GROW_VOLUME", "grow_volume": {"volume": ` + webVolume + `, "addition": ` + webDisk + `}}`,
		"shrink volume web/data by 4 MiB to 60 MiB on disk MOUNT:/mnt/d":                       `{"type": "SHRINK_VOLUME", "shrink_volume": {"volume": ` + webVolume + `, "subtract": {"value": 4}}}`,
		"shrink what is no volume by 64 MiB to 0 B on disk root":                               `{"type": "SHRINK_VOLUME", "shrink_volume": {"volume": ` + webDisk + `, "subtract": {"value": 64}}}`,
		"launch task a with volume web/data ro at x; task b":                                   `{"type": "LAUNCH", "launch": {"task_infos": [` + task("a", cpus+","+webVolume) + `,` + task("b", cpus) + `]}}`,
		"launch as a group task a with volume web/data ro at x, volume web/data ro at x":       `{"type": "LAUNCH_GROUP", "launch_group": {"executor": {"executor_id": {"value": "e"}}, "task_group": {"tasks": [` + task("a", webVolume+","+webVolume) + `]}}}`,
		"unreserve 64 MiB of disk root for role db\nunreserve 64 MiB of disk root for role db": `[{"type": "UNRESERVE", "unreserve": {"resources": [` + dbDisk + `]}}, {"type": "UNRESERVE", "unreserve": {"resources": [` + dbDisk + `]}}]`,
	} {
		if got := described(t, text); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
