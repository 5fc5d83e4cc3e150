package access

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"tenon/agent/resource"
)

// permissive is the one name in the text forms that is no action.
const permissive = "permissive"

// maxName is the most bytes that a principal's name may have.
const maxName = 255

// UnmarshalJSON reads the rules as Mesos' --acls flag has them. It is strict: what is
// unknown, repeated, missing or null is an error, and all that is wrong is joined.
// "permissive" alone may be missing and is true then.
func (a *ACLs) UnmarshalJSON(data []byte) error {
	value, err := decode(data)
	if err != nil {
		return err
	}
	table, ok := value.(map[string]any)
	if !ok {
		return fmt.Errorf("ACLs are %s, want a table", describeType(value))
	}
	read, err := ParseTable(table)
	if err != nil {
		return err
	}
	*a = read
	return nil
}

// ParseTable reads the rules from a table of a configuration: the same names and values
// as in Mesos' JSON, where a list of values, "ANY" and "NONE" stand for themselves too.
// It is as strict as UnmarshalJSON.
func ParseTable(table map[string]any) (ACLs, error) {
	var a ACLs
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(table)) {
		err := a.set(name, table[name])
		if err != nil {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return ACLs{}, err
	}
	return a, nil
}

// set reads what stands under one name of the table.
func (a *ACLs) set(name string, value any) error {
	if name == permissive {
		allow, ok := value.(bool)
		if !ok {
			return fmt.Errorf("%s is %s, want true or false", permissive, describeType(value))
		}
		a.Strict = !allow
		return nil
	}
	k, known := kinds[Action(name)]
	if !known {
		return fmt.Errorf("%.80q is none of the actions %s", name, actionNames())
	}
	list, ok := value.([]any)
	if !ok {
		return fmt.Errorf("%s is %s, want a list of rules", name, describeType(value))
	}
	var errs []error
	for i, entry := range list {
		r, err := k.rule(entry)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s[%d]: %w", name, i, err))
		}
		a.add(Action(name), r)
	}
	return errors.Join(errs...)
}

func (a *ACLs) add(action Action, r Rule) {
	if a.Rules == nil {
		a.Rules = map[Action][]Rule{}
	}
	a.Rules[action] = append(a.Rules[action], r)
}

func actionNames() string {
	var names []string
	for action := range kinds {
		names = append(names, string(action))
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// rule reads one entry of an action's list.
func (k kind) rule(value any) (r Rule, err error) {
	table, ok := value.(map[string]any)
	if !ok {
		return r, fmt.Errorf("a rule is %s, want a table of principals and %s", describeType(value), k.objects)
	}
	for _, name := range slices.Sorted(maps.Keys(table)) {
		if name != "principals" && name != k.objects {
			return r, fmt.Errorf("%.80q is neither principals nor %s", name, k.objects)
		}
	}
	if r.Principals, err = entity(table, "principals", CheckPrincipal); err != nil {
		return r, err
	}
	check := CheckPrincipal
	if k.ofRoles() {
		check = checkRole
	}
	r.Objects, err = entity(table, k.objects, check)
	return r, err
}

// entity reads one side of a rule, whose values pass check.
func entity(table map[string]any, name string, check func(string) error) (Entity, error) {
	value, ok := table[name]
	if !ok {
		return Entity{}, fmt.Errorf("%s is missing", name)
	}
	e, err := parseEntity(value)
	for _, v := range e.Values {
		err = errors.Join(err, check(v))
	}
	if err != nil {
		return Entity{}, fmt.Errorf("%s: %w", name, err)
	}
	return e, nil
}

// parseEntity reads "ANY", "NONE", a list of values, and Mesos' table of a type or values.
func parseEntity(value any) (Entity, error) {
	switch value := value.(type) {
	case string:
		return parseType(value)
	case []any:
		return parseValues(value)
	case map[string]any:
		return parseMesos(value)
	}
	return Entity{}, fmt.Errorf(`it is %s, want "ANY", "NONE" or a list of names`, describeType(value))
}

func parseType(s string) (Entity, error) {
	switch s {
	case "ANY":
		return Entity{Type: Any}, nil
	case "NONE":
		return Entity{Type: None}, nil
	}
	return Entity{}, fmt.Errorf(`%.80q is neither "ANY" nor "NONE"; a name stands in a list, as [%.80q]`, s, s)
}

func parseValues(list []any) (e Entity, err error) {
	for _, entry := range list {
		s, ok := entry.(string)
		if !ok {
			return Entity{}, fmt.Errorf("a name is %s, want a text", describeType(entry))
		}
		e.Values = append(e.Values, s)
	}
	if len(list) == 0 {
		return e, errors.New(`the list is empty: nothing is "NONE"`)
	}
	return e, nil
}

// parseMesos reads {"type": "ANY"}, {"values": […]}, and the latter with type "SOME".
func parseMesos(table map[string]any) (Entity, error) {
	for _, name := range slices.Sorted(maps.Keys(table)) {
		if name != "type" && name != "values" {
			return Entity{}, fmt.Errorf("%.80q is neither type nor values", name)
		}
	}
	values, listed := table["values"]
	t, typed := table["type"]
	switch {
	case listed && (!typed || t == "SOME"):
		list, ok := values.([]any)
		if !ok {
			return Entity{}, fmt.Errorf("values is %s, want a list", describeType(values))
		}
		return parseValues(list)
	case listed:
		return Entity{}, fmt.Errorf("values stand beside the type %.80q", fmt.Sprint(t))
	case !typed:
		return Entity{}, errors.New("neither type nor values is set")
	}
	s, ok := t.(string)
	if !ok {
		return Entity{}, fmt.Errorf("type is %s, want a text", describeType(t))
	}
	return parseType(s)
}

// CheckPrincipal says whether a principal may have this name: 1 to 255 bytes of UTF-8
// without control characters, and not "ANY" or "NONE", which mean something else in rules.
func CheckPrincipal(name string) error {
	switch {
	case name == "":
		return errors.New("a principal's name is empty")
	case len(name) > maxName:
		return fmt.Errorf("the principal's name %.80q has more than %d bytes", name, maxName)
	case !utf8.ValidString(name), strings.ContainsFunc(name, unicode.IsControl):
		return fmt.Errorf("the principal's name %q holds control characters or is not UTF-8", name)
	case name == "ANY" || name == "NONE":
		return fmt.Errorf("%q is not a principal's name: it stands alone, not in a list", name)
	}
	return nil
}

// checkRole wants a role, or "a/%" for all beneath one.
func checkRole(role string) error {
	if role == "%" || role == "ANY" || role == "NONE" {
		return fmt.Errorf(`%q is not a role: all roles are "ANY", none "NONE", those beneath a role "role/%%"`, role)
	}
	return resource.CheckRole(role)
}

// decode reads JSON into tables, lists, texts and booleans. A name that occurs twice
// in a table is an error, where encoding/json would let the last one win.
func decode(data []byte) (any, error) {
	if !json.Valid(data) || !utf8.Valid(data) { // this bounds how deep it goes, too
		return nil, errors.New("it is not valid JSON in UTF-8")
	}
	return next(json.NewDecoder(bytes.NewReader(data)))
}

// next reads one value.
func next(d *json.Decoder) (any, error) {
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch token {
	case json.Delim('{'):
		return nextTable(d)
	case json.Delim('['):
		return nextList(d)
	}
	return token, nil
}

func nextTable(d *json.Decoder) (any, error) {
	table := map[string]any{}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return nil, err
		}
		name, _ := token.(string) // valid JSON has nothing else here
		if _, twice := table[name]; twice {
			return nil, fmt.Errorf("%.80q occurs twice", name)
		}
		if table[name], err = next(d); err != nil {
			return nil, err
		}
	}
	_, err := d.Token()
	return table, err
}

func nextList(d *json.Decoder) (any, error) {
	list := []any{}
	for d.More() {
		value, err := next(d)
		if err != nil {
			return nil, err
		}
		list = append(list, value)
	}
	_, err := d.Token()
	return list, err
}

// describeType names what a value is, without the value.
func describeType(value any) string {
	switch value.(type) {
	case nil:
		return "null"
	case bool:
		return "true or false"
	case string:
		return "a text"
	case []any:
		return "a list"
	case map[string]any:
		return "a table"
	case float64, int64:
		return "a number"
	}
	return "a date" // TOML has them
}
