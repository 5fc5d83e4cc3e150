package access

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

var (
	everybody = Entity{Type: Any}
	nobody    = Entity{Type: None}
)

func just(names ...string) Entity { return Entity{Values: names} }

// TestTheTablesOfMesos holds each action against the rules that Mesos' own tests have
// for it (spec.md AU-01): ANY, values, roles beneath a role, and NONE for all others.
func TestTheTablesOfMesos(t *testing.T) {
	t.Parallel()
	roles := []Rule{
		{just("foo"), everybody},
		{just("bar"), just("panda")},
		{just("baz"), nobody},
		{just("elizabeth-ii"), just("king")},
		{just("charles"), just("king/%")},
		{just("j-welby"), just("king", "king/%")},
		{everybody, nobody},
	}
	ofRoles := []question{
		{"foo", "panda", true, 0}, {"foo", "king/prince", true, 0}, {"foo", "*", true, 0},
		{"bar", "panda", true, 1}, {"bar", "giraffe", false, 6}, {"bar", "panda/cub", false, 6},
		{"baz", "panda", false, 2},
		{"elizabeth-ii", "king", true, 3}, {"elizabeth-ii", "king/prince", false, 6},
		{"charles", "king", false, 6}, {"charles", "king/prince", true, 4}, {"charles", "king/prince/duke", true, 4},
		{"charles", "kingdom", false, 6}, {"charles", "king/%", true, 4},
		{"j-welby", "king", true, 5}, {"j-welby", "king/prince", true, 5}, {"j-welby", "duke", false, 6},
		{"zelda", "panda", false, 6}, {"", "panda", false, 6}, {"", "", false, 6}, {"foo", "", true, 0}, {"bar", "", false, 6},
	}
	principals := []Rule{
		{just("foo", "bar"), everybody},
		{just("zelda"), just("zelda", "a/%")},
		{everybody, nobody},
	}
	ofPrincipals := []question{
		{"foo", "zelda", true, 0}, {"bar", "zelda", true, 0}, {"bar", "", true, 0},
		{"zelda", "zelda", true, 1}, {"zelda", "foo", false, 2}, {"zelda", "", false, 2},
		{"zelda", "a/b", false, 2}, {"zelda", "a/%", true, 1}, // "%" says nothing about principals
		{"", "", false, 2}, {"", "foo", false, 2}, {"neal", "foo", false, 2},
	}
	for action, k := range kinds {
		rules, questions := roles, ofRoles
		if !k.ofRoles() {
			rules, questions = principals, ofPrincipals
		}
		for _, strict := range []bool{false, true} {
			a := ACLs{Strict: strict, Rules: map[Action][]Rule{action: rules}}
			for _, q := range questions {
				q.ask(t, a, action)
			}
		}
	}
}

// question is one decision: who, about what, and the number of the rule that decides, -1
// for none.
type question struct {
	principal, object string
	allowed           bool
	rule              int
}

func (q question) ask(t *testing.T, a ACLs, action Action) {
	t.Helper()
	want := Decision{q.allowed, fmt.Sprintf("%s[%d]", action, q.rule)}
	if q.rule < 0 {
		want.Rule = fmt.Sprintf("permissive = %t", !a.Strict)
	}
	if got := a.Decide(q.principal, action, q.object); got != want {
		t.Errorf("Decide(%q, %s, %q) with %+v = %+v, want %+v", q.principal, action, q.object, a, got, want)
	}
}

func TestTheFirstRuleThatSpeaksOfBothDecides(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		acls      ACLs
		questions []question
	}{
		"an earlier permission beats a later ban, and the other way round": {
			rules(Rule{just("a"), everybody}, Rule{just("a", "b"), nobody}, Rule{just("b"), everybody}),
			[]question{{"a", "web", true, 0}, {"b", "web", false, 1}},
		},
		"a principal that is not known is matched by ANY alone": {
			rules(Rule{just("a"), everybody}, Rule{everybody, just("web")}),
			[]question{{"", "web", true, 1}, {"", "db", true, -1}},
		},
		"an object that is not known is matched by ANY alone": {
			rules(Rule{just("a"), just("web")}, Rule{just("b"), everybody}, Rule{just("c"), nobody}),
			[]question{{"a", "", true, -1}, {"b", "", true, 1}, {"c", "", false, 2}},
		},
		"NONE as principals forbids its objects to everybody, and says nothing of others": {
			rules(Rule{just("a"), just("web")}, Rule{nobody, just("web", "db/%")}, Rule{just("b"), everybody}),
			[]question{{"a", "web", true, 0}, {"b", "web", false, 1}, {"b", "db/x", false, 1}, {"b", "db", true, 2},
				{"", "web", false, 1}, {"", "db", true, -1}},
		},
		"a principal may have a rule for each role": {
			rules(Rule{just("a"), just("web")}, Rule{just("a"), just("db")}, Rule{just("a"), nobody}),
			[]question{{"a", "web", true, 0}, {"a", "db", true, 1}, {"a", "x", false, 2}, {"b", "x", true, -1}},
		},
		"NONE for NONE forbids all": {
			rules(Rule{nobody, nobody}), []question{{"a", "web", false, 0}, {"", "", false, 0}},
		},
		"a rule without values matches nobody, not even whoever is not known": {
			rules(Rule{Entity{}, everybody}, Rule{just(""), everybody}, Rule{everybody, just("")}),
			[]question{{"a", "web", true, -1}, {"", "", true, -1}},
		},
		"without a match the rules are permissive": {
			rules(Rule{just("a"), nobody}), []question{{"b", "web", true, -1}, {"", "web", true, -1}},
		},
		"or they are not": {
			ACLs{Strict: true, Rules: rules(Rule{just("a"), everybody}).Rules},
			[]question{{"a", "web", true, 0}, {"b", "web", false, -1}, {"", "web", false, -1}},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, q := range c.questions {
				q.ask(t, c.acls, Create)
				if got := c.acls.Decide(q.principal, Attach, q.object).Allowed; got == c.acls.Strict {
					t.Errorf("rules for one action decide another: allowed = %t", got)
				}
			}
		})
	}
}

func rules(rs ...Rule) ACLs { return ACLs{Rules: map[Action][]Rule{Create: rs}} }

func TestARoleIsVisibleAsTheRulesOfViewSay(t *testing.T) {
	t.Parallel()
	a := ACLs{Strict: true, Rules: map[Action][]Rule{
		View: {{just("ops"), just("web", "eng/%")}, {everybody, just("*")}}, Create: {{everybody, everybody}},
	}}
	for _, c := range []struct {
		principal, role string
		want            bool
	}{{"ops", "web", true}, {"ops", "eng/a", true}, {"ops", "eng", false}, {"ops", "*", true}, {"", "*", true}, {"", "web", false}} {
		if got := a.Visible(c.principal)(c.role); got != c.want {
			t.Errorf("Visible(%q)(%q) = %t, want %t", c.principal, c.role, got, c.want)
		}
	}
}

// anyAction, anyName and anyEntity draw from few names, so that they meet.
func anyAction() *rapid.Generator[Action] {
	return rapid.SampledFrom([]Action{Reserve, Unreserve, Create, Destroy, Resize, Attach, View})
}

func anyName() *rapid.Generator[string] {
	return rapid.SampledFrom([]string{"", "a", "b", "a/b", "a/b/c", "a/%", "*"})
}

func anyEntity() *rapid.Generator[Entity] {
	return rapid.Custom(func(t *rapid.T) Entity {
		e := Entity{Type: rapid.SampledFrom([]Type{Some, Any, None}).Draw(t, "type")}
		if e.Type == Some {
			e.Values = rapid.SliceOfN(anyName().Filter(func(s string) bool { return s != "" }), 1, 3).Draw(t, "values")
		}
		return e
	})
}

func anyRules() *rapid.Generator[map[Action][]Rule] {
	rule := rapid.Custom(func(t *rapid.T) Rule {
		return Rule{anyEntity().Draw(t, "principals"), anyEntity().Draw(t, "objects")}
	})
	return rapid.MapOf(anyAction(), rapid.SliceOfN(rule, 0, 4))
}

func TestNoRulesAllowEverythingUnlessStrict(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		who, action, what := anyName().Draw(t, "who"), anyAction().Draw(t, "action"), anyName().Draw(t, "what")
		if !(ACLs{}).Decide(who, action, what).Allowed || (ACLs{Strict: true}).Decide(who, action, what).Allowed {
			t.Errorf("Decide(%q, %s, %q) is not what permissive says", who, action, what)
		}
	})
}

func TestABanOfEverythingInFrontDeniesEverything(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a := ACLs{Rules: anyRules().Draw(t, "rules")}
		who, action, what := anyName().Draw(t, "who"), anyAction().Draw(t, "action"), anyName().Draw(t, "what")
		a.Rules[action] = append([]Rule{{everybody, nobody}}, a.Rules[action]...)
		if d := a.Decide(who, action, what); d.Allowed || d.Rule != string(action)+"[0]" {
			t.Errorf("Decide(%q, %s, %q) = %+v", who, action, what, d)
		}
	})
}

// TestRulesDecideAsInMesos compares with Mesos' way, written down as its
// two tables of what matches and what is allowed.
func TestRulesDecideAsInMesos(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a := ACLs{Strict: rapid.Bool().Draw(t, "strict"), Rules: anyRules().Draw(t, "rules")}
		who, action := anyName().Draw(t, "who"), anyAction().Draw(t, "action")
		what := anyName().Filter(func(s string) bool { return s != "" }).Draw(t, "what")
		if d := a.Decide(who, action, what); d.Allowed != mesos(a, who, action, what) {
			t.Errorf("%s: %q %s of %q: allowed = %t, not so in Mesos", d.Rule, who, action, what, d.Allowed)
		}
	})
}

func mesos(a ACLs, who string, action Action, what string) bool {
	ofRoles := kinds[action].ofRoles()
	for _, r := range a.Rules[action] {
		subject, object := r.Principals.has(who, false), r.Objects.has(what, ofRoles)
		if (subject || r.Principals.Type == None) && (object || r.Objects.Type == None) {
			return subject && object
		}
	}
	return !a.Strict
}
