package resource

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestSourceKeysOfConfiguredDisksAreReadable(t *testing.T) {
	t.Parallel()
	for want, s := range map[string]*Source{
		"":              nil,
		"PATH:/mnt/d1":  {Type: SourcePath, Path: &Root{ptr("/mnt/d1")}},
		"MOUNT:/mnt/d2": {Type: SourceMount, Mount: &Root{ptr("/mnt/d2")}},
	} {
		if got := s.Key(); got != want {
			t.Errorf("Key of %v = %q, want %q", s, got, want)
		}
	}
}

func TestSourceKeysTellEveryFieldApart(t *testing.T) {
	t.Parallel()
	root := &Root{ptr("/r")}
	sources := []*Source{
		nil,
		{Type: SourcePath}, {Type: SourceMount}, {Type: SourceBlock}, {Type: SourceRaw}, {Type: "PATH:/r"},
		{Type: SourcePath, Path: &Root{}}, {Type: SourcePath, Path: root}, {Type: SourcePath, Path: &Root{ptr("")}},
		{Type: SourcePath, Mount: root}, {Type: SourcePath, Path: root, Mount: root}, {Type: SourceMount, Mount: root}, {Type: SourceMount, Path: root},
		{Type: SourcePath, Path: &Root{ptr(`/r" id="x`)}}, {Type: SourcePath, Path: root, ID: ptr("x")}, {Type: SourcePath, Path: root, ID: ptr("")},
		{Type: SourcePath, Path: root, Profile: ptr("x")}, {Type: SourcePath, Path: root, Vendor: ptr("x")},
		{Type: SourcePath, Path: root, Metadata: []Label{}}, {Type: SourcePath, Path: root, Metadata: []Label{{"k", nil}}},
		{Type: SourcePath, Path: root, Metadata: []Label{{"k", ptr("")}}}, {Type: SourcePath, Path: root, Metadata: []Label{{"k", nil}, {"k", nil}}},
	}
	seen := map[string]*Source{}
	for _, s := range sources {
		if other, ok := seen[s.Key()]; ok {
			t.Errorf("%+v and %+v share the key %s", s, other, s.Key())
		}
		seen[s.Key()] = s
	}
}

func TestStackKeysTellEveryFieldApart(t *testing.T) {
	t.Parallel()
	one := func(change func(*Reservation)) []Reservation {
		r := Reservation{Type: Dynamic, Role: "eng"}
		change(&r)
		return []Reservation{r}
	}
	plain := one(func(*Reservation) {})
	stacks := [][]Reservation{
		nil, plain,
		one(func(r *Reservation) { r.Type = Static }),
		one(func(r *Reservation) { r.Role = "web" }),
		one(func(r *Reservation) { r.Principal = ptr("") }),
		one(func(r *Reservation) { r.Principal = ptr("ops") }),
		one(func(r *Reservation) { r.Role = `eng" principal="ops` }),
		one(func(r *Reservation) { r.Labels = []Label{{"k", nil}} }),
		one(func(r *Reservation) { r.Labels = []Label{{"k", ptr("")}} }),
		one(func(r *Reservation) { r.Labels = []Label{{"k", nil}, {"k", nil}} }),
		one(func(r *Reservation) { r.Principal = ptr(`ops"{"k"}`) }),
		append(slices.Clone(plain), Reservation{Type: Dynamic, Role: "eng/ml"}),
		append(one(func(r *Reservation) { r.Principal = ptr("ops") }), Reservation{Type: Dynamic, Role: "eng/ml"}),
		append(slices.Clone(plain), Reservation{Type: Dynamic, Role: "eng/ml", Principal: ptr("ops")}),
	}
	seen := map[string][]Reservation{}
	for _, stack := range stacks {
		if other, ok := seen[StackKey(stack)]; ok {
			t.Errorf("%v and %v share the key %s", stack, other, StackKey(stack))
		}
		seen[StackKey(stack)] = stack
	}
	if got := StackKey(nil); got != "" {
		t.Errorf("key of no reservation = %q, want none", got)
	}
}

func TestLabelsCountAsMultisets(t *testing.T) {
	t.Parallel()
	with := func(labels ...Label) []Reservation {
		return []Reservation{{Type: Dynamic, Role: "eng", Labels: labels}}
	}
	a, b := Label{"a", ptr("1")}, Label{"b", nil}
	for name, c := range map[string]struct {
		x, y []Reservation
		want bool
	}{
		"another order":             {with(a, b, a), with(a, a, b), true},
		"another count":             {with(a, b, b), with(a, a, b), false},
		"none and an empty list":    {with(), []Reservation{{Type: Dynamic, Role: "eng", Labels: []Label{}}}, true},
		"no value and an empty one": {with(Label{"a", nil}), with(Label{"a", ptr("")}), false},
	} {
		if got := StackKey(c.x) == StackKey(c.y); got != c.want {
			t.Errorf("%s: one key is %t, want %t", name, got, c.want)
		}
		if got := EqualStacks(c.x, c.y); got != c.want {
			t.Errorf("%s: equal is %t, want %t", name, got, c.want)
		}
	}
}

// shuffled is r with the order of labels changed, which changes nothing else.
func shuffled(t *rapid.T, r Resource) Resource {
	r.Reservations = slices.Clone(r.Reservations)
	for i := range r.Reservations {
		labels := r.Reservations[i].Labels
		if len(labels) > 0 {
			r.Reservations[i].Labels = rapid.Permutation(labels).Draw(t, "labels")
		}
	}
	return r
}

func TestKeysAreEqualExactlyWhenTheThingsAre(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawResource(t, 2), drawResource(t, 2)
		if got, want := a.Key() == b.Key(), SameMetadata(a, b); got != want {
			t.Fatalf("%s and %s: one key is %t, same is %t", a, b, got, want)
		}
		if got, want := StackKey(a.Reservations) == StackKey(b.Reservations), EqualStacks(a.Reservations, b.Reservations); got != want {
			t.Fatalf("%s and %s: one stack key is %t, equal is %t", a, b, got, want)
		}
		if again := shuffled(t, a); again.Key() != a.Key() || !Equal(a, again) {
			t.Fatalf("%s and %s differ by more than the order of labels", a, again)
		}
	})
}
