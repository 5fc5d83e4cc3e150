package access

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pelletier/go-toml/v2"
)

// whole names every action, and every form of an entity.
const whole = `{
	"permissive": false,
	"reserve_resources": [{"principals": {"type": "ANY"}, "roles": {"values": ["web", "eng/%"]}},
	                      {"principals": {"type": "SOME", "values": ["a"]}, "roles": {"type": "NONE"}}],
	"unreserve_resources": [{"principals": {"values": ["a"]}, "reserver_principals": "ANY"}],
	"create_volumes": [{"principals": ["a", "b"], "roles": "ANY"}],
	"destroy_volumes": [{"principals": ["a"], "creator_principals": ["a", "x/%", "%"]}],
	"resize_volumes": [{"principals": "NONE", "roles": "ANY"}],
	"attach_volumes": [{"principals": "ANY", "roles": ["*"]}],
	"view_roles": []
}`

const wholeTOML = `
permissive = false
create_volumes = [{principals = ["a", "b"], roles = "ANY"}]
view_roles = []
[[reserve_resources]]
principals = "ANY"
roles = ["web", "eng/%"]
[[reserve_resources]]
principals = ["a"]
roles = {type = "NONE"}
[[unreserve_resources]]
principals = {values = ["a"]}
reserver_principals = {type = "ANY"}
[[destroy_volumes]]
principals = ["a"]
creator_principals = ["a", "x/%", "%"]
[[resize_volumes]]
principals = "NONE"
roles = "ANY"
[[attach_volumes]]
principals = "ANY"
roles = ["*"]
`

func wholeACLs() ACLs {
	return ACLs{Strict: true, Rules: map[Action][]Rule{
		Reserve:   {{everybody, just("web", "eng/%")}, {just("a"), nobody}},
		Unreserve: {{just("a"), everybody}},
		Create:    {{just("a", "b"), everybody}},
		Destroy:   {{just("a"), just("a", "x/%", "%")}},
		Resize:    {{nobody, everybody}},
		Attach:    {{everybody, just("*")}},
	}}
}

func TestMesosJSONAndOurTableReadTheSame(t *testing.T) {
	t.Parallel()
	var fromJSON ACLs
	if err := json.Unmarshal([]byte(whole), &fromJSON); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(wholeACLs(), fromJSON); d != "" {
		t.Errorf("JSON (-want +got):\n%s", d)
	}
	var table map[string]any
	if err := toml.Unmarshal([]byte(wholeTOML), &table); err != nil {
		t.Fatal(err)
	}
	fromTOML, err := ParseTable(table)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(wholeACLs(), fromTOML); d != "" {
		t.Errorf("TOML (-want +got):\n%s", d)
	}
}

func TestRulesArePermissiveUnlessTheySayOtherwise(t *testing.T) {
	t.Parallel()
	for text, strict := range map[string]bool{`{}`: false, `{"permissive":true}`: false, `{"permissive":false}`: true} {
		a := ACLs{Strict: !strict, Rules: map[Action][]Rule{View: nil}}
		if err := json.Unmarshal([]byte(text), &a); err != nil || a.Strict != strict || a.Rules != nil {
			t.Errorf("%s: %+v, %v", text, a, err)
		}
	}
	if a, err := ParseTable(nil); err != nil || a.Strict || a.Rules != nil {
		t.Errorf("no table: %+v, %v", a, err)
	}
}

func TestWhatIsWrongWithRulesIsSaidWithItsPlace(t *testing.T) {
	t.Parallel()
	cases := map[string]string{
		`[]`:                                "ACLs are a list, want a table",
		`null`:                              "ACLs are null",
		`{"permissive":"false"}`:            "permissive is a text, want true or false",
		`{"permissive":null}`:               "permissive is null",
		`{"Permissive":false}`:              `"Permissive" is none of the actions attach_volumes, create_volumes, `,
		`{"run_tasks":[]}`:                  `"run_tasks" is none of the actions`,
		`{"create_volumes":{}}`:             "create_volumes is a table, want a list of rules",
		`{"create_volumes":["ANY"]}`:        "create_volumes[0]: a rule is a text, want a table of principals and roles",
		rule(`"principals":"ANY"`):          "create_volumes[0]: roles is missing",
		rule(`"roles":"ANY"`):               "create_volumes[0]: principals is missing",
		rule(`"principal":"ANY"`):           `create_volumes[0]: "principal" is neither principals nor roles`,
		roles(`"web"`):                      `roles: "web" is neither "ANY" nor "NONE"; a name stands in a list, as ["web"]`,
		roles(`"any"`):                      `"any" is neither`,
		roles(`[]`):                         `roles: the list is empty: nothing is "NONE"`,
		roles(`null`):                       "roles: it is null",
		roles(`7`):                          "roles: it is a number",
		roles(`["web", 7]`):                 "roles: a name is a number",
		roles(`["ANY"]`):                    `roles: "ANY" is not a role`,
		roles(`["%"]`):                      `roles: "%" is not a role`,
		roles(`["*/%"]`):                    "cannot include '*' as a component",
		roles(`["/web"]`):                   "cannot start with a slash",
		roles(`["a//%"]`):                   "two adjacent slashes",
		roles(`{}`):                         "roles: neither type nor values is set",
		roles(`{"type":"some"}`):            `"some" is neither`,
		roles(`{"type":"SOME"}`):            `"SOME" is neither`,
		roles(`{"type":1}`):                 "roles: type is a number, want a text",
		roles(`{"values":"web"}`):           "roles: values is a text, want a list",
		roles(`{"values":[]}`):              "roles: the list is empty",
		roles(`{"value":["web"]}`):          `roles: "value" is neither type nor values`,
		principals(`["NONE"]`):              `principals: "NONE" is not a principal's name`,
		principals(`[""]`):                  "principals: a principal's name is empty",
		principals(`["a\nb"]`):              "holds control characters",
		`{"view_roles":[],"view_roles":[]}`: `"view_roles" occurs twice`,
		rule(`"roles":{"type":"ANY","type":"NONE"},"principals":"ANY"`):        `"type" occurs twice`,
		roles(`{"type":"ANY","values":["web"]}`):                               `values stand beside the type "ANY"`,
		`{"destroy_volumes":[{"principals":"ANY","roles":"ANY"}]}`:             `destroy_volumes[0]: "roles" is neither principals nor creator_principals`,
		principals(`["` + strings.Repeat("a", 256) + `"]`):                     "has more than 255 bytes",
		`{"a":[],"create_volumes":[{"principals":"ANY","roles":"ANY"}, {}]}`:   "\ncreate_volumes[1]: principals is missing",
		`{"create_volumes":[{"principals":"x","roles":"ANY"}],"view_roles":1}`: "\nview_roles is a number",
	}
	for text, want := range cases {
		before := ACLs{Strict: true}
		got := before
		err := json.Unmarshal([]byte(text), &got)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
		if d := cmp.Diff(before, got); d != "" {
			t.Errorf("%s: what is wrong has changed the rules:\n%s", text, d)
		}
	}
}

func rule(fields string) string       { return `{"create_volumes":[{` + fields + `}]}` }
func roles(entity string) string      { return rule(`"principals":"ANY","roles":` + entity) }
func principals(entity string) string { return rule(`"roles":"ANY","principals":` + entity) }

func TestWhatIsNotJSONInUTF8IsNotRead(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "{", "{}{}", `{"view_roles":[]} x`, roles("[\"\xff\"]"), strings.Repeat("[", 100_000)} {
		if err := new(ACLs).UnmarshalJSON([]byte(text)); err == nil {
			t.Errorf("%.40q was read", text)
		}
	}
}

// FuzzACLs reads anything. What is read keeps the rules of what may be read: it decides
// everything without surprise, and no list is empty or says what Any or None would.
func FuzzACLs(f *testing.F) {
	f.Add([]byte(whole))
	f.Add([]byte(`{"view_roles":[{"principals":{"type":"ANY"},"roles":{"values":["a/%"]}}]}`))
	f.Add([]byte(`{"permissive":true,"permissive":false}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var a ACLs
		if err := a.UnmarshalJSON(data); err != nil {
			if a.Strict || a.Rules != nil {
				t.Errorf("refused with %v, but read %+v", err, a)
			}
			return
		}
		if !json.Valid(data) {
			t.Error("read what is not JSON")
		}
		for action, list := range a.Rules {
			if _, known := kinds[action]; !known {
				t.Errorf("read the unknown action %q", action)
			}
			for _, r := range list {
				checkEntity(t, r.Principals)
				checkEntity(t, r.Objects)
				for _, who := range append(r.Principals.Values, "") {
					for _, what := range append(r.Objects.Values, "") {
						d := a.Decide(who, action, what)
						if d.Allowed && what != "" && !mesos(a, who, action, what) {
							t.Errorf("%s allows %q %q", d.Rule, who, what)
						}
					}
				}
			}
		}
	})
}

func checkEntity(t *testing.T, e Entity) {
	t.Helper()
	if (e.Type == Some) != (len(e.Values) > 0) || e.Type > None {
		t.Errorf("read the entity %+v", e)
	}
	for _, v := range e.Values {
		if v == "" || v == "ANY" || v == "NONE" {
			t.Errorf("read the name %q in a list", v)
		}
	}
}
