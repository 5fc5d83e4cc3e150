package resource

import (
	"reflect"
	"strconv"
	"strings"
)

var listShape = shapeOf(reflect.TypeFor[[]wireResource]())

// ParseList reads what an operator gives as resources: a JSON array of them, in any of
// the reservation formats, or the text syntax. What it returns is valid.
func ParseList(s string) ([]Resource, error) {
	s = strings.TrimSpace(s)
	switch {
	case strings.HasPrefix(s, "["):
		return parseArray(s)
	case strings.HasPrefix(s, "{"):
		return nil, invalidf("resources: a JSON object, want an array of them")
	}
	return ParseText(s)
}

func parseArray(s string) ([]Resource, error) {
	var wires []wireResource
	if err := listShape.decode([]byte(s), &wires); err != nil {
		return nil, invalidf("resources: %s", err)
	}
	list, err := resourcesOf("resources", wires)
	if err != nil {
		return nil, err
	}
	for _, r := range list {
		if err := r.Validate(); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// ParseText reads Mesos' text syntax (spec.md 1.10), "name(role):value;…", such as
// "cpus:24;disk:409600;disk(eng):2048;ports:[21000-24000]". A role in it is a static
// reservation. What it returns is valid.
func ParseText(s string) ([]Resource, error) {
	var list []Resource
	for token := range strings.SplitSeq(s, ";") {
		if strings.TrimSpace(token) == "" {
			continue
		}
		r, err := parseToken(token)
		if err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	return list, nil
}

func parseToken(token string) (Resource, error) {
	name, value, found := strings.Cut(token, ":")
	if !found || strings.Contains(value, ":") {
		return Resource{}, invalidf("Bad value for resources, missing or extra ':' in %s", shorten(token))
	}
	r, err := parseName(name)
	if err != nil {
		return Resource{}, err
	}
	if err := r.parseValue(strings.TrimSpace(value)); err != nil {
		return Resource{}, err
	}
	return r, r.Validate()
}

// parseName reads "name" or "name(role)".
func parseName(text string) (Resource, error) {
	name, rest, found := strings.Cut(text, "(")
	if !found {
		if strings.Contains(text, ")") {
			return Resource{}, mismatched(text)
		}
		return Resource{Name: strings.TrimSpace(text)}, nil
	}
	role, behind, closed := strings.Cut(rest, ")")
	if !closed || strings.TrimSpace(behind) != "" || strings.ContainsAny(name+role, "()") {
		return Resource{}, mismatched(text)
	}
	role = strings.TrimSpace(role)
	if err := CheckRole(role); err != nil {
		return Resource{}, invalidf("Bad value for resources, role in %s: %s", shorten(text), err)
	}
	r := Resource{Name: strings.TrimSpace(name)}
	if role != "*" {
		r.Reservations = []Reservation{{Type: Static, Role: role}}
	}
	return r, nil
}

func mismatched(text string) error {
	return invalidf("Bad value for resources, mismatched parentheses in %s", shorten(text))
}

// parseValue reads a number, "[a-b,c-d]" or "{x,y}".
func (r *Resource) parseValue(text string) (err error) {
	if inner, ok := between(text, "[", "]"); ok {
		r.Type = TypeRanges
		r.Ranges, err = parseRanges(inner)
		return err
	}
	if inner, ok := between(text, "{", "}"); ok {
		r.Type = TypeSet
		r.Set, err = parseItems(inner)
		return err
	}
	r.Type = TypeScalar
	if r.Scalar, err = ParseScalar(text); err != nil {
		return invalidf("Bad value for resource %s: %s", shorten(r.Name), err)
	}
	return nil
}

func between(text, open, end string) (inner string, ok bool) {
	inner, opened := strings.CutPrefix(text, open)
	inner, closed := strings.CutSuffix(inner, end)
	return strings.TrimSpace(inner), opened && closed
}

func parseRanges(text string) ([]Range, error) {
	items, err := parseItems(text)
	if err != nil {
		return nil, err
	}
	var ranges []Range
	for _, item := range items {
		begin, end, _ := strings.Cut(item, "-")
		from, err := strconv.ParseUint(strings.TrimSpace(begin), 10, 64)
		to, err2 := strconv.ParseUint(strings.TrimSpace(end), 10, 64)
		if err != nil || err2 != nil {
			return nil, invalidf("Bad range %s, want begin-end", shorten(item))
		}
		ranges = append(ranges, Range{from, to})
	}
	return ranges, nil
}

func parseItems(text string) ([]string, error) {
	if text == "" {
		return nil, nil
	}
	items := strings.Split(text, ",")
	for i, item := range items {
		items[i] = strings.TrimSpace(item)
		if items[i] == "" {
			return nil, invalidf("Bad list %s: an item is empty", shorten(text))
		}
	}
	return items, nil
}

// WithDefaultRole returns the list with what is reserved to nobody reserved to role,
// statically; role "*" changes nothing.
func WithDefaultRole(list []Resource, role string) []Resource {
	result := make([]Resource, len(list))
	for i, r := range list {
		if role != "*" && !r.IsReserved() {
			r = r.PushReservation(Reservation{Type: Static, Role: role})
		}
		result[i] = r
	}
	return result
}

// CheckConfigured says whether an operator may configure an agent with these resources
// (spec.md 1.10): each valid, none a volume, revocable or dynamically reserved, since
// those come from operations, and none of the same name as another of a different type.
func CheckConfigured(list []Resource) error {
	types := map[string]Type{}
	for _, r := range list {
		if err := r.Validate(); err != nil {
			return err
		}
		if err := r.checkConfigured(); err != nil {
			return err
		}
		if known, ok := types[r.Name]; ok && known != r.Type {
			return r.refused("Resources with the same name ('%s') but different types are not allowed", r.Name)
		}
		types[r.Name] = r.Type
	}
	return nil
}

func (r Resource) checkConfigured() error {
	switch {
	case r.IsVolume():
		return r.invalid("Persistent volumes cannot be specified in the agent's resources")
	case r.Revocable:
		return r.invalid("Revocable resources cannot be specified in the agent's resources")
	}
	for _, reservation := range r.Reservations {
		if reservation.Type == Dynamic {
			return r.invalid("Dynamic reservations cannot be specified in the agent's resources")
		}
	}
	return nil
}
