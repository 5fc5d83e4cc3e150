package wire_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/agent/wire"
)

var update = flag.Bool("update", false, "write the golden files")

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const mountedDisk = "/mnt/d1"

func pathSource() *resource.Source {
	root := mountedDisk
	return &resource.Source{Type: resource.SourcePath, Path: &resource.Root{Root: &root}}
}

func stack(roles ...string) (list []resource.Reservation) {
	for _, r := range roles {
		list = append(list, resource.Reservation{Type: resource.Dynamic, Role: r})
	}
	return list
}

func aVolume(n int, name volume.Name, phase volume.Phase) *volume.Volume {
	return &volume.Volume{
		UUID: volume.UUID(fmt.Sprintf("00000000-0000-4000-8000-%012d", n)), Name: name, Reservations: stack(name.Role),
		ContainerPath: "data", Size: 512 * resource.One, Shared: true, Owner: volume.Owner{UID: 1000, GID: 100, Mode: 0o2770},
		Phase: phase, Created: noon,
	}
}

// example is a state with something of everything in it.
func example() *volume.State {
	shared := aVolume(1, volume.Name{Role: "web", ID: "shared"}, volume.Ready)
	alone := aVolume(2, volume.Name{Role: "web", ID: "alone"}, volume.Ready)
	alone.Shared = false
	lost := aVolume(3, volume.Name{Role: "web", ID: "lost"}, volume.Ready)
	away := aVolume(4, volume.Name{Role: "db/main", ID: "away"}, volume.Ready)
	away.Disk = pathSource().Key()
	making := aVolume(5, volume.Name{Role: "web", ID: "making"}, volume.Creating)
	ending := aVolume(6, volume.Name{Role: "web", ID: "ending"}, volume.Destroying)
	fault := func(u volume.Unit, kind error, reason string) volume.Change {
		return volume.Change{Fault: &volume.FaultOf{Unit: u, Fault: volume.Fault{Kind: kind, Reason: reason, Since: noon}}}
	}
	use := func(v *volume.Volume, task, path string, mode resource.Mode, via volume.Via) volume.Change {
		return volume.Change{Attachment: &volume.Attachment{Volume: v.UUID, Task: task, Path: path, Mode: mode, Via: via, Since: noon}}
	}
	task := func(id string, lease volume.Lease) volume.Change {
		return volume.Change{Task: &volume.Task{ID: id, Sandbox: "/sandboxes/" + id, Own: id == "reader", Lease: lease, Since: noon}}
	}
	return volume.Empty().With(
		volume.Change{Agent: "11111111-1111-4111-8111-111111111111"}, volume.Change{Boot: "boot-1"},
		volume.Change{Disk: &volume.Disk{Total: 8192 * resource.One, Pool: "pool-0", Phase: volume.Ready}},
		volume.Change{Disk: &volume.Disk{Key: pathSource().Key(), Source: pathSource(), Total: 1024 * resource.One, Pool: "pool-1", Phase: volume.Ready}},
		volume.Change{Account: &volume.Account{Free: 4096 * resource.One}},
		volume.Change{Account: &volume.Account{Reservations: stack("web"), Free: 1536 * resource.One}},
		volume.Change{Account: &volume.Account{Disk: pathSource().Key(), Reservations: stack("db", "db/main"), Free: 512 * resource.One}},
		volume.Change{Volume: shared}, volume.Change{Volume: alone}, volume.Change{Volume: lost},
		volume.Change{Volume: away}, volume.Change{Volume: making}, volume.Change{Volume: ending},
		task("writer", volume.Lease{PID: 42, Start: 4711, Cgroup: "/tenon/writer"}), task("reader", volume.Lease{PID: 43, Start: 4712}),
		task("batch-1", volume.Lease{}), task("batch-2", volume.Lease{}),
		use(shared, "writer", "data", resource.RW, volume.ByPath), use(shared, "writer", "also/here", resource.RO, volume.ByPath),
		use(shared, "reader", "data", resource.RO, volume.ByDescriptor),
		use(shared, "batch-1", "data", resource.RO, volume.Claimed), use(shared, "batch-2", "data", resource.RO, volume.Claimed),
		use(alone, "writer", "mine", resource.RW, volume.Claimed),
		fault(volume.UnitOfDisk(pathSource().Key()), volume.ErrUnavailable, "its pool pool-1 is not there (is the disk mounted?)"),
		fault(volume.UnitOfVolume(lost.UUID), volume.ErrLost, "its directory is gone"),
		fault(volume.UnitOfVolume(away.UUID), volume.ErrUnavailable, "its disk is not there"),
		fault(volume.Unit{Kind: volume.AttachmentUnit, Volume: shared.UUID, Task: "writer", Path: "data"}, volume.ErrBusy, "data is busy"),
	)
}

func TestTheFormatIsTheOneInTheGoldenFiles(t *testing.T) {
	t.Parallel()
	s := example()
	writer, _ := s.Task("writer")
	about := wire.About{Version: "1.0.0", Started: noon}
	ill := about
	ill.Health = &volume.Error{Kind: volume.ErrJournal, Message: "the journal has failed"}
	inUse := &volume.Error{Kind: volume.ErrInUse, Message: "destroy web/shared: held by task writer (pid 42)", Holders: s.Holders(aVolume(1, volume.Name{}, "").UUID)}
	for name, v := range map[string]any{
		"status.json":          wire.StatusOf(s, about),
		"status_ill.json":      wire.StatusOf(volume.Empty(), ill),
		"volumes.json":         wire.VolumesOf(s, volume.Name{}, 100, nil),
		"volumes_page.json":    wire.VolumesOf(s, volume.Name{Role: "web", ID: "alone"}, 1, nil),
		"volumes_none.json":    wire.VolumesOf(volume.Empty(), volume.Name{}, 100, nil),
		"volume_ending.json":   volumeNumbered(t, s, 6),
		"task.json":            wire.TaskOf(s, writer, nil),
		"tasks_page.json":      wire.TasksOf(s, "batch-1", 1, nil),
		"problem.json":         wire.ProblemOf(inUse),
		"create_volume.json":   wire.CreateVolume{Role: "web", ID: "data", Size: 1 << 30, Shared: true, UID: 1000, GID: 100, Mode: "2770"},
		"claim.json":           wire.Claim{Task: "t1", PID: 42, Volumes: []wire.Use{{Volume: "web/data", Path: "data", Mode: resource.RO}}},
		"attach.json":          wire.Attach{Use: wire.Use{Volume: "web/data"}, Sandbox: "/sandboxes/t1"},
		"applied.json":         wire.AppliedOf(withOperations(), []resource.Operation{{ID: "making"}, {}, {ID: "made"}}, true),
		"operation.json":       operationNamed(t, withOperations(), "with"),
		"operations.json":      operationsPage(t, withOperations(), "", true, 2),
		"operations_none.json": operationsPage(t, volume.Empty(), "", false, 10),
		"resize_volume.json":   wire.ResizeVolume{Size: 1 << 30},
		"resources.json":       wire.ResourcesOf(withHost(), "", true, nil),
		"resources_web.json":   wire.ResourcesOf(withHost(), "web", false, nil),
		"resources_none.json":  wire.ResourcesOf(volume.Empty(), "", true, nil),
		"call_answer.json":     wire.CallOperationsOf(withOperations(), nil),
		"call_none.json":       wire.CallOperationsOf(volume.Empty(), nil),
		"operations_out.json":  wire.Operations{Operations: mesosOperations(t)},
	} {
		got, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		golden(t, name, append(got, '\n'))
	}
}

func TestADiskThatIsNoLongerConfiguredIsAsLargeAsWhatItHolds(t *testing.T) {
	t.Parallel()
	s := example()
	d, _ := s.Disk(pathSource().Key())
	s = s.With(volume.Change{Disk: &volume.Disk{Key: d.Key, Pool: d.Pool, Phase: d.Phase, Absent: true}})
	for _, disk := range wire.StatusOf(s, wire.About{}).Disks {
		if disk.Key == d.Key && (disk.Total != 1<<30 || disk.Reserved != 1<<30 || disk.Carved != 1<<29 || disk.Free != 0) {
			t.Errorf("got %+v, want 1 GiB, all reserved, half of it carved", disk)
		}
	}
}

func TestTheFaultsOfAStatusAreBoundedAndCounted(t *testing.T) {
	t.Parallel()
	s := volume.Empty()
	for n := range 150 {
		f := volume.FaultOf{Unit: volume.UnitOfTask(fmt.Sprint(n)), Fault: volume.Fault{Kind: volume.ErrFailed, Reason: "why"}}
		s = s.With(volume.Change{Fault: &f})
	}
	st := wire.StatusOf(s, wire.About{})
	if len(st.Faults) != 100 || st.Counts.Faults != 150 {
		t.Errorf("%d of %d faults, want 100 of 150", len(st.Faults), st.Counts.Faults)
	}
}

func TestEveryPageOfAListTogetherIsTheWholeList(t *testing.T) {
	t.Parallel()
	s := example()
	var names []string
	for after := (volume.Name{}); ; {
		page := wire.VolumesOf(s, after, 2, nil)
		for _, v := range page.Volumes {
			names = append(names, v.Name)
		}
		if page.Next == "" {
			break
		}
		after, _ = volume.ParseName(page.Next)
	}
	if diff := cmp.Diff([]string{"db/main/away", "web/alone", "web/lost", "web/making", "web/shared"}, names); diff != "" {
		t.Errorf("volumes (-want +got):\n%s", diff)
	}
	var ids []string
	for after := ""; ; {
		page := wire.TasksOf(s, after, 3, nil)
		for _, task := range page.Tasks {
			ids = append(ids, task.ID)
		}
		if after = page.Next; after == "" {
			break
		}
	}
	if diff := cmp.Diff([]string{"batch-1", "batch-2", "reader", "writer"}, ids); diff != "" {
		t.Errorf("tasks (-want +got):\n%s", diff)
	}
}

func volumeNumbered(t *testing.T, s *volume.State, n int) wire.Volume {
	t.Helper()
	v, err := s.Find(string(aVolume(n, volume.Name{}, "").UUID))
	if err != nil {
		t.Fatal(err)
	}
	return wire.VolumeOf(s, v)
}

func mesosOperations(t *testing.T) []resource.Operation {
	t.Helper()
	data, err := os.ReadFile("testdata/operations_in.json")
	if err != nil {
		t.Fatal(err)
	}
	ops, err := resource.ParseOperations(data)
	if err != nil {
		t.Fatal(err)
	}
	return ops
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s differs (-want +got), -update writes it anew:\n%s", name, diff)
	}
}

func TestWhatIsWrittenReadsBackTheSame(t *testing.T) {
	t.Parallel()
	claim := wire.Claim{Task: "t1", Sandbox: "/s/t1", PID: 7, Cgroup: true, Volumes: []wire.Use{{Volume: "web/data", Path: "d", Mode: resource.RO}}}
	create := wire.CreateVolume{Role: "web", ID: "v", Size: 3, Shared: true, Disk: "d", ContainerPath: "c", UID: 1, GID: 2, Mode: "0700"}
	attach := wire.Attach{Use: claim.Volumes[0], Sandbox: "/s/t2"}
	ops := wire.Operations{Operations: mesosOperations(t)}
	for _, v := range []any{&claim, &create, &attach, &ops} {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		back := map[any]any{&claim: &wire.Claim{}, &create: &wire.CreateVolume{}, &attach: &wire.Attach{}, &ops: &wire.Operations{}}[v]
		if err := wire.Decode(data, back); err != nil {
			t.Errorf("Decode(%s): %v", data, err)
		} else if diff := cmp.Diff(v, back); diff != "" {
			t.Errorf("Decode(%s) (-want +got):\n%s", data, diff)
		}
	}
}

func TestDecodeRefusesWhatIsNotExactlyARequestAndNamesTheField(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		``:                             `the request cannot be read: it ends too early`,
		`{"task":"t`:                   `the request cannot be read: it ends too early`,
		`null`:                         `the request cannot be read: null is not a value here`,
		`[]`:                           `the request cannot be read: it is not an object`,
		`"t1"`:                         `the request cannot be read: it is not an object`,
		`{} {}`:                        `the request has something after its JSON value`,
		`{}x`:                          `the request has something after its JSON value`,
		"{\"task\":\"\xff\"}":          `the request is not valid UTF-8`,
		`{"tusk":"t1"}`:                `the request cannot be read: unknown field "tusk"`,
		`{"Task":"t1"}`:                `the request cannot be read: unknown field "Task"`,
		`{"task":"a","task":"b"}`:      `the request cannot be read: field "task" occurs twice`,
		`{"task":null}`:                `the request cannot be read: task: null is not a value here`,
		`{"task":1}`:                   `the request cannot be read: task: number is not a string`,
		`{"task":{}}`:                  `the request cannot be read: task: it is not a string`,
		`{"pid":"7"}`:                  `the request cannot be read: pid: string is not a whole number`,
		`{"pid":1.5}`:                  `the request cannot be read: pid: number 1.5 is not a whole number`,
		`{"cgroup":"yes"}`:             `the request cannot be read: cgroup: string is not true or false`,
		`{"volumes":{}}`:               `the request cannot be read: volumes: it is not a list`,
		`{"volumes":[{"mod":"RW"}]}`:   `the request cannot be read: volumes: [0]: unknown field "mod"`,
		`{"volumes":[{},{"path":[]}]}`: `the request cannot be read: volumes: [1]: path: it is not a string`,
		`{"task":tru}`:                 `the request cannot be read: invalid character 'u' in literal true (expecting 'e')`,
	} {
		err := wire.Decode([]byte(in), &wire.Claim{})
		if err == nil || !errors.Is(err, volume.ErrInvalid) {
			t.Errorf("Decode(%q) = %v, want ErrInvalid", in, err)
		} else if in != `{"task":tru}` && err.Error() != want {
			t.Errorf("Decode(%q) says %q, want %q", in, err, want)
		}
	}
}

func TestDecodeLetsTypesThatReadThemselvesNameTheirFields(t *testing.T) {
	t.Parallel()
	err := wire.Decode([]byte(`{"operations":[{"type":"CREATE","create":{"volumes":[{"nome":"disk"}]}}]}`), &wire.Operations{})
	if err == nil || !bytes.Contains([]byte(err.Error()), []byte(`unknown field "nome"`)) {
		t.Errorf("got %v, want an error that names the field", err)
	}
}

func FuzzDecodeNeverPanicsAndWhatItTakesReadsBack(f *testing.F) {
	f.Add([]byte(`{"task":"t1","pid":7,"volumes":[{"volume":"web/data","mode":"RO"}]}`))
	f.Add([]byte(`{"task":null}`))
	f.Add([]byte(`{"volumes":[[]]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var first, second wire.Claim
		if wire.Decode(data, &first) != nil {
			return
		}
		again, err := json.Marshal(first)
		if err != nil {
			t.Fatal(err)
		}
		if first.Volumes == nil {
			return // written as null, which is no list
		}
		if err := wire.Decode(again, &second); err != nil {
			t.Fatalf("%s was taken, %s is not: %v", data, again, err)
		}
		if diff := cmp.Diff(first, second, cmpopts.EquateEmpty()); diff != "" { // an empty list is left out
			t.Fatalf("%s reads back differently:\n%s", data, diff)
		}
	})
}
