package resource

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"
)

// Attribute is Mesos' Attribute: something that an operator says about an agent, for
// masters to choose by. It is described, not consumed.
type Attribute struct {
	Name   string
	Type   Type
	Scalar Scalar // of an attribute it may be negative
	Ranges []Range
	Set    []string
	Text   string
}

type wireAttribute struct {
	Name   string      `json:"name"`
	Type   string      `json:"type"`
	Scalar *wireScalar `json:"scalar,omitempty"`
	Ranges *wireRanges `json:"ranges,omitempty"`
	Set    *wireSet    `json:"set,omitempty"`
	Text   *wireValue  `json:"text,omitempty"`
}

var attributeShape = shapeOf(reflect.TypeFor[wireAttribute]())

// ParseAttributes reads Mesos' --attributes syntax, "rack:r1;level:10;keys:[1000-1500]":
// pairs set apart by ";" or a line break, a number, ranges, or else text, which may hold
// further colons. As in Mesos spaces in a value do not count, a name may occur twice, and
// sets cannot be written. What it returns is valid.
func ParseAttributes(text string) ([]Attribute, error) {
	var list []Attribute
	for pair := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == ';' || r == '\n' }) {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		a, err := parseAttribute(pair)
		if err != nil {
			return nil, err
		}
		list = append(list, a)
	}
	return list, nil
}

func parseAttribute(pair string) (Attribute, error) {
	name, value, _ := strings.Cut(pair, ":")
	a := Attribute{Name: strings.TrimSpace(name)}
	value = strings.TrimSpace(strings.ReplaceAll(value, " ", ""))
	if a.Name == "" || value == "" {
		return Attribute{}, invalidf("Invalid attribute key:value pair %s", shorten(pair))
	}
	if err := a.parseValue(value); err != nil {
		return Attribute{}, invalidf("Failed to parse attribute %s text %s error %s", shorten(a.Name), shorten(value), err)
	}
	return a, a.Validate()
}

// parseValue reads a value as Mesos does, that is by what stands first in it.
func (a *Attribute) parseValue(text string) (err error) {
	if inner, ok := between(text, "[", "]"); ok {
		a.Type = TypeRanges
		a.Ranges, err = parseRanges(inner)
		return err
	}
	if _, _, err := scanDecimal(strings.TrimPrefix(text, "-")); err == nil {
		a.Type = TypeScalar
		a.Scalar, err = parseSigned(text)
		return err
	}
	switch {
	case strings.HasPrefix(text, "{"):
		return invalidf("Bad type SET, want a number, ranges or text")
	case strings.ContainsAny(text, "[]{}"):
		return invalidf("Unexpected %s found", shorten(text))
	}
	a.Type, a.Text = TypeText, text
	return nil
}

// parseSigned is ParseScalar for numbers of either sign.
func parseSigned(text string) (Scalar, error) {
	amount, negative := strings.CutPrefix(text, "-")
	s, err := ParseScalar(amount)
	if negative {
		s = -s
	}
	return s, err
}

// Validate says whether a has a name, a known type, and a sound value of that type alone.
func (a Attribute) Validate() error {
	if a.Name == "" {
		return invalidf("Empty attribute name")
	}
	if reason := a.fault(); reason != "" {
		return invalidf("Attribute %s is invalid: %s", shorten(a.Name), reason)
	}
	return nil
}

func (a Attribute) fault() string {
	if !slices.Contains([]Type{TypeScalar, TypeRanges, TypeSet, TypeText}, a.Type) {
		return "Invalid attribute type " + shorten(string(a.Type))
	}
	if a.Text != "" && a.Type != TypeText {
		return "text is set beside " + string(a.Type)
	}
	for _, s := range append([]string{a.Name, a.Text}, a.Set...) {
		if !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
			return "text " + shorten(s) + " is not valid UTF-8 without a NUL"
		}
	}
	value := a.value()
	switch a.Type {
	case TypeText:
		value.Type = TypeScalar
		if a.Scalar != 0 {
			return "a number is set beside TEXT"
		}
	case TypeScalar:
		value.Scalar = max(a.Scalar, -a.Scalar)
	}
	return value.valueFault()
}

// MarshalJSON writes a as Mesos does.
func (a Attribute) MarshalJSON() ([]byte, error) {
	w := wireAttribute{Name: a.Name, Type: string(a.Type)}
	if a.Type == TypeText {
		w.Text = &wireValue{Value: a.Text}
		return json.Marshal(w)
	}
	value := a.value().wire()
	w.Scalar, w.Ranges, w.Set = value.Scalar, value.Ranges, value.Set
	return json.Marshal(w)
}

// value is a resource that holds what a holds, text aside.
func (a Attribute) value() Resource {
	return Resource{Type: a.Type, Scalar: a.Scalar, Ranges: a.Ranges, Set: a.Set}
}

// UnmarshalJSON reads an attribute as strictly as a resource. What it accepts is valid.
func (a *Attribute) UnmarshalJSON(data []byte) error {
	var w wireAttribute
	if err := attributeShape.decode(data, &w); err != nil {
		return invalidf("attribute: %s", err)
	}
	read := Attribute{Name: w.Name, Type: Type(w.Type)}
	if err := w.read(&read); err != nil {
		return invalidf("Attribute %s is invalid: %s", shorten(w.Name), err)
	}
	if err := read.Validate(); err != nil {
		return err
	}
	*a = read
	return nil
}

// read takes over the one value that a's type calls for.
func (w *wireAttribute) read(a *Attribute) (err error) {
	set := map[Type]bool{TypeScalar: w.Scalar != nil, TypeRanges: w.Ranges != nil, TypeSet: w.Set != nil, TypeText: w.Text != nil}
	if _, known := set[a.Type]; !known {
		return nil // as Validate says
	}
	for kind, is := range set {
		if is != (kind == a.Type) {
			return invalidf("its value must be of its type, %s, and of no other", a.Type)
		}
	}
	switch a.Type {
	case TypeScalar:
		a.Scalar, err = parseSigned(string(w.Scalar.Value))
	case TypeRanges:
		a.Ranges = w.Ranges.list()
	case TypeSet:
		a.Set = w.Set.Item
	case TypeText:
		a.Text = w.Text.Value
	}
	return err
}

// String is a in the syntax that ParseAttributes reads, "rack:r1"; of a set, which that
// syntax lacks, "tags:{a, b}".
func (a Attribute) String() string {
	if a.Type == TypeText {
		return a.Name + ":" + a.Text
	}
	return a.Name + ":" + a.value().valueString()
}
