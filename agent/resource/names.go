package resource

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// maxName is NAME_MAX: what one directory entry may be called. Roles and ids keep to
// it although nothing here makes a directory of them, since other masters' agents do.
const maxName = 255

// maxPath is PATH_MAX.
const maxPath = 4096

// CheckRole says whether a role may exist (spec.md 1.2). "*", which means unreserved,
// may. Beyond Mesos it limits the length to 255 bytes and asks for valid UTF-8.
func CheckRole(role string) error {
	switch {
	case role == "*":
		return nil
	case role == "":
		return invalidf("Role names cannot be the empty string")
	case len(role) > maxName:
		return invalidf("Role %s cannot be longer than %d bytes", shorten(role), maxName)
	case !utf8.ValidString(role):
		return invalidf("Role %s is not valid UTF-8", shorten(role))
	case strings.HasPrefix(role, "/"):
		return invalidf("Role '%s' cannot start with a slash", role)
	case strings.HasSuffix(role, "/"):
		return invalidf("Role '%s' cannot end with a slash", role)
	case strings.Contains(role, "//"):
		return invalidf("Role '%s' cannot contain two adjacent slashes", role)
	}
	for component := range strings.SplitSeq(role, "/") {
		if err := checkRoleComponent(role, component); err != nil {
			return err
		}
	}
	return nil
}

func checkRoleComponent(role, component string) error {
	switch {
	case component == "." || component == ".." || component == "*":
		return invalidf("Role '%s' cannot include '%s' as a component", role, component)
	case strings.HasPrefix(component, "-"):
		return invalidf("Role component '%s' is invalid because it starts with a dash", component)
	case strings.ContainsAny(component, "\t\n\v\f\r \x7f"):
		return invalidf("Role component '%s' is invalid because it contains backspace or whitespace", component)
	case strings.ContainsRune(component, 0):
		return invalidf("Role component %s is invalid because it contains a NUL", shorten(component))
	}
	return nil
}

// IsStrictSubRole reports whether role lies below ancestor: "a/b" below "a", but
// neither "a" itself nor "ab".
func IsStrictSubRole(role, ancestor string) bool {
	return strings.HasPrefix(role, ancestor+"/")
}

// CheckID says whether an id of anything may exist (spec.md 1.5). The message is the
// rule that it breaks; the caller puts before it what the id was to name. Beyond Mesos
// it asks for valid UTF-8.
func CheckID(id string) error {
	switch {
	case id == "":
		return invalidf("ID must not be empty")
	case len(id) > maxName:
		return invalidf("ID must not be greater than %d characters", maxName)
	case id == "." || id == "..":
		return invalidf("'%s' is disallowed", id)
	case strings.ContainsAny(id, `/\`), hasControl(id), !utf8.ValidString(id):
		return invalidf("'%s' contains invalid characters", id)
	}
	return nil
}

// hasControl is C's iscntrl over the bytes of s.
func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r == 0x7f })
}

// sandboxNames are what a sandbox itself holds, so no volume may appear there.
var sandboxNames = []string{"stdout", "stderr", "containers", ".secret", ".tenon"}

// CheckContainerPath says whether a volume may appear at this path of a sandbox: a
// clean relative path, nested if need be, that stays inside and covers nothing of the
// sandbox's own (spec.md 5.2).
func CheckContainerPath(path string) error {
	switch {
	case path == "":
		return invalidf("container_path must not be empty")
	case len(path) > maxPath:
		return invalidf("container_path must not be longer than %d bytes", maxPath)
	case strings.HasPrefix(path, "/"):
		return invalidf("container_path %s must be relative to the sandbox", shorten(path))
	case hasControl(path), !utf8.ValidString(path):
		return invalidf("container_path %s contains invalid characters", shorten(path))
	}
	components := strings.Split(path, "/")
	for _, component := range components {
		if component == "" || component == "." || component == ".." {
			return invalidf("container_path %s must be clean: no empty, '.' or '..' component", shorten(path))
		}
		if len(component) > maxName {
			return invalidf("container_path %s has a component longer than %d bytes", shorten(path), maxName)
		}
	}
	if slices.Contains(sandboxNames, components[0]) {
		return invalidf("container_path %s is taken by the sandbox itself", shorten(path))
	}
	return nil
}
