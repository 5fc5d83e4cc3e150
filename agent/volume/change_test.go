package volume

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tenon/agent/resource"
)

// samples are changes of every kind, with every field set in at least one.
func samples() map[string]Change {
	principal, value := "ops", "1"
	stack := []resource.Reservation{dynamicFor("org"), {Type: resource.Dynamic, Role: "org/<web>", Principal: &principal,
		Labels: []resource.Label{{Key: "tier"}, {Key: "n", Value: &value}}}}
	plain := &Volume{UUID: "v1", Name: Name{"org/<web>", "data"}, Reservations: stack, ContainerPath: "p", Size: 1, Phase: Creating, Created: second}
	full := *plain
	full.Disk, full.Principal, full.Shared, full.Phase = dataDisk, &principal, true, Destroying
	full.Owner = Owner{UID: 1, GID: 2, Mode: 0o2775}
	back := full
	back.Back = []Part{{Reservations: stack[:1], Size: 1}}
	pending := OperationStatus{ID: "id", Type: "CREATE", Digest: "d", State: OperationPending, Since: second, Making: []UUID{"v1"}, Removing: []UUID{"v2"},
		Settling: []Target{{Volume: "v3"}, {Task: "u"}}, Attaching: []Target{{Task: "t", There: true}, {Volume: "v1", Task: "t", Path: "a/b"}}}
	failed := OperationStatus{ID: "id", Type: "<X>", Digest: "d", Principal: principal, State: OperationFailed, Message: "ü", Since: second, Acknowledged: true}
	follows := OperationStatus{ID: "other", Type: "LAUNCH", Digest: "d", State: OperationPending, Since: second, With: "id"}
	task := Task{ID: "t", Sandbox: "/s/t", Since: second}
	ended := Task{ID: "t", Sandbox: "/s/ü", Own: true, Lease: Lease{PID: 1, Start: 1 << 63, Cgroup: "/c"}, Since: second, Releasing: true}
	a := Attachment{Volume: "v1", Task: "t", Path: "a/b", Mode: resource.RO, Via: Claimed, Since: second}
	gone := a
	gone.Gone, gone.Lazy, gone.Mode, gone.Via = true, true, resource.RW, ByDescriptor
	return map[string]Change{
		"agent":                            {Agent: "id"},
		"boot":                             {Boot: "boot-2"},
		"root disk":                        {Disk: &Disk{Pool: "p", Phase: Creating}},
		"another disk":                     {Disk: &Disk{Key: dataDisk, Pool: "p", Phase: Ready}},
		"account":                          {Account: &Account{Disk: dataDisk, Reservations: stack, Free: 1234567}},
		"account of nothing":               {Account: &Account{Reservations: stack}},
		"volume":                           {Volume: plain},
		"volume with everything":           {Volume: &full},
		"volume that comes back otherwise": {Volume: &back},
		"operation at work":                {Operation: &pending},
		"operation that failed":            {Operation: &failed},
		"operation with another":           {Operation: &follows},
		"operation no more":                {Drop: &Drop{Operation: "id"}},
		"task":                             {Task: &task},
		"task with everything":             {Task: &ended},
		"claim":                            {Attachment: &a},
		"tombstone":                        {Attachment: &gone},
		"volume no more":                   {Drop: &Drop{Volume: "v1"}},
		"task no more":                     {Drop: &Drop{Task: "t"}},
		"attachment no more":               {Drop: &Drop{Volume: "v1", Task: "t", Path: "a/b"}},
	}
}

func TestEveryChangeReadsBackAsItWasWritten(t *testing.T) {
	t.Parallel()
	for name, c := range samples() {
		data, err := c.Encode()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, err := Decode(data)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if d := cmp.Diff(c, got, cmpopts.EquateEmpty()); d != "" {
			t.Errorf("%s (-written +read):\n%s", name, d)
		}
	}
}

func TestTheJournalWaitsForWhatTheKernelCannotTellAgain(t *testing.T) {
	t.Parallel()
	relaxed := map[string]bool{"boot": true, "task": true, "task with everything": true, "claim": true, "tombstone": true,
		"volume no more": true, "task no more": true, "attachment no more": true, "operation no more": true}
	for name, c := range samples() {
		if !c.Stored() {
			t.Errorf("%s is not stored", name)
		}
		if c.Durable() == relaxed[name] {
			t.Errorf("%s: durable is %v", name, c.Durable())
		}
	}
	seen := Volume{UUID: "v1", Phase: Ready}
	for name, c := range map[string]Change{
		"unreserved space": {Account: &Account{Free: 1}},
		"a fault":          {Fault: &FaultOf{Unit: UnitOfVolume("v1")}},
		"a ready volume":   {Volume: &seen, Relaxed: true},
		"what passes":      {Operation: &OperationStatus{ID: "id"}, Passing: true},
	} {
		if c.Durable() {
			t.Errorf("%s is durable", name)
		}
		if c.Stored() != (c.Volume != nil) {
			t.Errorf("%s: stored is %v", name, c.Stored())
		}
	}
}

// busy is a state with something of every kind in it, tombstones included.
func busy(t testing.TB) *State {
	env := numbered()
	s := mustApply(t, machine(t), env, given(
		claim("t", Use{Volume: "v1"}), attach("t", "v2", "", ""), byDescriptor(attach("t", "v1", "more", resource.RO)), noExec(seenAs(byDescriptor(attach("t", "v1", "mapped", "")), 7, 0)), Claim{Task: "user", Sandbox: "/s/user", User: &ID{0, 9}},
		attach("u", "v1", "", resource.RO), detach("u", "v1"), claim("w"), Release{Task: "w", Ended: true},
		Destroy{Ref: "v3"}, create(vol("y", 4, "web")), reserve(labelled(mib(3, ""), "ops", "x"), on(mib(5, "db"))))...)
	return s.With(s.Faulty(UnitOfVolume("v2"), ErrLost, "gone", second)...)
}

func TestASnapshotFoldsToTheSameState(t *testing.T) {
	t.Parallel()
	s := busy(t)
	s = s.With(s.sound(UnitOfVolume("v2"))...) // faults are not stored
	folded := refold(t, s)
	if d := cmp.Diff(records(t, s), records(t, folded)); d != "" {
		t.Errorf("snapshot of the snapshot (-want +got):\n%s", d)
	}
	changes, err := Configure(folded, numbered(), "boot-1", []Disk{{Total: 4096 * resource.One}, {Key: dataDisk, Source: dataSource(), Total: 1000 * resource.One}})
	if err != nil {
		t.Fatal(err)
	}
	configured := folded.With(changes...)
	if d := cmp.Diff(dump(s), dump(configured)); d != "" {
		t.Errorf("after a restart (-before +after):\n%s", d)
	}
	if err := checkIndexes(configured); err != nil {
		t.Error(err)
	}
}

func TestASnapshotCanBeStoppedAnywhere(t *testing.T) {
	t.Parallel()
	s := busy(t)
	all := len(records(t, s))
	for stop := 1; stop <= all; stop++ {
		n := 0
		for range s.Snapshot() {
			if n++; n == stop {
				break
			}
		}
		if n != stop {
			t.Errorf("got %d records, want to stop at %d", n, stop)
		}
	}
	units := 0
	for range s.Units() {
		units++
	}
	for stop := 1; stop <= units; stop++ {
		n := 0
		for range s.Units() {
			if n++; n == stop {
				break
			}
		}
	}
}

func TestABootVoidsAttachmentsAndEndsTasks(t *testing.T) {
	t.Parallel()
	s := busy(t)
	after := s.With(Change{Boot: "boot-2"})
	if n := after.CountAttachments(); n != 0 {
		t.Errorf("%d attachments outlive their boot", n)
	}
	for task := range after.Tasks("") {
		if !task.Releasing || task.Lease.PID != 0 || task.Lease.Start != 0 {
			t.Errorf("task %s outlives its boot: %+v", task.ID, task)
		}
	}
	if n := len(after.Holders("v1")); n != 0 {
		t.Errorf("v1 has %d holders of another boot", n)
	}
	want := difference(nil, nil)
	for _, l := range difference(dump(s), dump(after)) {
		if !strings.Contains(l, "attachment ") && !strings.Contains(l, "task ") && !strings.Contains(l, "agent ") {
			want = append(want, l)
		}
	}
	if len(want) > 0 {
		t.Errorf("a boot changed %q", want)
	}
	if err := checkIndexes(after); err != nil {
		t.Error(err)
	}
	if s.CountAttachments() == 0 {
		t.Error("the version before the boot has lost its attachments")
	}
}

func TestAFaultGoesWithItsUnit(t *testing.T) {
	t.Parallel()
	s := busy(t)
	for _, drop := range []Drop{{Volume: "v3"}, {Task: "w"}, {Volume: "v1", Task: "u", Path: "s"}} {
		u := Unit{VolumeUnit, "", drop.Volume, "", ""}
		switch {
		case drop.Path != "":
			u = (&Attachment{Volume: drop.Volume, Task: drop.Task, Path: drop.Path}).Unit()
		case drop.Task != "":
			u = UnitOfTask(drop.Task)
		}
		faulty := s.With(s.Faulty(u, ErrFailed, "as the test has it", second)...)
		if again := faulty.Faulty(u, ErrFailed, "as the test has it", second.Add(1)); len(again) > 0 {
			t.Errorf("%s: the same fault again makes %+v", u, again)
		}
		if f, bad := faulty.Fault(u); !bad || f.Kind != ErrFailed || !f.Since.Equal(second) {
			t.Errorf("%s: got fault %+v, %v", u, f, bad)
		}
		if err := checkIndexes(faulty.With(Change{Drop: &drop})); err != nil {
			t.Error(err)
		}
	}
}

// Volumes are shown to readers while the writer goes on: no version may change under
// them. The race detector watches.
func TestOldVersionsAreReadWhileNewOnesAreMade(t *testing.T) {
	t.Parallel()
	s := busy(t)
	want := records(t, s)
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for range 20 {
				if d := cmp.Diff(want, records(t, s)); d != "" {
					t.Errorf("an old version changed:\n%s", d)
				}
			}
		})
	}
	env, n := numbered(), s
	for i := range 300 {
		task := fmt.Sprint("task", i)
		n = mustApply(t, n, env, attach(task, "v1", "", ""))
		n = n.With(Change{Drop: &Drop{Volume: "v1", Task: task, Path: "s"}}, Change{Drop: &Drop{Task: task}})
	}
	readers.Wait()
	if d := cmp.Diff(want, records(t, n)); d != "" {
		t.Errorf("what came and went left something (-before +after):\n%s", d)
	}
}

// checkIndexes holds the indexes of a state against each other.
func checkIndexes(s *State) error {
	named := 0
	for v := range s.Volumes(Name{}) {
		named++
		if all, ok := s.Volume(v.UUID); !ok || all != v || v.Phase == Destroying {
			return fmt.Errorf("name %s leads to %+v", v.Name, v)
		}
	}
	dead := 0
	for range s.Tombstones() {
		dead++
	}
	if live, all := s.CountVolumes(); live != named || all != named+dead {
		return fmt.Errorf("%d volumes of %d have names, %d are tombstones; counted %d and %d", named, all, dead, live, all)
	}
	counted := map[string]int{}
	for a := range s.Accounts() {
		counted[a.Disk]++
	}
	for d := range s.Disks() {
		if counted[d.Key] != s.kinds[d.Key] {
			return fmt.Errorf("disk %s has %d accounts, counted %d", DiskName(d.Key), counted[d.Key], s.kinds[d.Key])
		}
	}
	boxed := 0
	for t := range s.Tasks("") {
		if t.Sandbox != "" {
			boxed++
		}
		if found, ok := s.sandbox.Get(t); ok != (t.Sandbox != "") || ok && found != t {
			return fmt.Errorf("sandbox %s leads to %+v", t.Sandbox, found)
		}
		for a := range s.AttachmentsIn(t.ID) {
			if found, ok := s.Attachment(a.Unit()); !ok || found != a {
				return fmt.Errorf("%s is %+v by task, %+v by volume", a.Unit(), a, found)
			}
		}
	}
	units := maps.Collect(func(yield func(Unit, bool) bool) {
		for u := range s.Units() {
			if !yield(u, true) {
				return
			}
		}
	})
	for u, f := range s.Faults() {
		if !units[u] {
			return fmt.Errorf("%s is faulty, %v, and not there", u, f.Kind)
		}
	}
	if s.sandbox.Len() != boxed {
		return fmt.Errorf("%d sandboxes of %d tasks that have one", s.sandbox.Len(), boxed)
	}
	return nil
}

func TestRecordsAreSmall(t *testing.T) {
	t.Parallel()
	for name, c := range samples() {
		data, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		if len(data) > 512 {
			t.Errorf("%s takes %d bytes", name, len(data))
		}
	}
}
