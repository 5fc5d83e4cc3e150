package volume

import (
	"fmt"
	"runtime"
	"testing"

	"tenon/agent/resource"
)

// populated is a state with n shared volumes and 5 attachments of each, by tasks with
// 50 attachments, as many as there are of a busy host.
func populated(tb testing.TB, volumes int) *State {
	tb.Helper()
	changes, err := Configure(Empty(), numberedAs("agent"), "boot-1", []Disk{{Total: 1 << 40}})
	if err != nil {
		tb.Fatal(err)
	}
	stack := []resource.Reservation{dynamicFor("org/web")}
	changes = append(changes, Change{Account: &Account{Free: 1<<40 - resource.Scalar(volumes+1)*1000 - 1000}},
		Change{Account: &Account{Reservations: stack, Free: 1000}})
	for i := range volumes + 1 { // one more, which is the benchmark's
		changes = append(changes, Change{Volume: &Volume{UUID: uuidOf(i), Name: Name{"org/web", fmt.Sprint("volume-", i)}, Reservations: stack,
			ContainerPath: "data", Size: 1000, Shared: true, Phase: Ready, Created: second}})
	}
	for i := range 5 * volumes {
		if task := fmt.Sprint("task-", i/50); i%50 == 0 {
			changes = append(changes, Change{Task: &Task{ID: task, Sandbox: "/var/lib/tenon/sandboxes/" + task, Lease: Lease{PID: i + 1, Start: 1}, Since: second}})
		}
		changes = append(changes, Change{Attachment: &Attachment{Volume: uuidOf((i * 7) % volumes), Task: fmt.Sprint("task-", i/50),
			Path: fmt.Sprint("data-", i%50), Mode: resource.RW, Via: ByPath, Since: second}})
	}
	return Empty().With(changes...)
}

func uuidOf(i int) UUID { return UUID(fmt.Sprintf("00000000-0000-4000-8000-%012d", i)) }

// must ends the benchmark on an error.
func must[T any](tb testing.TB) func(T, error) T {
	return func(v T, err error) T {
		if err != nil {
			tb.Helper()
			tb.Fatal(err)
		}
		return v
	}
}

// BenchmarkAttachDetach is what an attach and a detach of one volume cost in the core,
// with their plans, what is settled and the records of the journal.
func BenchmarkAttachDetach(b *testing.B) {
	for _, volumes := range []int{0, 1000, 10000} {
		b.Run(fmt.Sprintf("volumes=%d,attachments=%d", volumes, 5*volumes), func(b *testing.B) {
			s, env, ref := populated(b, volumes), numbered(), string(uuidOf(volumes))
			mustRun := must[Outcome](b)
			b.ReportAllocs()
			for b.Loop() {
				out := mustRun(Apply(s, env, Attach{Task: "bench", Sandbox: "/bench", Use: Use{Volume: ref, Mode: resource.RW}, Via: ByPath}))
				n := converged(b, out.Next, out.Changes, out.Touched, SeenAttachment{Point: true, Mounted: true})
				out = mustRun(Apply(n, env, Detach{Task: "bench", Volume: ref}))
				n = converged(b, out.Next, out.Changes, out.Touched, SeenAttachment{})
				if n.CountTasks() != s.CountTasks() || n.CountAttachments() != s.CountAttachments() {
					b.Fatal("something is left over")
				}
			}
		})
	}
}

// converged encodes the records of changes, and plans and settles what they touch as if
// its steps were done.
func converged(b *testing.B, s *State, changes []Change, touched []Unit, attachment SeenAttachment) *State {
	b.Helper()
	for _, u := range touched {
		seen := Seen{Attachment: attachment}
		Plan(s, u, seen)
		more := Settle(s, u, seen, second)
		s = s.With(more...)
		changes = append(changes, more...)
	}
	for _, c := range changes {
		must[[]byte](b)(c.Encode())
	}
	return s
}

func BenchmarkEncode(b *testing.B) {
	for name, c := range samples() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				must[[]byte](b)(c.Encode())
			}
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	for name, c := range samples() {
		b.Run(name, func(b *testing.B) {
			data := must[[]byte](b)(c.Encode())
			b.ReportAllocs()
			for b.Loop() {
				must[Change](b)(Decode(data))
			}
		})
	}
}

// journalOf is a state's snapshot, encoded.
func journalOf(tb testing.TB, s *State) (records [][]byte) {
	tb.Helper()
	for c := range s.Snapshot() {
		records = append(records, must[[]byte](tb)(c.Encode()))
	}
	return records
}

func decodeAll(tb testing.TB, records [][]byte) []Change {
	tb.Helper()
	changes := make([]Change, 0, len(records))
	for _, r := range records {
		changes = append(changes, must[Change](tb)(Decode(r)))
	}
	return changes
}

// BenchmarkLoad is the start of an agent with 10,000 volumes and 50,000 attachments: all
// of its records read and folded. BenchmarkFold leaves the reading out.
func BenchmarkLoad(b *testing.B) {
	records := journalOf(b, populated(b, 10000))
	b.ReportAllocs()
	for b.Loop() {
		Empty().With(decodeAll(b, records)...)
	}
	b.ReportMetric(float64(len(records)), "records/op")
}

func BenchmarkFold(b *testing.B) {
	changes := decodeAll(b, journalOf(b, populated(b, 10000)))
	b.ReportAllocs()
	for b.Loop() {
		Empty().With(changes...)
	}
	b.ReportMetric(float64(len(changes)), "records/op")
}

// BenchmarkMemory reports what a loaded state keeps, of 10,000 volumes and 50,000
// attachments.
func BenchmarkMemory(b *testing.B) {
	records := journalOf(b, populated(b, 10000))
	for b.Loop() {
		before := heap()
		s := Empty().With(decodeAll(b, records)...)
		b.ReportMetric(float64(heap()-before), "bytes")
		b.ReportMetric(float64(heap()-before)/float64(len(records)), "bytes/object")
		runtime.KeepAlive(s)
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
