package resource

import (
	"errors"
	"strings"
	"testing"
)

func TestTextReadsAsMesosReadsIt(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":     "{}",
		" ; ;": "{}",
		"cpus:24;mem:24576;disk:409600;disk(eng):2048;ports:[21000-24000]": "cpus:24; mem:24576; disk:409600; disk(reservations: [(STATIC,eng)]):2048; ports:[21000-24000]",
		" cpus : 1.5 ; ports : [ 1 - 2 , 4-4 ] ;":                          "cpus:1.5; ports:[1-2, 4-4]",
		"disks:{sda1, sda2}": "disks:{sda1, sda2}",
		"disk(*):4":          "disk:4",
		"disk( eng/ml ):4":   "disk(reservations: [(STATIC,eng/ml)]):4",
		"disk(eng) :4":       "disk(reservations: [(STATIC,eng)]):4",
		"cpus:1;cpus:2":      "cpus:3",
		"disk:0":             "{}",
		"disk:1e3":           "disk:1000",
		"ports:[]":           "{}",
		"disks:{}":           "{}",
	} {
		list, err := ParseText(text)
		if got := SetOf(list...).String(); err != nil || got != want {
			t.Errorf("ParseText(%q) = %s, %v; want %s", text, got, err, want)
		}
	}
}

func TestTextKeepsWhatAmountsToNothing(t *testing.T) {
	t.Parallel()
	if list := mustText(t, "disk:0"); len(list) != 1 || list[0].Name != "disk" {
		t.Errorf("disk:0 reads as %v, want it mentioned", list)
	}
}

func TestBadTextIsRefused(t *testing.T) {
	t.Parallel()
	const colon, parentheses = "missing or extra ':'", "mismatched parentheses"
	for text, fragment := range map[string]string{
		"cpus": colon, "cpus:1:2": colon, "cpus::1": colon, "1;cpus:2": colon,
		"cpus(:1": parentheses, "cpus):1": parentheses, "cpus)(:1": parentheses, "cpus(eng:1": parentheses, "cpus(eng)x:1": parentheses,
		"cpus(a(b)):1": parentheses, "cpus((a)):1": parentheses,
		"cpus():1":                       "Role names cannot be the empty string",
		"cpus(a b):1":                    "whitespace",
		":1":                             "Empty resource name",
		"(eng):1":                        "Empty resource name",
		"cpus:":                          "not a number",
		"cpus:x":                         "not a number",
		"cpus:nan":                       "not a number",
		"cpus:inf":                       "not a number",
		"cpus:-1":                        "value <= 0",
		"cpus:0.0001":                    "value <= 0",
		"cpus:1e-310":                    "value <= 0",
		"cpus:1e300":                     "above",
		"ports:[1-2":                     "not a number",
		"ports:1-2]":                     "not a number",
		"ports:[1]":                      "Bad range",
		"ports:[1-]":                     "Bad range",
		"ports:[-1-2]":                   "Bad range",
		"ports:[1-2-3]":                  "Bad range",
		"ports:[1-99999999999999999999]": "Bad range",
		"ports:[2-1]":                    "begin > end",
		"ports:[1-5,5-9]":                "overlapping",
		"ports:[1-2,,4-5]":               "item is empty",
		"disks:{a,}":                     "item is empty",
		"disks:{a,a}":                    "duplicated",
		"d\xff:1":                        "UTF-8",
		"disk(\xff):1":                   "UTF-8",
	} {
		_, err := ParseText(text)
		refused(t, text, err, fragment)
	}
}

func TestListsAreTextOrJSON(t *testing.T) {
	t.Parallel()
	const item = `{"name":"disk","type":"SCALAR","scalar":{"value":4}`
	for text, want := range map[string]string{
		"disk:4": "disk:4",
		" \n[] ": "{}",
		"":       "{}",
		"[" + item + `},` + item + `,"role":"eng"},` + item + `,"reservations":[{"type":"STATIC","role":"eng"}]}]`: "disk:4; disk(reservations: [(STATIC,eng)]):8",
	} {
		list, err := ParseList(text)
		if got := SetOf(list...).String(); err != nil || got != want {
			t.Errorf("ParseList(%q) = %s, %v; want %s", text, got, err, want)
		}
	}
	for text, fragment := range map[string]string{
		item + "}":                                  "want an array",
		"[" + item + "}":                            "unexpected EOF",
		"[" + item + "}] x":                         "something follows",
		"[" + item + "},7]":                         "[1]: is a number, want an object",
		"[" + item + `,"Role":"x"}]`:                `[0]: unknown field "Role"`,
		"[" + item + `},{"name":"x","type":"SET"}]`: "resources[1]: Resource 'x:{}' is invalid: Invalid set resource",
		"[" + item + `,"shared":{}}]`:               "Only persistent volumes can be shared",
		"[" + item + `,"reservations":[{"type":"STATIC","role":"*"}]}]`: "cannot be reserved",
	} {
		_, err := ParseList(text)
		refused(t, text, err, fragment)
	}
}

func TestTheDefaultRoleTakesWhatIsNobodys(t *testing.T) {
	t.Parallel()
	list := mustText(t, "disk:1;disk(web):2")
	for role, want := range map[string]string{
		"*":   "disk:1; disk(reservations: [(STATIC,web)]):2",
		"eng": "disk(reservations: [(STATIC,eng)]):1; disk(reservations: [(STATIC,web)]):2",
	} {
		if got := SetOf(WithDefaultRole(list, role)...).String(); got != want {
			t.Errorf("default role %s: %s, want %s", role, got, want)
		}
	}
	if list[0].IsReserved() {
		t.Error("the list given was changed")
	}
}

func TestConfiguredResourcesAreTheOperatorsOwn(t *testing.T) {
	t.Parallel()
	refinedStatic := reserved(Reservation{Type: Static, Role: "a"}, Reservation{Type: Dynamic, Role: "a/b"})
	for name, c := range map[string]struct {
		list     []Resource
		fragment string
	}{
		"none":                         {nil, ""},
		"text":                         {mustText(t, "cpus:1;disk:2;disk(eng):3;ports:[1-2];ports:[4-5]"), ""},
		"sources":                      {[]Resource{disk(1, "").on(SourcePath, "/d"), disk(1, "").on(SourceMount, "/e")}, ""},
		"a volume":                     {[]Resource{reserved(Reservation{Type: Static, Role: "a"}).volume("v", "p")}, "Persistent volumes cannot be specified"},
		"revocable":                    {[]Resource{disk(1, "").with(func(r *Resource) { r.Revocable = true })}, "Revocable resources cannot be specified"},
		"dynamically reserved":         {[]Resource{disk(1, "a")}, "Dynamic reservations cannot be specified"},
		"refined":                      {[]Resource{refinedStatic}, "Dynamic reservations cannot be specified"},
		"invalid":                      {[]Resource{disk(-1, "")}, "Invalid scalar resource"},
		"one name, two types":          {mustText(t, "foo:1;foo:[1-2]"), "('foo') but different types"},
		"one name, two types in roles": {mustText(t, "foo(a):{x};foo:1"), "('foo') but different types"},
	} {
		refused(t, name, CheckConfigured(c.list), c.fragment)
	}
}

func TestErrorsOfListsNameTheResource(t *testing.T) {
	t.Parallel()
	err := CheckConfigured(mustText(t, "foo:1;foo:[1-2]"))
	var e *Error
	if !errors.As(err, &e) || e.Resource != "foo:[1-2]" || strings.Contains(err.Error(), "\n") {
		t.Errorf("error %v names %+v", err, e)
	}
}
