package resource

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"unicode/utf8"
)

// shape is what a JSON value must look like. It is made of a Go type once, so that the
// two cannot differ, and makes encoding/json strict: names match in every letter, none
// occurs twice, none is unknown, nothing is null, and a field without "omitempty" is there.
type shape struct {
	want     string           // "an object", "a list", "a string", "a number"; "" is anything
	fields   map[string]field // of an object
	required uint64           // bits of the fields that must be there
	element  *shape           // of a list
}

type field struct {
	bit   uint64
	shape *shape
}

// shapeOf makes the shape of a type built of structs, pointers, slices, strings and
// numbers; a json.RawMessage stands for a number, unread for anything at all.
func shapeOf(t reflect.Type) *shape {
	switch t {
	case reflect.TypeFor[json.RawMessage]():
		return &shape{want: "a number"}
	case reflect.TypeFor[unread]():
		return &shape{}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return shapeOf(t.Elem())
	case reflect.Slice:
		return &shape{want: "a list", element: shapeOf(t.Elem())}
	case reflect.Struct:
		return structShape(t)
	case reflect.String:
		return &shape{want: "a string"}
	}
	return &shape{want: "a number"}
}

func structShape(t reflect.Type) *shape {
	s := &shape{want: "an object", fields: map[string]field{}}
	for i := range t.NumField() {
		name, options, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		bit := uint64(1) << i
		s.fields[name] = field{bit, shapeOf(t.Field(i).Type)}
		if options == "" {
			s.required |= bit
		}
	}
	return s
}

// decode reads one JSON value of this shape, and nothing after it, into v.
func (s *shape) decode(data []byte, v any) error {
	if !utf8.Valid(data) {
		return errors.New("is not valid UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	if err := s.check(dec); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the JSON value")
	}
	err := json.Unmarshal(data, v)
	if unfit, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Errorf("%s: %s does not fit", unfit.Field, unfit.Value)
	}
	return err
}

func (s *shape) check(dec *json.Decoder) error {
	if s.want == "" {
		var passed json.RawMessage
		return unexpected(dec.Decode(&passed))
	}
	token, err := dec.Token()
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	if err != nil {
		return err
	}
	if got := kindOf(token); got != s.want {
		return fmt.Errorf("is %s, want %s", got, s.want)
	}
	switch token {
	case json.Delim('{'):
		return s.checkObject(dec)
	case json.Delim('['):
		return s.checkList(dec)
	}
	return nil
}

func kindOf(token json.Token) string {
	switch token := token.(type) {
	case string:
		return "a string"
	case json.Number:
		return "a number"
	case bool:
		return "a boolean"
	case json.Delim:
		if token == '{' {
			return "an object"
		}
		return "a list"
	}
	return "null"
}

func (s *shape) checkObject(dec *json.Decoder) error {
	var seen uint64
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return err
		}
		name, _ := token.(string) // within an object the decoder gives nothing else
		f, ok := s.fields[name]
		if !ok {
			return fmt.Errorf("unknown field %s", shorten(name))
		}
		if seen&f.bit != 0 {
			return fmt.Errorf("field %q occurs twice", name)
		}
		seen |= f.bit
		if err := f.shape.check(dec); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if _, err := dec.Token(); err != nil {
		return unexpected(err)
	}
	return s.checkRequired(seen)
}

// checkRequired names the first field, in the order of the type, that is not there.
func (s *shape) checkRequired(seen uint64) error {
	missing := s.required &^ seen
	first := missing & -missing
	for name, f := range s.fields {
		if missing != 0 && f.bit == first {
			return fmt.Errorf("field %q is not set", name)
		}
	}
	return nil
}

func (s *shape) checkList(dec *json.Decoder) error {
	for i := 0; dec.More(); i++ {
		if err := s.element.check(dec); err != nil {
			return fmt.Errorf("[%d]: %w", i, err)
		}
	}
	_, err := dec.Token()
	return unexpected(err)
}

// unexpected names the end of the input as what it is inside a value.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
