package config_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"tenon/agent/resource"
	"tenon/agent/volume"
)

// madeBy is a volume that somebody made, of what they reserved.
func madeBy(principal, role string) resource.Resource {
	return resource.Resource{Name: "disk", Type: resource.TypeScalar, Scalar: resource.One,
		Reservations: []resource.Reservation{{Type: resource.Dynamic, Role: role, Principal: &principal}},
		Disk: &resource.Disk{Persistence: &resource.Persistence{ID: "data", Principal: &principal},
			Volume: &resource.Volume{ContainerPath: "data", Mode: resource.RW}}}
}

// stateOf has one volume.
func stateOf(r resource.Resource) *volume.State {
	return volume.Empty().With(volume.Change{Volume: &volume.Volume{UUID: "u", Name: volume.Name{Role: r.Role(), ID: "data"}, Size: r.Scalar,
		Reservations: r.Reservations, Principal: r.Disk.Persistence.Principal, Phase: volume.Ready}})
}

func TestTheRulesInREADMEAllowAndRefuseWhatItSays(t *testing.T) {
	t.Parallel()
	all := blocks(read(t, "../../README.md"))
	at := slices.IndexFunc(all, func(block string) bool { return strings.Contains(block, "[acl]") })
	if at < 0 {
		t.Fatal("README.md has no [acl]")
	}
	c := mustLoad(t, all[at])
	for uid, want := range map[int]string{0: "root", 1001: "ci", 1002: ""} {
		if got := c.Principals.Of(uid, []int{0, 1001}); got != want {
			t.Errorf("the user %d is %q, want %q", uid, got, want)
		}
	}
	// By role and by who made what is there: root may everything; ci what is of web and its own;
	// others nothing, as no rule allows them anything.
	for _, role := range []string{"web", "web/a", "webs", "db"} {
		for _, maker := range []string{"root", "ci", "else"} {
			r := madeBy(maker, role)
			st, ref := stateOf(r), role+"/data"
			ofWeb, own := role == "web" || role == "web/a", maker == "ci"
			for _, one := range []struct {
				op volume.Operation
				ci bool
			}{
				{volume.Reserve{Resources: []resource.Resource{r}}, false},
				{volume.Unreserve{Resources: []resource.Resource{r}}, false},
				{volume.Create{Volume: r}, ofWeb},
				{volume.Destroy{Ref: ref}, own},
				{volume.Resize{Ref: ref, Size: 2 * resource.One}, false},
				{volume.Attach{Task: "t", Use: volume.Use{Volume: ref}}, ofWeb},
				{volume.Detach{Task: "t", Volume: ref}, ofWeb},
			} {
				for principal, may := range map[string]bool{"root": true, "ci": one.ci, "": false, "else": false} {
					if err := c.ACLs.For(principal)(st, one.op); (err == nil) != may {
						t.Errorf("%q asks for %s of %s, made by %s: got %v, want it allowed: %v", principal, one.op.Name(), ref, maker, err, may)
					} else if err != nil && !ruleNamed.MatchString(err.Error()) {
						t.Errorf("the refusal names no rule: %v", err)
					}
				}
			}
			for principal, may := range map[string]bool{"root": true, "ci": ofWeb, "": false} {
				if got := c.ACLs.Visible(principal)(role); got != may {
					t.Errorf("%q sees %s: %v, want %v", principal, role, got, may)
				}
			}
		}
	}
	// A task without volumes is released by anyone, and what nobody is known to have made is
	// covered by ANY alone.
	old := madeBy("", "web")
	old.Reservations[0].Principal, old.Disk.Persistence.Principal = nil, nil
	for principal, may := range map[string]bool{"root": true, "ci": false, "": false} {
		if err := c.ACLs.For(principal)(stateOf(old), volume.Destroy{Ref: "web/data"}); (err == nil) != may {
			t.Errorf("%q destroys what was made before there were principals: %v", principal, err)
		}
		if err := c.ACLs.For(principal)(volume.Empty(), volume.Release{Task: "t"}); err != nil {
			t.Errorf("%q releases a task without volumes: %v", principal, err)
		}
	}
}

// ruleNamed is how a refusal says by which rule it is.
var ruleNamed = regexp.MustCompile(`[a-z]+_(resources|volumes)\[\d+\]|permissive = false`)
