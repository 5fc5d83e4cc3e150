package access

import (
	"fmt"
	"slices"
	"strings"

	"tenon/agent/resource"
)

// Action is something that a rule may allow: the name of its list in the text forms.
type Action string

// The actions, as Mesos calls them; Attach, for which it has none, is the use of a
// volume by a task.
const (
	Reserve   Action = "reserve_resources"
	Unreserve Action = "unreserve_resources"
	Create    Action = "create_volumes"
	Destroy   Action = "destroy_volumes"
	Resize    Action = "resize_volumes"
	Attach    Action = "attach_volumes"
	View      Action = "view_roles"
)

// kind says what an action is done to.
type kind struct {
	objects string // the name of a rule's objects in the text forms
	words   string // of a refusal; takes the object
}

var kinds = map[Action]kind{
	Reserve:   {"roles", "reserve resources for role %s"},
	Unreserve: {"reserver_principals", "unreserve resources that were reserved by %s"},
	Create:    {"roles", "create volumes of role %s"},
	Destroy:   {"creator_principals", "destroy volumes that were created by %s"},
	Resize:    {"roles", "resize volumes of role %s"},
	Attach:    {"roles", "attach or detach volumes of role %s"},
	View:      {"roles", "view role %s"},
}

func (k kind) ofRoles() bool { return k.objects == "roles" }

// Type says how an Entity is meant.
type Type uint8

// The types of an Entity: its values, everybody and everything, or nobody and nothing.
const (
	Some Type = iota
	Any
	None
)

// Entity is one side of a rule: principals, or what they act on. The zero Entity has
// no values and matches nothing.
type Entity struct {
	Type   Type
	Values []string // of Some; among roles, "a/%" is all roles strictly beneath a
}

// has says whether the entity holds a name; "" is one that is not known, which Any
// alone does.
func (e Entity) has(name string, ofRoles bool) bool {
	if e.Type != Some || name == "" {
		return e.Type == Any
	}
	return slices.ContainsFunc(e.Values, func(value string) bool {
		above, below := strings.CutSuffix(value, "/%")
		return value == name || ofRoles && below && resource.IsStrictSubRole(name, above)
	})
}

// concerns says whether a rule with this entity speaks of a name: None speaks of all, to
// forbid it.
func (e Entity) concerns(name string, ofRoles bool) bool {
	return e.Type == None || e.has(name, ofRoles)
}

// Rule allows its principals an action on its objects. With None for principals it forbids
// the action on its objects to everybody, with None for objects it forbids its principals
// the action. Of what either does not name it says nothing.
type Rule struct {
	Principals Entity
	Objects    Entity
}

// ACLs are all rules of an agent, by action.
type ACLs struct {
	Strict bool // what no rule decides is forbidden: "permissive = false" in the text forms
	Rules  map[Action][]Rule
}

// Decision is what the rules say about one action on one object.
type Decision struct {
	Allowed bool
	Rule    string // that decided: "destroy_volumes[2]", counted from 0, or "permissive = false"
}

// Decide says whether a principal may do something to an object: a role, or the
// principal who reserved or created. "" is a principal that is not known, as either.
func (a ACLs) Decide(principal string, action Action, object string) Decision {
	allowed, rule := a.decide(principal, action, object)
	if rule < 0 {
		return Decision{allowed, fmt.Sprintf("permissive = %t", !a.Strict)}
	}
	return Decision{allowed, fmt.Sprintf("%s[%d]", action, rule)}
}

// decide is Decide with the number of the rule, -1 if none decides.
func (a ACLs) decide(principal string, action Action, object string) (allowed bool, rule int) {
	for i, r := range a.Rules[action] {
		if r.Principals.concerns(principal, false) && r.Objects.concerns(object, kinds[action].ofRoles()) {
			return r.Principals.Type != None && r.Objects.Type != None, i
		}
	}
	return !a.Strict, -1
}

// Visible is a filter of the roles that a principal may see.
func (a ACLs) Visible(principal string) func(role string) bool {
	return func(role string) bool {
		allowed, _ := a.decide(principal, View, role)
		return allowed
	}
}
