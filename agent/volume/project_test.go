package volume

import "testing"

func TestAProjectIsUsedUntilNothingIsLeftOfItsVolume(t *testing.T) {
	t.Parallel()
	v := Volume{UUID: "u1", Name: Name{Role: "web", ID: "v"}, Phase: Ready, Project: 7}
	end := v
	end.Phase = Destroying
	s := Empty().With(Change{Volume: &v})
	tombstone := s.With(Change{Volume: &end})
	loaded := Empty().With(Change{Volume: &end})
	gone := tombstone.With(Change{Drop: &Drop{Volume: v.UUID}})
	for what, c := range map[string]struct {
		s    *State
		want bool
	}{"nothing": {Empty(), false}, "a volume": {s, true}, "its tombstone": {tombstone, true}, "a tombstone that was loaded": {loaded, true}, "the end": {gone, false}} {
		if got := c.s.ProjectUsed("", 7); got != c.want {
			t.Errorf("with %s the project is used: %v, want %v", what, got, c.want)
		}
	}
}
