package wire

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

// Decode reads one JSON value, and nothing after it, into v. It is strict: names match
// in every letter, none is unknown and none occurs twice, nothing is null. Its errors
// are volume.ErrInvalid and name the field.
func Decode(data []byte, v any) error {
	if !utf8.Valid(data) {
		return refuse("the request is not valid UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	err := checkNames(dec, reflect.TypeOf(v).Elem())
	if err == nil {
		if _, more := dec.Token(); !errors.Is(more, io.EOF) {
			return refuse("the request has something after its JSON value")
		}
		err = json.Unmarshal(data, v)
	}
	if err != nil {
		return refuse("the request cannot be read: %s", sentence(err))
	}
	return nil
}

// sentence words the errors of package json for whoever wrote the request.
func sentence(err error) string {
	var mismatch *json.UnmarshalTypeError
	switch {
	case errors.As(err, &mismatch):
		return fmt.Sprintf("%s: %s is not %s", mismatch.Field, mismatch.Value, describe(mismatch.Type))
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "it ends too early"
	}
	return strings.TrimPrefix(err.Error(), "json: ")
}

func describe(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice:
		return "a list"
	case reflect.Struct:
		return "an object"
	}
	return "a whole number"
}

var unmarshaler = reflect.TypeFor[json.Unmarshaler]()

// checkNames reads one value and compares the names in it with the fields of t. Types
// that read themselves do that themselves.
func checkNames(dec *json.Decoder, t reflect.Type) error {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if reflect.PointerTo(t).Implements(unmarshaler) {
		var skipped json.RawMessage
		return dec.Decode(&skipped)
	}
	token, err := dec.Token()
	switch {
	case err != nil:
		return err
	case token == nil:
		return errors.New("null is not a value here")
	case token == json.Delim('{') && t.Kind() == reflect.Struct:
		return checkObject(dec, fieldsOf(t))
	case token == json.Delim('[') && t.Kind() == reflect.Slice:
		return checkList(dec, t.Elem())
	}
	if _, composite := token.(json.Delim); composite || t.Kind() == reflect.Struct || t.Kind() == reflect.Slice {
		return fmt.Errorf("it is not %s", describe(t))
	}
	return nil
}

func checkObject(dec *json.Decoder, fields map[string]reflect.Type) error {
	seen := map[string]bool{}
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return err
		}
		name, _ := token.(string) // the decoder allows nothing else here
		t, known := fields[name]
		switch {
		case !known:
			return fmt.Errorf("unknown field %.64q", name)
		case seen[name]:
			return fmt.Errorf("field %q occurs twice", name)
		}
		seen[name] = true
		if err := checkNames(dec, t); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	_, err := dec.Token()
	return err
}

func checkList(dec *json.Decoder, t reflect.Type) error {
	for i := 0; dec.More(); i++ {
		if err := checkNames(dec, t); err != nil {
			return fmt.Errorf("[%d]: %w", i, err)
		}
	}
	_, err := dec.Token()
	return err
}

// fieldsOf gives the fields of a struct by their names in JSON, with those of embedded
// structs.
func fieldsOf(t reflect.Type) map[string]reflect.Type {
	fields := map[string]reflect.Type{}
	for _, f := range reflect.VisibleFields(t) {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" {
			fields[name] = f.Type
		}
	}
	return fields
}
