package resource

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// The generators draw from small alphabets, so that what is drawn often collides, and
// with characters in them that keys and JSON must not trip over.

var (
	roles      = []string{"eng", "eng/ml", "eng/ml/x", "web"}
	awkward    = []string{"", "a", "b", "a,b", `"`, `\`, " id=", `a" id="b`, "}{", "|", "é", "<&>", "\t"}
	ids        = []string{"v1", "v2", "a b"}
	rootPaths  = []string{"/mnt/d1", "/mnt/d2", "", `/mnt/d1" id="x`}
	volPaths   = []string{"data", "data/x", "v:w"}
	smallSizes = []Scalar{1, 500, 1000, 2500, 64000}
)

func drawOptional(t *rapid.T, from []string, what string) *string {
	if rapid.Bool().Draw(t, "has "+what) {
		s := rapid.SampledFrom(from).Draw(t, what)
		return &s
	}
	return nil
}

func drawLabels(t *rapid.T) []Label {
	if rapid.IntRange(0, 2).Draw(t, "labels?") < 2 {
		return nil
	}
	labels := []Label{}
	for range rapid.IntRange(0, 3).Draw(t, "labels") {
		labels = append(labels, Label{rapid.SampledFrom(awkward).Draw(t, "key"), drawOptional(t, awkward, "value")})
	}
	return labels
}

// drawStack draws a valid stack of up to depth reservations.
func drawStack(t *rapid.T, depth int) []Reservation {
	var stack []Reservation
	kinds := []ReservationType{Static, Dynamic}
	for range rapid.IntRange(0, depth).Draw(t, "depth") {
		role := rapid.SampledFrom(roles).Draw(t, "role")
		if n := len(stack); n > 0 {
			role = stack[n-1].Role + "/" + rapid.SampledFrom([]string{"x", "y"}).Draw(t, "sub-role")
			kinds = []ReservationType{Dynamic}
		}
		r := Reservation{Type: rapid.SampledFrom(kinds).Draw(t, "kind"), Role: role}
		if r.Type == Dynamic {
			r.Principal, r.Labels = drawOptional(t, awkward, "principal"), drawLabels(t)
		}
		stack = append(stack, r)
	}
	return stack
}

func drawRoot(t *rapid.T) *Root {
	if !rapid.Bool().Draw(t, "has root message") {
		return nil
	}
	return &Root{drawOptional(t, rootPaths, "root")}
}

func drawSource(t *rapid.T) *Source {
	kinds := []SourceType{SourcePath, SourceMount, SourceBlock, SourceRaw}
	s := &Source{Type: rapid.SampledFrom(kinds).Draw(t, "source")}
	if s.Type == SourcePath || s.Type == SourceMount {
		s.Path, s.Mount = drawRoot(t), drawRoot(t)
	}
	if rapid.Bool().Draw(t, "from a provider") {
		s.ID, s.Profile = drawOptional(t, awkward, "id"), drawOptional(t, awkward, "profile")
		s.Vendor, s.Metadata = drawOptional(t, awkward, "vendor"), drawLabels(t)
	}
	return s
}

func drawDisk(t *rapid.T, reserved bool) *Disk {
	d := &Disk{}
	if rapid.Bool().Draw(t, "has source") {
		d.Source = drawSource(t)
	}
	if !reserved || rapid.Bool().Draw(t, "is plain") {
		return d
	}
	nameVolume(t, d)
	return d
}

// nameVolume makes a volume of a disk.
func nameVolume(t *rapid.T, d *Disk) {
	d.Persistence = &Persistence{rapid.SampledFrom(ids).Draw(t, "id"), drawOptional(t, awkward, "creator")}
	mode := rapid.SampledFrom([]Mode{RW, RO}).Draw(t, "mode")
	d.Volume = &Volume{ContainerPath: rapid.SampledFrom(volPaths).Draw(t, "path"), Mode: mode}
}

// drawVolume draws a valid volume.
func drawVolume(t *rapid.T) Resource {
	r := Resource{Name: "disk", Type: TypeScalar, Scalar: rapid.SampledFrom(smallSizes).Draw(t, "size")}
	if r.Reservations = drawStack(t, 2); !r.IsReserved() {
		r = refine(r, "eng")
	}
	r.Disk = &Disk{}
	if rapid.Bool().Draw(t, "has source") {
		r.Disk.Source = drawSource(t)
	}
	nameVolume(t, r.Disk)
	r.Shared = rapid.Bool().Draw(t, "shared")
	return r
}

// drawResource draws a valid, non-empty resource with a stack of up to depth.
func drawResource(t *rapid.T, depth int) Resource {
	r := Resource{Name: rapid.SampledFrom([]string{"disk", "disk", "disk", "cpus", "ports", "tags"}).Draw(t, "name")}
	r.Reservations = drawStack(t, depth)
	r.Allocation = rapid.SampledFrom([]string{"", "", "web"}).Draw(t, "allocation")
	r.Provider = rapid.SampledFrom([]string{"", "", "p1"}).Draw(t, "provider")
	switch r.Name {
	case "ports":
		r.Type = TypeRanges
		begin := rapid.Uint64Range(0, 20).Draw(t, "begin")
		r.Ranges = []Range{{begin, begin + rapid.Uint64Range(0, 5).Draw(t, "span")}}
	case "tags":
		r.Type = TypeSet
		r.Set = rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"x", "y", "z"}), 1, 3, rapid.ID).Draw(t, "set")
	default:
		r.Type, r.Scalar = TypeScalar, rapid.SampledFrom(smallSizes).Draw(t, "size")
	}
	if r.Name == "disk" && rapid.Bool().Draw(t, "has disk") {
		r.Disk = drawDisk(t, r.IsReserved())
		r.Shared = r.IsVolume() && rapid.Bool().Draw(t, "shared")
	}
	r.Revocable = !r.Shared && rapid.IntRange(0, 4).Draw(t, "revocable") == 0
	return r
}

// drawSet draws a set of valid resources, of which shared volumes have several copies.
func drawSet(t *rapid.T, keep func(Resource) bool) Set {
	var s Set
	for range rapid.IntRange(0, 5).Draw(t, "entries") {
		if r := drawResource(t, 2); keep(r) {
			s = s.AddCopies(r, rapid.IntRange(1, 3).Draw(t, "copies"))
		}
	}
	return s
}

// drawPool draws a few resources, and some that differ from them only a little, so that
// sets made of them have much in common.
func drawPool(t *rapid.T) []Resource {
	pool := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Resource { return drawResource(t, 2) }), 1, 3).Draw(t, "pool")
	for _, r := range pool {
		switch r.Type {
		case TypeScalar:
			r.Scalar = rapid.SampledFrom(smallSizes).Draw(t, "other size")
		case TypeRanges:
			r.Ranges = []Range{{0, rapid.Uint64Range(0, 25).Draw(t, "end")}}
		case TypeSet:
			r.Set = []string{"x", "other"}
		}
		pool = append(pool, r)
	}
	return pool
}

// drawFrom draws a set of some of the pool, each perhaps more than once.
func drawFrom(t *rapid.T, pool []Resource) Set {
	return SetOf(rapid.SliceOfN(rapid.SampledFrom(pool), 0, 6).Draw(t, "members")...)
}

func anything(Resource) bool { return true }

// countable keeps what can be taken back after it was added: the union of two
// overlapping ranges or sets does not remember the overlap.
func countable(r Resource) bool { return r.Type == TypeScalar }

// exactly compares reservations field by field: their Equal, which cmp would use, lets
// the order of labels differ.
var exactly = cmp.Transformer("fields", func(r Reservation) any {
	type fields Reservation
	return fields(r)
})

func ptr(s string) *string { return &s }

// mustParse reads one resource from JSON.
func mustParse(t testing.TB, text string) Resource {
	t.Helper()
	var r Resource
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		t.Fatalf("reading %s: %v", text, err)
	}
	return r
}

// mustText reads resources from the text syntax.
func mustText(t testing.TB, text string) []Resource {
	t.Helper()
	list, err := ParseText(text)
	if err != nil {
		t.Fatalf("reading %q: %v", text, err)
	}
	return list
}

// mustSet is the set of resources in the text syntax.
func mustSet(t testing.TB, text string) Set {
	t.Helper()
	return SetOf(mustText(t, text)...)
}

// disk is a disk resource of some MiB, reserved to role dynamically unless it is "".
func disk(mib int, role string) Resource {
	r := Resource{Name: "disk", Type: TypeScalar, Scalar: Scalar(mib) * One}
	if role != "" {
		r = r.PushReservation(Reservation{Type: Dynamic, Role: role})
	}
	return r
}

// on is r from a source of that kind at that root.
func (r Resource) on(kind SourceType, root string) Resource {
	s := &Source{Type: kind}
	if kind == SourcePath {
		s.Path = &Root{&root}
	}
	if kind == SourceMount {
		s.Mount = &Root{&root}
	}
	d := Disk{}
	if r.Disk != nil {
		d = *r.Disk
	}
	d.Source = s
	r.Disk = &d
	return r
}

// volume is r made a volume.
func (r Resource) volume(id, path string) Resource {
	d := Disk{Persistence: &Persistence{ID: id}, Volume: &Volume{ContainerPath: path, Mode: RW}}
	if r.Disk != nil {
		d.Source = r.Disk.Source
	}
	r.Disk = &d
	return r
}

// shared is r with the flag.
func (r Resource) shared() Resource {
	r.Shared = true
	return r
}

// canonical describes a set independently of its order and of how Set compares.
func canonical(s Set) string {
	counts := map[string]int{}
	for r, copies := range s.All() {
		value := r.valueString()
		switch r.Type {
		case TypeSet:
			value = strings.Join(slices.Sorted(slices.Values(r.Set)), ",")
		case TypeRanges:
			value = Resource{Type: TypeRanges, Ranges: mergeRanges(r.Ranges)}.valueString()
		}
		counts[r.Key()+" = "+value] += copies
	}
	text, _ := json.Marshal(counts) // a map of strings to numbers always marshals, sorted
	return string(text)
}
