package volume

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"tenon/agent/resource"
)

// sharedVolume is a state with one shared volume that is ready.
func sharedVolume() (*State, Env) {
	v := &Volume{UUID: "u", Name: Name{Role: "web", ID: "v"}, Size: resource.One, Shared: true, Phase: Ready, ContainerPath: "v"}
	return Empty().With(Change{Volume: v}), Env{Now: time.Unix(1, 0), NewUUID: func() UUID { return "new" }}
}

func TestATaskHasABoundedNumberOfUses(t *testing.T) {
	t.Parallel()
	s, env := sharedVolume()
	claim := Claim{Task: "t", Sandbox: "/s/t"}
	for i := range maxUses {
		claim.Uses = append(claim.Uses, Use{Volume: "web/v", Path: fmt.Sprint("p", i)})
	}
	out, err := Apply(s, env, claim)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Apply(out.Next, env, Attach{Task: "t", Use: Use{Volume: "web/v", Path: "one-more"}, Via: ByPath})
	if !errors.Is(err, ErrInvalid) {
		t.Errorf("one more than %d: %v, want invalid", maxUses, err)
	}
}

func TestAMountByPathIsRefusedWhereTheTaskWouldNotSeeIt(t *testing.T) {
	t.Parallel()
	s, env := sharedVolume()
	out, err := Apply(s, env, Attach{Task: "t", Sandbox: "/s/t", Use: Use{Volume: "web/v"}, Via: ByDescriptor})
	if err != nil {
		t.Fatal(err)
	}
	_, err = Apply(out.Next, env, Attach{Task: "t", Use: Use{Volume: "web/v", Path: "other"}, Via: ByPath})
	if !errors.Is(err, ErrInvalid) {
		t.Errorf("a mount by path beside one by descriptor: %v, want invalid", err)
	}
}

func TestAReleaseIsForTheTaskThatItWasDecidedOn(t *testing.T) {
	t.Parallel()
	s, env := sharedVolume()
	out, err := Apply(s, env, Claim{Task: "t", Sandbox: "/s/t", Lease: Lease{PID: 7, Start: 1}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Apply(out.Next, env, Release{Task: "t", Ended: true, Since: env.Now.Add(-time.Second)}); !errors.Is(err, ErrNotFound) {
		t.Errorf("release decided on an earlier task of the name: %v, want not found", err)
	}
	if _, err := Apply(out.Next, env, Release{Task: "t", Ended: true, Since: env.Now}); err != nil {
		t.Error(err)
	}
}
