package resource

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestAttributesReadAsMesosReadsThem(t *testing.T) {
	t.Parallel()
	text := func(name, value string) Attribute { return Attribute{Name: name, Type: TypeText, Text: value} }
	for given, want := range map[string][]Attribute{
		"":      nil,
		" ;\n;": nil,
		"rack:r1;level:10;keys:[1000-1500]": {text("rack", "r1"), {Name: "level", Type: TypeScalar, Scalar: 10 * One},
			{Name: "keys", Type: TypeRanges, Ranges: []Range{{1000, 1500}}}},
		"rack:a\n rack : b ;":   {text("rack", "a"), text("rack", "b")},
		"url:http://x:80/":      {text("url", "http://x:80/")},
		"os:centos 7 . 1":       {text("os", "centos7.1")},
		"t:-4.5":                {{Name: "t", Type: TypeScalar, Scalar: -4500}},
		"t:1e3":                 {{Name: "t", Type: TypeScalar, Scalar: 1000 * One}},
		"t:0x10;u:nan;v:+1;w:-": {text("t", "0x10"), text("u", "nan"), text("v", "+1"), text("w", "-")},
		"k:[ 1 - 2 , 4-4 ]":     {{Name: "k", Type: TypeRanges, Ranges: []Range{{1, 2}, {4, 4}}}},
		"é:ü":                   {text("é", "ü")},
	} {
		got, err := ParseAttributes(given)
		if err != nil {
			t.Errorf("%q: %v", given, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", given, diff)
		}
	}
}

func TestBadAttributesAreRefused(t *testing.T) {
	t.Parallel()
	const pair = "Invalid attribute key:value pair "
	for text, fragment := range map[string]string{
		"rack": pair, "rack:": pair, ":r1": pair, " : r1": pair, "rack: ": pair, "a:1;b": pair + `"b"`,
		"tags:{a,b}":    `Failed to parse attribute "tags" text "{a,b}" error Bad type SET`,
		"k:[1]":         "Bad range",
		"k:[2-1]":       "begin > end",
		"k:[1-5,5-9]":   "overlapping",
		"k:[1-2":        `Unexpected "[1-2" found`,
		"k:a{b}":        `Unexpected "a{b}" found`,
		"t:1e300":       "above",
		"t:-1e300":      "above",
		"t:0.0001":      "rounds to zero",
		"rack:\xff":     "UTF-8",
		"\xff:r1":       "UTF-8",
		"rack:a\x00b":   "NUL",
		"ra\x00ck:r1;a": "NUL",
	} {
		_, err := ParseAttributes(text)
		refused(t, text, err, fragment)
	}
}

func TestAttributesAreWrittenAsMesosWritesThem(t *testing.T) {
	t.Parallel()
	for want, a := range map[string]Attribute{
		`{"name":"rack","type":"TEXT","text":{"value":"r1"}}`:                            {Name: "rack", Type: TypeText, Text: "r1"},
		`{"name":"e","type":"TEXT","text":{"value":""}}`:                                 {Name: "e", Type: TypeText},
		`{"name":"level","type":"SCALAR","scalar":{"value":-1.5}}`:                       {Name: "level", Type: TypeScalar, Scalar: -1500},
		`{"name":"keys","type":"RANGES","ranges":{"range":[{"begin":1000,"end":1500}]}}`: {Name: "keys", Type: TypeRanges, Ranges: []Range{{1000, 1500}}},
		`{"name":"tags","type":"SET","set":{"item":["a","b"]}}`:                          {Name: "tags", Type: TypeSet, Set: []string{"a", "b"}},
	} {
		data, err := json.Marshal(a)
		if err != nil || string(data) != want {
			t.Errorf("%s is written as %s, %v; want %s", a, data, err, want)
		}
		var back Attribute
		if err := json.Unmarshal([]byte(want), &back); err != nil {
			t.Errorf("%s: %v", want, err)
		}
		if diff := cmp.Diff(a, back); diff != "" {
			t.Errorf("%s (-want +got):\n%s", want, diff)
		}
	}
}

func TestReadingAttributesIsStrict(t *testing.T) {
	t.Parallel()
	for text, fragment := range map[string]string{
		`{}`:                         `field "name" is not set`,
		`{"name":"a"}`:               `field "type" is not set`,
		`{"name":"a","type":"TEXT"}`: "its value must be of its type, TEXT",
		`{"name":"a","type":"TEXT","scalar":{"value":1}}`:                             "its value must be of its type, TEXT",
		`{"name":"a","type":"TEXT","text":{"value":"x"},"set":{}}`:                    "of no other",
		`{"name":"a","type":"BOOL","text":{"value":"x"}}`:                             `Invalid attribute type "BOOL"`,
		`{"name":"","type":"TEXT","text":{"value":"x"}}`:                              "Empty attribute name",
		`{"name":"a","type":"TEXT","text":{"value":"\u0000"}}`:                        "NUL",
		`{"name":"a","type":"TEXT","text":{"value":"x","y":1}}`:                       `text: unknown field "y"`,
		`{"name":"a","type":"SCALAR","scalar":{"value":1e300}}`:                       "above",
		`{"name":"a","type":"SET","set":{"item":["x","x"]}}`:                          "duplicated",
		`{"name":"a","type":"RANGES","ranges":{"range":[{"begin":2,"end":1}]}}`:       "begin > end",
		`{"name":"a","type":"TEXT","text":{"value":"x"},"resource_provider_id":"rp"}`: `unknown field "resource_provider_id"`,
	} {
		a := Attribute{Name: "before"}
		refused(t, text, a.UnmarshalJSON([]byte(text)), fragment)
		if a.Name != "before" {
			t.Errorf("%s: a failed read left %s", text, a)
		}
	}
}

func TestAnAttributeHoldsOneValue(t *testing.T) {
	t.Parallel()
	for name, a := range map[string]Attribute{
		"number beside text":   {Name: "a", Type: TypeText, Text: "x", Scalar: 1},
		"ranges beside text":   {Name: "a", Type: TypeText, Text: "x", Ranges: []Range{{1, 2}}},
		"text beside a number": {Name: "a", Type: TypeScalar, Text: "x"},
		"set beside ranges":    {Name: "a", Type: TypeRanges, Set: []string{"x"}},
		"bad set item":         {Name: "a", Type: TypeSet, Set: []string{"\xff"}},
		"too large":            {Name: "a", Type: TypeScalar, Scalar: MaxScalar + 1},
		"too small":            {Name: "a", Type: TypeScalar, Scalar: -MaxScalar - 1},
	} {
		refused(t, name, a.Validate(), "is invalid")
	}
}

// drawAttribute draws a valid attribute.
func drawAttribute(t *rapid.T) Attribute {
	a := Attribute{Name: rapid.SampledFrom([]string{"rack", "a b", "é"}).Draw(t, "name")}
	a.Type = rapid.SampledFrom([]Type{TypeScalar, TypeRanges, TypeSet, TypeText}).Draw(t, "type")
	switch a.Type {
	case TypeScalar:
		a.Scalar = Scalar(rapid.Int64Range(-int64(MaxScalar), int64(MaxScalar)).Draw(t, "number"))
	case TypeRanges:
		begin := rapid.Uint64Range(0, 20).Draw(t, "begin")
		a.Ranges = []Range{{begin, begin + rapid.Uint64Range(0, 5).Draw(t, "span")}}
	case TypeSet:
		a.Set = rapid.SliceOfNDistinct(rapid.SampledFrom(awkward), 1, 3, rapid.ID).Draw(t, "set")
	case TypeText:
		a.Text = rapid.SampledFrom(awkward).Draw(t, "text")
	}
	return a
}

func TestAttributesReadBackExactly(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a := drawAttribute(t)
		if err := a.Validate(); err != nil {
			t.Fatal(err)
		}
		data, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		var back Attribute
		if err := json.Unmarshal(data, &back); err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		if diff := cmp.Diff(a, back); diff != "" {
			t.Fatalf("%s (-want +got):\n%s", data, diff)
		}
		if a.Type == TypeSet || a.Text == "" && a.Type == TypeText || strings.ContainsAny(a.Text, " \t{}[]") {
			return // the text syntax cannot say it
		}
		list, err := ParseAttributes(a.String())
		if err != nil || len(list) != 1 || !cmp.Equal(a, list[0]) {
			t.Fatalf("%q reads as %v, %v", a, list, err)
		}
	})
}
