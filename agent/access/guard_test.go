package access

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tenon/agent/resource"
	"tenon/agent/volume"
)

// host is a state with two volumes: web/data, made by joe and held by tasks t1 and t2,
// and eng/a/logs, made by nobody that is known and held by t1 alone. old is a tombstone. Of
// two operations with ids, joe asked for one, and nobody that is known for the other.
func host() *volume.State {
	joe := "joe"
	return volume.Empty().With(
		volume.Change{Volume: &volume.Volume{UUID: "v1", Name: volume.Name{Role: "web", ID: "data"}, Principal: &joe,
			Reservations: stack("web"), Size: 64 * resource.One, Phase: volume.Ready}},
		volume.Change{Volume: &volume.Volume{UUID: "v2", Name: volume.Name{Role: "eng/a", ID: "logs"},
			Reservations: stack("eng/a"), Size: 64 * resource.One, Phase: volume.Ready}},
		volume.Change{Volume: &volume.Volume{UUID: "v3", Name: volume.Name{Role: "old", ID: "gone"}, Principal: &joe,
			Reservations: stack("old"), Size: 64 * resource.One, Phase: volume.Destroying}},
		volume.Change{Task: &volume.Task{ID: "t1", Sandbox: "/s/t1"}},
		volume.Change{Task: &volume.Task{ID: "t2", Sandbox: "/s/t2"}},
		volume.Change{Attachment: &volume.Attachment{Volume: "v1", Task: "t1", Path: "data"}},
		volume.Change{Attachment: &volume.Attachment{Volume: "v2", Task: "t1", Path: "logs"}},
		volume.Change{Attachment: &volume.Attachment{Volume: "v1", Task: "t2", Path: "data"}},
		volume.Change{Operation: &volume.OperationStatus{ID: "joes", Principal: joe, State: volume.OperationFinished}},
		volume.Change{Operation: &volume.OperationStatus{ID: "nobodys", State: volume.OperationFinished}},
	)
}

// level is a dynamic reservation; by is "" for nobody that is known.
func level(role, by string) resource.Reservation {
	r := resource.Reservation{Type: resource.Dynamic, Role: role}
	if by != "" {
		r.Principal = &by
	}
	return r
}

func stack(role string) []resource.Reservation { return []resource.Reservation{level(role, "")} }

func disk(levels ...resource.Reservation) resource.Resource {
	return resource.Resource{Name: "disk", Type: resource.TypeScalar, Scalar: 64 * resource.One, Reservations: levels}
}

// claims is a volume as a request has it, which may say what it likes of the creator.
func claims(role, id, by string) resource.Resource {
	r := disk(level(role, ""))
	r.Disk = &resource.Disk{Persistence: &resource.Persistence{ID: id, Principal: &by},
		Volume: &resource.Volume{ContainerPath: id, Mode: resource.RW}}
	return r
}

func list(rs ...resource.Resource) []resource.Resource { return rs }

func TestEachOperationAsksForWhatItIsAbout(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		op   volume.Operation
		want []ask
	}{
		"reserve asks for the last role of each resource": {
			volume.Reserve{Resources: list(disk(level("eng", "x"), level("eng/a", "y")), disk(level("web", "")))},
			[]ask{{Reserve, "eng/a"}, {Reserve, "web"}},
		},
		"a reservation that changes asks for what is dropped and what is added, not for what stays": {
			volume.Reserve{
				Source:    list(disk(level("eng", "x"), level("eng/a", "y"), level("eng/a/b", "z"))),
				Resources: list(disk(level("eng", "x"), level("eng/c", "w"), level("eng/c/d", "w"))),
			},
			[]ask{{Unreserve, "y"}, {Unreserve, "z"}, {Reserve, "eng/c"}, {Reserve, "eng/c/d"}},
		},
		"one of another principal is another": {
			volume.Reserve{Source: list(disk(level("eng", "x"))), Resources: list(disk(level("eng", "y")))},
			[]ask{{Unreserve, "x"}, {Reserve, "eng"}},
		},
		"one that only adds drops nothing": {
			volume.Reserve{Source: list(disk(level("eng", "x"))), Resources: list(disk(level("eng", "x"), level("eng/a", "")))},
			[]ask{{Reserve, "eng/a"}},
		},
		"one that only drops adds nothing": {
			volume.Reserve{Source: list(disk(level("eng", "x"), level("eng/a", ""))), Resources: list(disk(level("eng", "x")))},
			[]ask{{Unreserve, ""}},
		},
		"all resources count, though apply refuses a mixture": {
			volume.Reserve{Source: list(disk(level("eng", "x")), disk(level("web", "y"))), Resources: list(disk(level("eng", "x")), disk())},
			[]ask{{Unreserve, "x"}, {Unreserve, "y"}, {Reserve, "eng"}},
		},
		"what is not reserved is for apply to refuse": {
			volume.Reserve{Resources: list(disk())}, nil,
		},
		"unreserve asks for the principal that reserved last": {
			volume.Unreserve{Resources: list(disk(level("eng", "x"), level("eng/a", "y")), disk(level("web", "")), disk())},
			[]ask{{Unreserve, "y"}, {Unreserve, ""}},
		},
		"create asks for the role of the reservation": {
			volume.Create{Volume: claims("web", "new", "joe"), Role: "other"}, []ask{{Create, "web"}},
		},
		"or for the role that is named without one": {
			volume.Create{Volume: disk(), Role: "eng"}, []ask{{Create, "eng"}},
		},
		"a create of no role is for apply to refuse":              {volume.Create{Volume: disk()}, nil},
		"destroy by name asks for the creator that is stored":     {volume.Destroy{Ref: "web/data"}, []ask{{Destroy, "joe"}}},
		"destroy by UUID does, too":                               {volume.Destroy{Ref: "v1"}, []ask{{Destroy, "joe"}}},
		"destroy of a tombstone does, too":                        {volume.Destroy{Ref: "v3"}, []ask{{Destroy, "joe"}}},
		"destroy by resource does not believe the request":        {volume.Destroy{Volume: claims("web", "data", "eve")}, []ask{{Destroy, "joe"}}},
		"destroy asks for nobody where none is stored":            {volume.Destroy{Volume: claims("eng/a", "logs", "eve")}, []ask{{Destroy, ""}}},
		"destroy of what is not there is for apply to refuse":     {volume.Destroy{Ref: "web/none"}, nil},
		"destroy of what is no volume is for apply to refuse":     {volume.Destroy{Volume: disk(level("web", ""))}, nil},
		"destroy by the name of a tombstone, which has none, too": {volume.Destroy{Volume: claims("old", "gone", "joe")}, nil},
		"grow asks for the role that is stored":                   {volume.Grow{Volume: claims("web", "data", "eve")}, []ask{{Resize, "web"}}},
		"shrink asks for the role that is stored":                 {volume.Shrink{Volume: claims("eng/a", "logs", "eve")}, []ask{{Resize, "eng/a"}}},
		"resize asks for the role that is stored":                 {volume.Resize{Ref: "v2"}, []ask{{Resize, "eng/a"}}},
		"grow of what is not there":                               {volume.Grow{Volume: claims("web", "none", "")}, nil},
		"shrink of what is no volume":                             {volume.Shrink{Volume: disk(level("web", ""))}, nil},
		"resize of what is not there":                             {volume.Resize{Ref: "web/none"}, nil},
		"resize of no name":                                       {volume.Resize{}, nil},
		"launch asks for each volume, and no other resource": {
			volume.Launch{Task: "t3", Resources: list(claims("web", "data", ""), disk(level("eng", "")), claims("eng/a", "logs", ""), claims("x", "none", ""))},
			[]ask{{Attach, "web"}, {Attach, "eng/a"}},
		},
		"claim asks for each volume": {
			volume.Claim{Task: "t3", Uses: []volume.Use{{Volume: "web/data"}, {Volume: "v2"}, {Volume: "web/none"}}},
			[]ask{{Attach, "web"}, {Attach, "eng/a"}},
		},
		"a claim of nothing asks for nothing": {volume.Claim{Task: "t3"}, nil},
		"attach asks for the volume":          {volume.Attach{Task: "t3", Use: volume.Use{Volume: "eng/a/logs"}}, []ask{{Attach, "eng/a"}}},
		"and for what the task has": {volume.Attach{Task: "t1", Use: volume.Use{Volume: "web/data"}},
			[]ask{{Attach, "web"}, {Attach, "eng/a"}, {Attach, "web"}}},
		"a claim for a task that is there asks for what it has, too": {volume.Claim{Task: "t1"}, []ask{{Attach, "web"}, {Attach, "eng/a"}}},
		"so does a launch": {volume.Launch{Task: "t2", Resources: list(claims("eng/a", "logs", ""))}, []ask{{Attach, "web"}, {Attach, "eng/a"}}},
		"set-mode asks for the volume and for what else the task has": {volume.SetMode{Task: "t1", Volume: "web/data"},
			[]ask{{Attach, "web"}, {Attach, "eng/a"}, {Attach, "web"}}},
		"detach asks for the volume and for what else the task has": {volume.Detach{Task: "t1", Volume: "web/data"},
			[]ask{{Attach, "web"}, {Attach, "eng/a"}, {Attach, "web"}}},
		"detach of what is not there asks for what the task has": {volume.Detach{Task: "t2", Volume: "web/none"}, []ask{{Attach, "web"}}},
		"release asks for all that the task has":                 {volume.Release{Task: "t1"}, []ask{{Attach, "web"}, {Attach, "eng/a"}}},
		"release of a task that is not there":                    {volume.Release{Task: "none"}, nil},
		"renew asks for all that the task has":                   {volume.Renew{Task: "t1"}, []ask{{Attach, "web"}, {Attach, "eng/a"}}},
		"kill asks for all that the task has":                    {volume.Kill{Task: "t1"}, []ask{{Attach, "web"}, {Attach, "eng/a"}}},
	}
	s := host()
	asked := map[string]bool{"Identified": true, "Acknowledge": true} // never asked about itself; decided by who asked
	for name, c := range cases {
		asked[reflect.TypeOf(c.op).Name()] = true
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, known := asksOf(s, c.op)
			if !known {
				t.Fatal("the operation is not known")
			}
			if d := cmp.Diff(c.want, got, cmp.AllowUnexported(ask{})); d != "" {
				t.Errorf("asks (-want +got):\n%s", d)
			}
		})
	}
	for _, name := range operations(t) {
		if !asked[name] {
			t.Errorf("no case asks about volume.%s", name)
		}
	}
}

// operations are the names of all types of package volume that are operations: those
// that can be applied to a draft.
func operations(t *testing.T) (names []string) {
	t.Helper()
	files, err := filepath.Glob("../volume/*.go")
	if err != nil || files == nil {
		t.Fatalf("package volume: %d files, %v", len(files), err)
	}
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^func \(o (\w+)\) apply\(d \*draft\)`).FindAllSubmatch(source, -1) {
			names = append(names, string(m[1]))
		}
	}
	if len(names) < 8 {
		t.Errorf("found only %v", names)
	}
	return names
}

func TestOneRefusalRefusesTheOperation(t *testing.T) {
	t.Parallel()
	a := ACLs{Rules: map[Action][]Rule{
		Reserve:   {{just("ops"), just("web", "eng/%")}, {everybody, nobody}},
		Unreserve: {{just("ops"), just("ops")}},
		Destroy:   {{just("joe"), just("joe")}, {just("ops"), everybody}, {everybody, nobody}},
		Attach:    {{just("joe"), just("web")}, {just("ops"), everybody}},
		View:      {{just("eve"), nobody}, {everybody, everybody}},
	}, Strict: true}
	cases := []struct {
		principal string
		op        volume.Operation
		want      string // refusal; empty is allowed
	}{
		{"ops", volume.Reserve{Resources: list(disk(level("web", "")), disk(level("eng/a", "")))}, ""},
		{"ops", volume.Reserve{Resources: list(disk(level("web", "")), disk(level("eng", "")))},
			`reserve resources for role "eng": refused by reserve_resources[1] of the ACLs, asked by principal "ops"`},
		{"", volume.Reserve{Resources: list(disk(level("web", "")))},
			`reserve resources for role "web": refused by reserve_resources[1] of the ACLs, asked by nobody that is known`},
		{"ops", volume.Unreserve{Resources: list(disk(level("web", "ops")))}, ""},
		{"ops", volume.Unreserve{Resources: list(disk(level("web", "")))},
			`unreserve resources that were reserved by nobody that is known: refused by permissive = false of the ACLs, asked by principal "ops"`},
		{"joe", volume.Unreserve{Resources: list(disk(level("web", "joe")))},
			`unreserve resources that were reserved by principal "joe": refused by permissive = false of the ACLs, asked by principal "joe"`},
		{"ops", volume.Create{Role: "web"},
			`create volumes of role "web": refused by permissive = false of the ACLs, asked by principal "ops"`},
		{"joe", volume.Destroy{Ref: "web/data"}, ""},
		{"eve", volume.Destroy{Volume: claims("web", "data", "eve")},
			`destroy volumes that were created by principal "joe": refused by destroy_volumes[2] of the ACLs, asked by principal "eve"`},
		{"joe", volume.Destroy{Ref: "eng/a/logs"},
			`destroy volumes that were created by nobody that is known: refused by destroy_volumes[2] of the ACLs, asked by principal "joe"`},
		{"ops", volume.Destroy{Ref: "eng/a/logs"}, ""},
		{"eve", volume.Destroy{Ref: "eng/none"}, ""},
		{"ops", volume.Reserve{Source: list(disk(level("eng/a", "ops"))), Resources: list(disk(level("web", "ops")))}, ""},
		{"ops", volume.Reserve{Source: list(disk(level("eng/a", "joe"))), Resources: list(disk(level("web", "ops")))},
			`unreserve resources that were reserved by principal "joe": refused by permissive = false of the ACLs, asked by principal "ops"`},
		{"ops", volume.Reserve{Source: list(disk(level("eng/a", "ops"))), Resources: list(disk(level("db", "ops")))},
			`reserve resources for role "db": refused by reserve_resources[1] of the ACLs, asked by principal "ops"`},
		{"joe", volume.Resize{Ref: "web/data"},
			`resize volumes of role "web": refused by permissive = false of the ACLs, asked by principal "joe"`},
		{"joe", volume.Release{Task: "t2"}, ""},
		{"ops", volume.Release{Task: "t1"}, ""},
		{"joe", volume.Release{Task: "t1"},
			`attach or detach volumes of role "eng/a": refused by permissive = false of the ACLs, asked by principal "joe"`},
		{"joe", volume.Attach{Task: "t2", Use: volume.Use{Volume: "web/data"}}, ""},
		{"joe", volume.Attach{Task: "t1", Use: volume.Use{Volume: "web/data"}},
			`attach or detach volumes of role "eng/a": refused by permissive = false of the ACLs, asked by principal "joe"`},
		{"joe", volume.SetMode{Task: "t1", Volume: "web/data"},
			`attach or detach volumes of role "eng/a": refused by permissive = false of the ACLs, asked by principal "joe"`},
		{"joe", volume.Detach{Task: "t1", Volume: "web/data"},
			`attach or detach volumes of role "eng/a": refused by permissive = false of the ACLs, asked by principal "joe"`},
		{"joe", volume.Launch{Task: "t1"},
			`attach or detach volumes of role "eng/a": refused by permissive = false of the ACLs, asked by principal "joe"`},
		{"eve", volume.Release{Task: "t1"},
			`attach or detach volumes of role ?, which may not be seen: refused by permissive = false of the ACLs, asked by principal "eve"`},
		{"eve", volume.Claim{Task: "t3"}, ""},
		{"joe", volume.Acknowledge{ID: "joes"}, ""},
		{"joe", volume.Acknowledge{ID: "none"}, ""},
		{"", volume.Acknowledge{ID: "nobodys"}, ""},
		{"joe", volume.Acknowledge{ID: "nobodys"},
			`acknowledge operation "nobodys": refused by the ACLs, as it is another's, asked by principal "joe"`},
		{"ops", volume.Acknowledge{ID: "joes"},
			`acknowledge operation "joes": refused by the ACLs, as it is another's, asked by principal "ops"`},
		{"", volume.Acknowledge{ID: "joes"},
			`acknowledge operation "joes": refused by the ACLs, as it is another's, asked by nobody that is known`},
		{"joe", volume.Claim{Uses: []volume.Use{{Volume: "web/data"}, {Volume: "eng/a/logs"}}},
			`attach or detach volumes of role "eng/a": refused by permissive = false of the ACLs, asked by principal "joe"`},
	}
	s := host()
	for _, c := range cases {
		err := a.For(c.principal)(s, c.op)
		if (err == nil) != (c.want == "") || err != nil && err.Error() != c.want {
			t.Errorf("%q %+v:\n got %v\nwant %s", c.principal, c.op, err, c.want)
		}
		var refusal *volume.Error
		if err != nil && (!errors.Is(err, volume.ErrForbidden) || !errors.As(err, &refusal)) {
			t.Errorf("%v is of the kind %v", err, volume.Kind(err))
		}
	}
}

func TestARefusalIsShortWhateverWasAsked(t *testing.T) {
	t.Parallel()
	err := ACLs{Strict: true}.For("ops")(host(), volume.Create{Role: strings.Repeat("\x1b", 1<<20)})
	if err == nil || len(err.Error()) > 2048 || strings.Contains(err.Error(), "\x1b") {
		t.Errorf("%.300v", err)
	}
}

func TestRulesThatAllowAllNeedNoGuard(t *testing.T) {
	t.Parallel()
	if (ACLs{}).For("") != nil {
		t.Error("the zero ACLs have a guard")
	}
	if (ACLs{Strict: true}).For("") == nil {
		t.Error("strict ACLs have none")
	}
	if rules(Rule{everybody, nobody}).For("") == nil {
		t.Error("ACLs with rules have none")
	}
}

func TestAnOperationThatIsNotKnownIsForbidden(t *testing.T) {
	t.Parallel()
	a := ACLs{Rules: map[Action][]Rule{Create: {{everybody, everybody}}}}
	for _, op := range []volume.Operation{struct{ volume.Operation }{volume.Claim{}}, volume.Identified{Type: "CLAIM"}} {
		err := a.For("ops")(host(), op)
		if !errors.Is(err, volume.ErrForbidden) || !strings.HasPrefix(err.Error(), "claim: ") {
			t.Errorf("got %v", err)
		}
	}
}

// TestTheGuardSeesWhatTheBatchHasMade applies a batch in which a volume is destroyed that
// was made just before, by somebody else than the destroyer.
func TestTheGuardSeesWhatTheBatchHasMade(t *testing.T) {
	t.Parallel()
	var asked []string
	s := host().With(volume.Change{Disk: &volume.Disk{Pool: "p", Total: 1000 * resource.One, Phase: volume.Ready}},
		volume.Change{Account: &volume.Account{Reservations: stack("web"), Free: 500 * resource.One}})
	guard := ACLs{Rules: map[Action][]Rule{Destroy: {{just("ops"), just("eve")}, {everybody, nobody}}}}.For("ops")
	env := volume.Env{NewUUID: func() volume.UUID { return "v9" }, Allow: func(s *volume.State, op volume.Operation) error {
		asked = append(asked, op.Name())
		return guard(s, op)
	}}
	_, err := volume.Apply(s, env, volume.Create{Volume: claims("web", "new", "ops")}, volume.Destroy{Ref: "web/new"})
	if !errors.Is(err, volume.ErrForbidden) || !strings.Contains(err.Error(), `created by principal "ops"`) {
		t.Errorf("got %v", err)
	}
	if !slices.Equal(asked, []string{"create", "destroy"}) {
		t.Errorf("asked about %v", asked)
	}
	if _, err = volume.Apply(s, env, volume.Create{Volume: claims("web", "new", "eve")}, volume.Destroy{Ref: "web/new"}); err != nil {
		t.Errorf("got %v", err)
	}
}
