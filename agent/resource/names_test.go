package resource

import (
	"errors"
	"strings"
	"testing"
)

// refused fails unless err matches ErrInvalid and contains the fragment; "" wants nil.
func refused(t *testing.T, what string, err error, fragment string) {
	t.Helper()
	switch {
	case fragment == "" && err != nil:
		t.Errorf("%s: %v, want no error", what, err)
	case fragment != "" && (!errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), fragment)):
		t.Errorf("%s: %v, want an ErrInvalid with %q", what, err, fragment)
	}
}

func TestRoles(t *testing.T) {
	t.Parallel()
	for role, fragment := range map[string]string{
		"*": "", "web": "", "a/b/c/d": "", "web-1": "", ".web": "", "...": "", "a*": "", "é": "", "a\x01b": "", strings.Repeat("r", 255): "",
		"":                       "Role names cannot be the empty string",
		"/web":                   "cannot start with a slash",
		"/":                      "cannot start with a slash",
		"web/":                   "cannot end with a slash",
		"a//b":                   "cannot contain two adjacent slashes",
		".":                      "cannot include '.' as a component",
		"a/./b":                  "cannot include '.' as a component",
		"a/..":                   "cannot include '..' as a component",
		"a/*":                    "cannot include '*' as a component",
		"*/a":                    "cannot include '*' as a component",
		"-web":                   "because it starts with a dash",
		"a/-b":                   "because it starts with a dash",
		"a b":                    "because it contains backspace or whitespace",
		"a\tb":                   "because it contains backspace or whitespace",
		"a\n":                    "because it contains backspace or whitespace",
		"a\x0b":                  "because it contains backspace or whitespace",
		"a\x0c":                  "because it contains backspace or whitespace",
		"a\rb/c":                 "because it contains backspace or whitespace",
		"a\x7f":                  "because it contains backspace or whitespace",
		"a\x00":                  "NUL",
		"a\xff":                  "UTF-8",
		strings.Repeat("r", 256): "longer than 255 bytes",
	} {
		refused(t, "CheckRole("+role+")", CheckRole(role), fragment)
	}
}

func TestStrictSubRoles(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		role, ancestor string
		want           bool
	}{
		{"a/b", "a", true}, {"a/b/c", "a", true}, {"a", "a", false}, {"ab", "a", false}, {"a", "a/b", false}, {"b/a", "a", false},
	} {
		if got := IsStrictSubRole(c.role, c.ancestor); got != c.want {
			t.Errorf("IsStrictSubRole(%q, %q) = %t, want %t", c.role, c.ancestor, got, c.want)
		}
	}
}

func TestIDs(t *testing.T) {
	t.Parallel()
	for id, fragment := range map[string]string{
		"vol1": "", "a b": "", "...": "", "-x": "", "é": "", strings.Repeat("i", 255): "",
		"":                       "ID must not be empty",
		strings.Repeat("i", 256): "ID must not be greater than 255 characters",
		".":                      "'.' is disallowed",
		"..":                     "'..' is disallowed",
		"a/b":                    "'a/b' contains invalid characters",
		"id1/":                   "contains invalid characters",
		`a\b`:                    "contains invalid characters",
		"a\nb":                   "contains invalid characters",
		"a\x00":                  "contains invalid characters",
		"a\x1fb":                 "contains invalid characters",
		"a\x7f":                  "contains invalid characters",
		"a\xff":                  "contains invalid characters",
	} {
		refused(t, "CheckID("+id+")", CheckID(id), fragment)
	}
}

func TestContainerPathsStayInsideTheSandbox(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("c", 255)
	for path, fragment := range map[string]string{
		"data": "", "a/b/c": "", "a b": "", "..data": "", "stdout2": "", "a/stdout": "", "é": "", long: "", strings.Repeat(long+"/", 15) + long: "",
		"":                                 "must not be empty",
		"/data":                            "must be relative",
		"/":                                "must be relative",
		".":                                "must be clean",
		"..":                               "must be clean",
		"a/../b":                           "must be clean",
		"./a":                              "must be clean",
		"a/":                               "must be clean",
		"a//b":                             "must be clean",
		"a\x00b":                           "invalid characters",
		"a\nb":                             "invalid characters",
		"a\x7f":                            "invalid characters",
		"a\xffb":                           "invalid characters",
		long + "c":                         "component longer than 255 bytes",
		"a/" + long + "c":                  "component longer than 255 bytes",
		strings.Repeat(long+"/", 16) + "c": "longer than 4096 bytes",
		"stdout":                           "taken by the sandbox",
		"stderr":                           "taken by the sandbox",
		"containers":                       "taken by the sandbox",
		"containers/x":                     "taken by the sandbox",
		".secret":                          "taken by the sandbox",
		".tenon/x":                         "taken by the sandbox",
	} {
		refused(t, "CheckContainerPath("+path+")", CheckContainerPath(path), fragment)
	}
}
