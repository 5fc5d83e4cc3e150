package api

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"tenon/agent/resource"
	"tenon/agent/wire"
)

// The parts of an OpenAPI document that are held against the code.
type document struct {
	Paths      map[string]map[string]yaml.Node
	Components struct {
		Schemas    map[string]schema
		Parameters map[string]parameter
	}
}

type operation struct {
	Parameters  []parameter
	RequestBody *struct{ Content content } `yaml:"requestBody"`
	Responses   map[string]struct{ Content content }
}

type content map[string]struct{ Schema schema }

type parameter struct {
	Name, In string
	Ref      string `yaml:"$ref"`
}

type schema struct {
	Type, Format string
	Ref          string `yaml:"$ref"`
	Required     []string
	Properties   map[string]schema
	Items        *schema
	Additional   *additional `yaml:"additionalProperties"`
}

// additional is what further properties of an object are: none, or of that schema.
type additional struct{ Schema *schema }

// UnmarshalYAML reads false or a schema.
func (a *additional) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind == yaml.ScalarNode {
		return nil
	}
	a.Schema = &schema{}
	return node.Decode(a.Schema)
}

func described(t *testing.T) document {
	t.Helper()
	var d document
	if err := yaml.Unmarshal(openapi, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestEveryRouteIsDescribedAndEveryDescriptionIsARoute(t *testing.T) {
	t.Parallel()
	d := described(t)
	var inCode, inDocument []string
	for _, r := range routes {
		inCode = append(inCode, r.method+" "+documentPath(r.pattern))
	}
	for path, item := range d.Paths {
		for method := range item {
			if method != "parameters" {
				inDocument = append(inDocument, strings.ToUpper(method)+" "+path)
			}
		}
	}
	slices.Sort(inCode)
	slices.Sort(inDocument)
	if diff := cmp.Diff(inCode, inDocument); diff != "" {
		t.Errorf("routes (-code +document):\n%s", diff)
	}
}

func documentPath(pattern string) string { return strings.ReplaceAll(pattern, "...}", "}") }

func TestEveryRouteTakesAndAnswersWhatIsDescribed(t *testing.T) {
	t.Parallel()
	d := described(t)
	for _, r := range routes {
		item := d.Paths[documentPath(r.pattern)]
		var op operation
		node := item[strings.ToLower(r.method)]
		if err := node.Decode(&op); err != nil {
			t.Fatalf("%s %s: %v", r.method, r.pattern, err)
		}
		request := ""
		if op.RequestBody != nil {
			request = op.RequestBody.Content["application/json"].Schema.Ref
		}
		if want := refTo(r.request); request != want {
			t.Errorf("%s %s: request is described as %q, want %q", r.method, r.pattern, request, want)
		}
		answer := ""
		for status, response := range op.Responses {
			if ref := response.Content["application/json"].Schema.Ref; strings.HasPrefix(status, "2") && ref != "" {
				answer = ref
			}
		}
		if want := refTo(r.answer); answer != want {
			t.Errorf("%s %s: answer is described as %q, want %q", r.method, r.pattern, answer, want)
		}
		if _, refused := op.Responses["default"]; !refused {
			t.Errorf("%s %s: no problem is described", r.method, r.pattern)
		}
		var query []string
		for _, p := range op.Parameters {
			if name, shared := strings.CutPrefix(p.Ref, "#/components/parameters/"); shared {
				p = d.Components.Parameters[name]
			}
			if p.In == "query" {
				query = append(query, p.Name)
			}
		}
		if diff := cmp.Diff(r.query, query); diff != "" {
			t.Errorf("%s %s: parameters (-code +document):\n%s", r.method, r.pattern, diff)
		}
	}
}

func refTo(v any) string {
	if v == nil {
		return ""
	}
	return "#/components/schemas/" + reflect.TypeOf(v).Name()
}

// mesos are types that are Mesos', or write themselves, and are described as such.
var mesos = map[reflect.Type]string{
	reflect.TypeFor[resource.Resource]():  "#/components/schemas/Resource",
	reflect.TypeFor[resource.Operation](): "#/components/schemas/Operation",
	reflect.TypeFor[wire.Endpoint]():      "#/components/schemas/Resource",
	reflect.TypeFor[wire.Quantity]():      "#/components/schemas/Quantity",
}

func TestEverySchemaIsItsTypeAndEveryTypeHasASchema(t *testing.T) {
	t.Parallel()
	d := described(t)
	todo := []reflect.Type{reflect.TypeFor[wire.Problem](), reflect.TypeFor[wire.Use]()}
	for _, r := range routes {
		for _, v := range []any{r.request, r.answer} {
			if v != nil {
				todo = append(todo, reflect.TypeOf(v))
			}
		}
	}
	seen := map[string]bool{"Resource": true, "Operation": true, "Quantity": true}
	for len(todo) > 0 {
		typ := todo[0]
		todo = todo[1:]
		if seen[typ.Name()] {
			continue
		}
		seen[typ.Name()] = true
		described, ok := d.Components.Schemas[typ.Name()]
		if !ok {
			t.Errorf("%s is not described", typ.Name())
			continue
		}
		want, more := schemaOf(typ)
		todo = append(todo, more...)
		described.Additional = nil
		slices.Sort(described.Required)
		if diff := cmp.Diff(want, described); diff != "" {
			t.Errorf("%s (-code +document):\n%s", typ.Name(), diff)
		}
	}
	for name := range d.Components.Schemas {
		if !seen[name] {
			t.Errorf("%s is described, but nothing has it", name)
		}
	}
}

// schemaOf is what a struct must be described as, and the types of its fields.
func schemaOf(t reflect.Type) (s schema, more []reflect.Type) {
	s = schema{Type: "object", Properties: map[string]schema{}}
	for _, f := range reflect.VisibleFields(t) {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous || name == "" {
			continue
		}
		if options == "" {
			s.Required = append(s.Required, name)
		}
		property, types := propertyOf(f.Type)
		s.Properties[name] = property
		more = append(more, types...)
	}
	slices.Sort(s.Required)
	return s, more
}

func propertyOf(t reflect.Type) (schema, []reflect.Type) {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return schema{Type: "string", Format: "date-time"}, nil
	case mesos[t] != "":
		return schema{Ref: mesos[t]}, nil
	}
	switch t {
	case reflect.TypeFor[resource.Scalar]():
		return schema{Type: "number"}, nil
	case reflect.TypeFor[[]byte]():
		return schema{Type: "string"}, nil
	}
	switch t.Kind() {
	case reflect.Pointer:
		return propertyOf(t.Elem())
	case reflect.Map:
		of, more := propertyOf(t.Elem())
		return schema{Type: "object", Additional: &additional{&of}}, more
	case reflect.Slice:
		items, more := propertyOf(t.Elem())
		return schema{Type: "array", Items: &items}, more
	case reflect.Struct:
		return schema{Ref: "#/components/schemas/" + t.Name()}, []reflect.Type{t}
	case reflect.String:
		return schema{Type: "string"}, nil
	case reflect.Bool:
		return schema{Type: "boolean"}, nil
	}
	return schema{Type: "integer"}, nil
}

func TestTheDescriptionKnowsEveryKindOfProblem(t *testing.T) {
	t.Parallel()
	var d struct {
		Components struct {
			Schemas struct {
				Problem struct {
					Properties struct{ Kind struct{ Enum []string } }
				} `yaml:"Problem"`
			}
		}
	}
	if err := yaml.Unmarshal(openapi, &d); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wire.KindNames(), d.Components.Schemas.Problem.Properties.Kind.Enum); diff != "" {
		t.Errorf("kinds (-code +document):\n%s", diff)
	}
}

func TestTheDescriptionIsServed(t *testing.T) {
	t.Parallel()
	f := serving(t, &fakeAgent{}, nil)
	status, header, data := f.do("GET", "/v1/openapi.yaml", "")
	if status != 200 || header.Get("Content-Type") != "application/yaml" || string(data) != string(openapi) {
		t.Errorf("got %d %s with %d bytes", status, header.Get("Content-Type"), len(data))
	}
}
