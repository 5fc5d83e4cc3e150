package volume

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tenon/agent/resource"
)

// second is the clock of these tests: it stands still.
var second = time.Date(2026, 1, 2, 3, 4, 5, 600, time.UTC)

// numbered is an Env whose identifiers are v1, v2, …
func numbered() Env { return numberedAs("v") }

func numberedAs(prefix string) Env {
	n := 0
	return Env{Now: second, NewUUID: func() UUID { n++; return UUID(fmt.Sprint(prefix, n)) }}
}

// second disk of the fixture, beside the root disk.
const dataDisk = "PATH:/mnt/d"

func dataSource() *resource.Source {
	root := "/mnt/d"
	return &resource.Source{Type: resource.SourcePath, Path: &resource.Root{Root: &root}}
}

// machine is a running agent's state with 4,096 MiB on the root disk, 1,000 on another.
func machine(t testing.TB) *State {
	t.Helper()
	disks := []Disk{{Total: 4096 * resource.One}, {Key: dataDisk, Source: dataSource(), Total: 1000 * resource.One}}
	changes, err := Configure(Empty(), numberedAs("agent"), "boot-1", disks)
	if err != nil {
		t.Fatal(err)
	}
	s := Empty().With(changes...)
	for d := range s.Disks() {
		ready := *d
		ready.Phase = Ready
		s = s.With(Change{Disk: &ready})
	}
	return s
}

const mountDisk = "MOUNT:/mnt/m"

func mountSource() *resource.Source {
	root := "/mnt/m"
	return &resource.Source{Type: resource.SourceMount, Mount: &resource.Root{Root: &root}}
}

// divided is a running agent's state whose root disk has 3,000 MiB unreserved and 1,000 that
// are role web's statically, besides a MOUNT disk of 500.
func divided(t testing.TB) *State {
	t.Helper()
	changes, err := Configure(Empty(), numberedAs("agent"), "boot-1", []Disk{staticDisk(3000, 1000), wholeDisk(500)})
	if err != nil {
		t.Fatal(err)
	}
	return Empty().With(changes...)
}

// staticDisk is a root disk, some of which is role web's.
func staticDisk(unreserved, web resource.Scalar) Disk {
	return Disk{Total: (unreserved + web) * resource.One, Parts: []Part{{Size: unreserved * resource.One}, {Reservations: staticWeb(), Size: web * resource.One}}}
}

func staticWeb() []resource.Reservation {
	return []resource.Reservation{{Type: resource.Static, Role: "web"}}
}

func wholeDisk(n resource.Scalar) Disk {
	return Disk{Key: mountDisk, Source: mountSource(), Total: n * resource.One}
}

// mustApply applies operations one by one and makes every volume ready.
func mustApply(t testing.TB, s *State, env Env, ops ...Operation) *State {
	t.Helper()
	for _, op := range ops {
		out, err := Apply(s, env, op)
		if err != nil {
			t.Fatalf("%s: %v", op.Name(), err)
		}
		s = ready(out.Next)
	}
	return s
}

// ready makes every volume that is being made ready.
func ready(s *State) *State {
	for v := range s.Volumes(Name{}) {
		if v.Phase == Creating {
			done := *v
			done.Phase = Ready
			s = s.With(Change{Volume: &done})
		}
	}
	return s
}

func dynamicFor(role string) resource.Reservation {
	return resource.Reservation{Type: resource.Dynamic, Role: role}
}

// mib is an amount of disk, reserved to the roles given, the most refined last.
func mib(n float64, roles ...string) resource.Resource {
	r := resource.Resource{Name: "disk", Type: resource.TypeScalar, Scalar: resource.Scalar(n * float64(resource.One))}
	for _, role := range roles {
		r.Reservations = append(r.Reservations, dynamicFor(role))
	}
	return r
}

// on puts a resource on the second disk.
func on(r resource.Resource) resource.Resource {
	d := resource.Disk{}
	if r.Disk != nil {
		d = *r.Disk
	}
	d.Source = dataSource()
	r.Disk = &d
	return r
}

// whole puts a resource on the MOUNT disk.
func whole(r resource.Resource) resource.Resource {
	return with(on(r), func(d *resource.Disk) { d.Source = mountSource() })
}

// vol is an exclusive volume of a role, whose container path is its id.
func vol(id string, n float64, roles ...string) resource.Resource {
	r := mib(n, roles...)
	r.Disk = &resource.Disk{
		Persistence: &resource.Persistence{ID: id},
		Volume:      &resource.Volume{ContainerPath: id, Mode: resource.RW},
	}
	return r
}

func shared(r resource.Resource) resource.Resource { r.Shared = true; return r }

// with changes a copy of a volume's DiskInfo.
func with(r resource.Resource, change func(*resource.Disk)) resource.Resource {
	d := *r.Disk
	change(&d)
	r.Disk = &d
	return r
}

func reserve(rs ...resource.Resource) Reserve { return Reserve{Resources: rs} }
func create(r resource.Resource) Create       { return Create{Volume: r, Owner: Owner{Mode: 0o755}} }

// dump describes a state, one sorted line an object, faults included.
func dump(s *State) []string {
	var lines []string
	add := func(format string, args ...any) {
		lines = append(lines, strings.TrimSpace(fmt.Sprintf(format, args...)))
	}
	add("agent %s boot %s", s.Agent, s.Boot)
	for d := range s.Disks() {
		add("disk %s %s%s", DiskName(d.Key), d.Phase, flagText(d.Absent, " absent"))
	}
	for a := range s.Accounts() {
		add("free %s %s %s", DiskName(a.Disk), a.Free, resource.StackKey(a.Reservations))
	}
	s.volumes.Scan(func(v *Volume) bool {
		add("volume %s %s %s on %s %s%s%s", v.UUID, v.Name, v.Size, DiskName(v.Disk), v.Phase, flagText(v.Shared, " shared"), backText(v.Back))
		return true
	})
	for t := range s.Tasks("") {
		add("task %s %s%s%s%s%s", t.ID, t.Sandbox, flagText(t.Own, " own"), leaseText(t.Lease), flagText(t.Killing, " killing"), flagText(t.Releasing, " releasing"))
	}
	s.byVolume.Scan(func(a *Attachment) bool {
		add("attachment %s %s %s %s%s%s %s%s%s", a.Volume, a.Task, a.Path, a.Mode, flagText(a.NoExec, ",noexec"), asText(a.As), a.Via, flagText(a.Gone, " gone"), flagText(a.Lazy, " lazy"))
		return true
	})
	for o := range s.Operations() {
		add("operation %s %s %s%s%s%s", o.ID, o.Type, o.State, flagText(o.With != "", " with "+o.With), flagText(o.Acknowledged, " acknowledged"), waitText(o))
	}
	for u, f := range s.Faults() {
		add("fault %s: %v", u, f.Kind)
	}
	slices.Sort(lines)
	return lines
}

func asText(id *ID) string {
	if id == nil {
		return ""
	}
	return " as " + id.String()
}

func flagText(set bool, text string) string {
	if set {
		return text
	}
	return ""
}

func backText(back []Part) string {
	text := ""
	for _, p := range back {
		text += fmt.Sprintf(" back %s [%s]%s", p.Size, resource.StackKey(p.Reservations), flagText(p.Volume != "", " to "+string(p.Volume)))
	}
	return text
}

func waitText(o *OperationStatus) string {
	text := flagText(o.Message != "", ": "+o.Message)
	if len(o.Making) > 0 {
		text += fmt.Sprint(" making ", o.Making)
	}
	if len(o.Removing) > 0 {
		text += fmt.Sprint(" removing ", o.Removing)
	}
	for _, t := range o.Settling {
		text += fmt.Sprintf(" settling %s", t.Unit())
	}
	for _, t := range o.Attaching {
		text += fmt.Sprintf(" attaching %s%s%s", t.Unit(), flagText(t.There, " (there)"), flagText(t.Done, " (done)"))
	}
	return text
}

func leaseText(l Lease) string {
	if l == (Lease{}) {
		return ""
	}
	if !l.named() {
		return fmt.Sprintf(" until %s", l.Until)
	}
	return fmt.Sprintf(" lease %d@%d%s%s", l.PID, l.Start, l.Cgroup, flagText(l.Until != 0, fmt.Sprintf(" until %s", l.Until)))
}

// difference is what two dumps do not have in common, as "- old" and "+ new" lines.
func difference(before, after []string) []string {
	var lines []string
	for _, l := range before {
		if !slices.Contains(after, l) {
			lines = append(lines, "- "+l)
		}
	}
	for _, l := range after {
		if !slices.Contains(before, l) {
			lines = append(lines, "+ "+l)
		}
	}
	return lines
}

// records is a state as the journal would have it.
func records(t testing.TB, s *State) []string {
	t.Helper()
	var lines []string
	for c := range s.Snapshot() {
		data, err := c.Encode()
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, string(data))
	}
	slices.Sort(lines)
	return lines
}

// refold gives the state that a state's snapshot makes, as the journal would keep it.
func refold(t interface {
	Helper()
	Fatal(args ...any)
}, s *State) *State {
	t.Helper()
	var changes []Change
	for c := range s.Snapshot() {
		data, err := c.Encode()
		if err != nil {
			t.Fatal(err)
		}
		back, err := Decode(data)
		if err != nil {
			t.Fatal(err)
		}
		changes = append(changes, back)
	}
	return Empty().With(changes...)
}

// accepted is a batch that is to be accepted, and what it changes: "- " and "+ " lines
// of dump, then "touch " lines in order.
type accepted struct {
	name  string
	on    func(testing.TB) *State // machine, if nil
	given []Operation
	edit  func(*State) *State // of the given state
	ops   []Operation
	want  string
}

func (c accepted) run(t *testing.T) {
	t.Parallel()
	env := numbered()
	s := mustApply(t, begin(t, c.on), env, c.given...)
	if c.edit != nil {
		s = c.edit(s)
	}
	before, stored := dump(s), records(t, s)
	out, err := Apply(s, env, c.ops...)
	if err != nil {
		t.Fatalf("refused: %v", err)
	}
	got := difference(before, dump(out.Next))
	for _, u := range out.Touched {
		got = append(got, "touch "+u.String())
	}
	if d := cmp.Diff(linesOf(c.want), got); d != "" {
		t.Errorf("changes (-want +got):\n%s", d)
	}
	if d := cmp.Diff(dump(out.Next), dump(s.With(out.Changes...))); d != "" {
		t.Errorf("the changes do not make the next state (-next +folded):\n%s", d)
	}
	if d := cmp.Diff(stored, records(t, s)); d != "" {
		t.Errorf("the version before changed:\n%s", d)
	}
	if err := out.Next.Check(); err != nil {
		t.Error(err)
	}
}

func linesOf(text string) []string {
	var lines []string
	for l := range strings.Lines(text) {
		if l = strings.TrimSpace(l); l != "" {
			lines = append(lines, l)
		}
	}
	return lines
}

// begin gives the state that a case begins with.
func begin(t testing.TB, on func(testing.TB) *State) *State {
	if on == nil {
		on = machine
	}
	return on(t)
}

// refused is a batch that is to be refused, with a kind and words of its message.
type refused struct {
	name  string
	on    func(testing.TB) *State // machine, if nil
	given []Operation
	edit  func(*State) *State
	ops   []Operation
	kind  error
	words string
}

func (c refused) run(t *testing.T) {
	t.Parallel()
	env := numbered()
	s := mustApply(t, begin(t, c.on), env, c.given...)
	if c.edit != nil {
		s = c.edit(s)
	}
	before, version := records(t, s), s.Version
	out, err := Apply(s, env, c.ops...)
	if err == nil {
		t.Fatalf("accepted; want a refusal with %q", c.words)
	}
	var e *Error
	if !errors.As(err, &e) || Kind(err) != c.kind || !strings.Contains(err.Error(), c.words) {
		t.Errorf("got %v: %v\nwant %v: … %s …", Kind(err), err, c.kind, c.words)
	}
	if out.Next != nil || out.Changes != nil || out.Touched != nil {
		t.Errorf("a refusal came with an outcome: %+v", out)
	}
	if d := cmp.Diff(before, records(t, s)); d != "" || s.Version != version {
		t.Errorf("a refusal changed the state:\n%s", d)
	}
}

// faulty sets a fault.
func faulty(u Unit, kind error) func(*State) *State {
	return func(s *State) *State { return s.With(s.Faulty(u, kind, "as the test has it", second)...) }
}
