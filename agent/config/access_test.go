package config_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tenon/agent/access"
	"tenon/agent/config"
)

func number(n int) *int { return &n }

func TestPrincipalsAndACLsAreRead(t *testing.T) {
	t.Parallel()
	c := mustLoad(t, `
[[principal]]
name = "root"
uid = 0
[[principal]]
name = "ops"
uid = 7
gid = 1000
[acl]
permissive = false
view_roles = [{ principals = "ANY", roles = "ANY" }]
[[acl.create_volumes]]
principals = ["ops"]
roles = ["web", "web/%"]
[[acl.create_volumes]]
principals = { type = "NONE" }
roles = { values = ["eng"] }
`)
	principals := access.Principals{{Name: "root", UID: number(0)}, {Name: "ops", UID: number(7), GID: number(1000)}}
	if diff := cmp.Diff(principals, c.Principals); diff != "" {
		t.Errorf("Principals (-want +got):\n%s", diff)
	}
	acls := access.ACLs{Strict: true, Rules: map[access.Action][]access.Rule{
		access.View: {{Principals: access.Entity{Type: access.Any}, Objects: access.Entity{Type: access.Any}}},
		access.Create: {
			{Principals: access.Entity{Values: []string{"ops"}}, Objects: access.Entity{Values: []string{"web", "web/%"}}},
			{Principals: access.Entity{Type: access.None}, Objects: access.Entity{Values: []string{"eng"}}},
		},
	}}
	if diff := cmp.Diff(acls, c.ACLs); diff != "" {
		t.Errorf("ACLs (-want +got):\n%s", diff)
	}
}

func TestTablesOfTheFileReplaceThoseOfTheBase(t *testing.T) {
	t.Parallel()
	base := config.Default()
	base.Principals = access.Principals{{Name: "old", UID: number(1)}}
	base.ACLs.Rules = map[access.Action][]access.Rule{access.View: {{}}}
	base.ACLs.Strict = true
	got, err := config.Load(base, config.Sources{File: mustWrite(t, "[[principal]]\nname = 'new'\ngid = 2\n[acl]\npermissive = true\n")})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(access.Principals{{Name: "new", GID: number(2)}}, got.Principals); diff != "" {
		t.Errorf("Principals (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(access.ACLs{}, got.ACLs); diff != "" {
		t.Errorf("ACLs (-want +got):\n%s", diff)
	}
}

func TestTablesThatAreNotSaidStayAndAreNotShared(t *testing.T) {
	t.Parallel()
	base := config.Default()
	base.Principals = access.Principals{{Name: "old", UID: number(1)}}
	base.ACLs.Rules = map[access.Action][]access.Rule{access.View: {{Principals: access.Entity{Type: access.Any}, Objects: access.Entity{Type: access.None}}}}
	got, err := config.Load(base, config.Sources{File: mustWrite(t, "")})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(base, got); diff != "" {
		t.Errorf("Load() (-want +got):\n%s", diff)
	}
	got.Principals[0].Name = "changed"
	delete(got.ACLs.Rules, access.View)
	if base.Principals[0].Name == "changed" || len(base.ACLs.Rules) == 0 {
		t.Error("the loaded configuration shares its tables with the base")
	}
}

func TestTablesThatAreWrongNameTheFileAndTheKey(t *testing.T) {
	t.Parallel()
	_, err := config.Load(config.Default(), config.Sources{File: mustWrite(t, `
[[principal]]
name = "ops"
uid = 1
group = 3
[[principal]]
uid = -1
[[disk]]
path = "/a"
type = "block"
role = "-a"
[acl]
permissive = "no"
view_volumes = []
create_volumes = [{ principals = ["ops"] }, { principals = "ops", roles = "ANY" }]
`)})
	want := []string{
		"tenon.toml: line 5: unknown key principal.group",
		`tenon.toml: disk 1: type: "block" is neither path nor mount`,
		"tenon.toml: acl: create_volumes[0]: roles is missing; create_volumes[1]: principals: ",
		"tenon.toml: acl: permissive is a text, want true or false",
		`tenon.toml: acl: "view_volumes" is none of the actions `,
		"disk 1: role: ",
		"principals[1]: a principal's name is empty; uid -1 is not between 0 and ",
	}
	got := problems(err)
	if len(got) != len(want) {
		t.Fatalf("%d problems, want %d:\n%s", len(got), len(want), strings.Join(got, "\n"))
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("problem %d is %q, want it to begin with %q", i, got[i], want[i])
		}
	}
}

func TestATableOfAnotherShapeSaysWhereItIs(t *testing.T) {
	t.Parallel()
	for _, content := range []string{"acl = 7", "principal = 'ops'", "[[principal]]\nname = 'a'\nuid = 'b'", "[[acl]]", "[[disk]]\npath = 7"} {
		_, err := config.Load(config.Default(), config.Sources{File: mustWrite(t, "\n"+content)})
		if got := problems(err); len(got) == 0 || !strings.HasPrefix(got[0], "tenon.toml: line ") {
			t.Errorf("%q: %q, want the line", content, got)
		}
	}
}

func TestRulesThatATableCannotSayAreInvalid(t *testing.T) {
	t.Parallel()
	c := config.Default()
	c.ACLs.Rules = map[access.Action][]access.Rule{"launch": {}, access.View: {{}}}
	want := []string{`acl: "launch" is none of the actions `, "acl: view_roles[0]: principals: the list is empty"}
	got := problems(c.Validate())
	if len(got) != 2 || !strings.HasPrefix(got[0], want[0]) || !strings.HasPrefix(got[1], want[1]) {
		t.Errorf("Validate() = %q, want %q", got, want)
	}
}

func TestEveryExampleInTheWrittenFileLoads(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	if err := config.Write(&b, config.Default()); err != nil {
		t.Fatal(err)
	}
	// A comment that looks like a line of a table is part of an example.
	var lines []string
	for line := range strings.Lines(b.String()) {
		text := strings.TrimPrefix(line, "# ")
		if strings.HasPrefix(text, "[") || strings.Contains(text, " = ") {
			lines = append(lines, text)
		}
	}
	c := mustLoad(t, strings.Join(lines, ""))
	if len(c.Disks) != 2 || !c.Disks[1].Mount || len(c.Principals) != 1 || !c.ACLs.Strict || len(c.ACLs.Rules) != 3 {
		t.Errorf("the examples load to %+v", c)
	}
}
