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

// roomOf is a populated state with space for batches: web has a GiB free besides, and a
// volume that is named nowhere else is what each batch begins with.
func roomOf(tb testing.TB, volumes int) *State {
	tb.Helper()
	s := populated(tb, volumes)
	stack := []resource.Reservation{dynamicFor("org/web")}
	return s.With(Change{Account: &Account{Reservations: stack, Free: 1 << 40}})
}

// batches are batches of n operations each, or almost.
func batches(n int) map[string][]Operation {
	all := map[string][]Operation{}
	add := func(name string, list ...Operation) {
		if len(all[name])+len(list) <= n {
			all[name] = append(all[name], list...)
		}
	}
	for i := range n {
		id := fmt.Sprint("bench-", i)
		v := vol(id, 0.001, "org/web")
		add("reserve", reserve(mib(0.001, "org/db")))
		add("create", create(v))
		add("reserve+create+launch", reserve(mib(0.001, "org/web")), create(v), Launch{Task: id, Sandbox: "/bench/" + id, Resources: []resource.Resource{v}})
		add("resize", Resize{Ref: string(uuidOf(i % 10000)), Size: resource.Scalar(1001 + i/10000)})
		add("identified", as(id, "RESERVE", reserve(mib(0.001, "org/db"))))
	}
	if n > MaxOperations {
		delete(all, "identified")
	}
	return all
}

// BenchmarkBatch is what one batch costs in the core, at 10,000 volumes with 50,000
// attachments: checked, applied, and planned. The time of each operation stays the same,
// however many there are in the batch.
func BenchmarkBatch(b *testing.B) {
	s := roomOf(b, 10000)
	for _, n := range []int{100, 1000, 7500} { // what a launch uses counts, too, for MaxBatch
		for name, batch := range batches(n) {
			b.Run(fmt.Sprintf("%s/n=%d", name, n), func(b *testing.B) { planBatch(b, s, batch) })
		}
	}
}

// BenchmarkDestroyUnreserve is a batch of n volumes destroyed and n pieces of their space
// unreserved.
func BenchmarkDestroyUnreserve(b *testing.B) {
	for _, n := range []int{100, 1000, 10000} {
		s, batch := roomOf(b, 10000), []Operation{}
		s = s.With(Change{Account: &Account{Reservations: []resource.Reservation{dynamicFor("org/web")}}})
		for i := range n / 2 {
			v := &Volume{UUID: UUID(fmt.Sprint("bench-", i)), Name: Name{"org/web", fmt.Sprint("bench-", i)}, Reservations: []resource.Reservation{dynamicFor("org/web")},
				ContainerPath: "data", Size: 1000, Phase: Ready, Created: second}
			s = s.With(Change{Volume: v})
			batch = append(batch, Destroy{Ref: string(v.UUID)})
		}
		for range n / 2 {
			batch = append(batch, unreserve(mib(1, "org/web")))
		}
		b.Run(fmt.Sprint("n=", n), func(b *testing.B) { planBatch(b, s, batch) })
	}
}

// planBatch applies a batch to the same state again and again, and plans what it touches.
func planBatch(b *testing.B, s *State, batch []Operation) {
	env := numberedAs("bench")
	b.ReportAllocs()
	for b.Loop() {
		out := must[Outcome](b)(Apply(s, env, batch...))
		for _, u := range out.Touched {
			Plan(out.Next, u, Seen{})
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(batch)), "ns/operation")
}

// BenchmarkUndo takes a batch of 1,000 back.
func BenchmarkUndo(b *testing.B) {
	s := roomOf(b, 10000)
	for name, batch := range batches(1000) {
		b.Run(name, func(b *testing.B) {
			out := must[Outcome](b)(Apply(s, numberedAs("bench"), batch...))
			for b.Loop() {
				takingBack(s, out.Next, batch, out.Touched, ErrFailed)
			}
		})
	}
}

// BenchmarkSettle is what settling a volume costs while so many operations are at work, of
// a batch each, and of one batch that makes as many volumes.
func BenchmarkSettle(b *testing.B) {
	for _, n := range []int{0, 10, 1000} {
		s := crowded(b, n)
		if n == 0 {
			s = mustApply(b, s, numberedAs("other"), create(vol("x", 1, "web")))
		}
		b.Run(fmt.Sprintf("operations=%d", n), func(b *testing.B) {
			for b.Loop() {
				Settle(s, UnitOfVolume("v1"), Seen{Volume: live}, second)
			}
		})
	}
	for _, n := range []int{100, 1000, 10000} {
		s, list := roomOf(b, 10000), []Operation{}
		for i := range n - 1 {
			list = append(list, create(vol(fmt.Sprint("bench-", i), 0.001, "org/web")))
		}
		b.Run(fmt.Sprintf("batch=%d", n), func(b *testing.B) {
			out := must[Outcome](b)(Apply(s, numberedAs("bench"), as("one", "CREATE", list...)))
			last := UnitOfVolume(UUID(fmt.Sprint("bench", n-1)))
			for b.Loop() {
				Settle(out.Next, last, Seen{Volume: live}, second)
			}
		})
	}
}

// BenchmarkConfigure and BenchmarkCheck are parts of a start at 10,000 volumes.
func BenchmarkConfigure(b *testing.B) {
	s := populated(b, 10000)
	disks := []Disk{{Total: 1 << 40}}
	for b.Loop() {
		must[[]Change](b)(Configure(s, numbered(), s.Boot, disks))
	}
}

func BenchmarkCheck(b *testing.B) {
	s := populated(b, 10000)
	for b.Loop() {
		if err := s.Check(); err != nil {
			b.Fatal(err)
		}
	}
}
