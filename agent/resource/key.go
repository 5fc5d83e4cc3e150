package resource

import (
	"slices"
	"strconv"
	"strings"
)

// StackKey names a reservation stack: two stacks have one key if and only if they are
// equal (spec.md 1.3: order counts, of labels only the multiset, of principals presence
// and value). Unreserved has the key "". Keys are for maps, and stable enough to log.
func StackKey(stack []Reservation) string {
	var b []byte
	for i, r := range stack {
		if i > 0 {
			b = append(b, '|')
		}
		b = r.appendKey(b)
	}
	return string(b)
}

func (r Reservation) appendKey(b []byte) []byte {
	b = strconv.AppendQuote(b, string(r.Type))
	b = strconv.AppendQuote(b, r.Role)
	b = appendOptional(b, "principal", r.Principal)
	if len(r.Labels) > 0 {
		b = append(b, labelsKey(r.Labels)...)
	}
	return b
}

// Equal reports whether two reservations are the same (spec.md 1.3).
func (r Reservation) Equal(o Reservation) bool {
	return r.Type == o.Type && r.Role == o.Role && equalOptional(r.Principal, o.Principal) && equalLabels(r.Labels, o.Labels)
}

// EqualStacks reports whether two reservation stacks are the same, element by element.
func EqualStacks(a, b []Reservation) bool {
	return slices.EqualFunc(a, b, Reservation.Equal)
}

// Key names a source: two sources have one key if and only if they are equal
// (spec.md 2.2). The root disk, nil, has the key ""; a configured disk "PATH:/mnt/d1"
// or "MOUNT:/mnt/d2"; what comes from a resource provider a longer one.
func (s *Source) Key() string {
	if s == nil {
		return ""
	}
	if root, ok := s.plainRoot(); ok {
		return string(s.Type) + ":" + root
	}
	b := strconv.AppendQuote(nil, string(s.Type))
	b = appendRoot(b, "path", s.Path)
	b = appendRoot(b, "mount", s.Mount)
	b = appendOptional(b, "id", s.ID)
	if s.Metadata != nil {
		b = append(append(b, " metadata="...), labelsKey(s.Metadata)...)
	}
	b = appendOptional(b, "profile", s.Profile)
	b = appendOptional(b, "vendor", s.Vendor)
	return string(b)
}

// plainRoot is the root of a PATH or MOUNT source that says nothing else.
func (s *Source) plainRoot() (root string, ok bool) {
	if s.ID != nil || s.Metadata != nil || s.Profile != nil || s.Vendor != nil {
		return "", false
	}
	own, other := s.Path, s.Mount
	if s.Type == SourceMount {
		own, other = other, own
	}
	known := s.Type == SourcePath || s.Type == SourceMount
	if !known || own == nil || own.Root == nil || other != nil {
		return "", false
	}
	return *own.Root, true
}

func appendRoot(b []byte, name string, r *Root) []byte {
	if r == nil {
		return b
	}
	b = append(append(b, ' '), name...)
	return appendOptional(b, "root", r.Root)
}

func appendOptional(b []byte, name string, value *string) []byte {
	if value == nil {
		return b
	}
	b = append(append(append(b, ' '), name...), '=')
	return strconv.AppendQuote(b, *value)
}

// labelsKey is equal for labels that are equal as multisets.
func labelsKey(labels []Label) string {
	keys := make([]string, len(labels))
	for i, l := range labels {
		keys[i] = string(appendOptional(strconv.AppendQuote(nil, l.Key), "", l.Value))
	}
	slices.Sort(keys)
	return "{" + strings.Join(keys, ",") + "}"
}

func equalLabels(a, b []Label) bool {
	if len(a) != len(b) {
		return false
	}
	return len(a) == 0 || labelsKey(a) == labelsKey(b)
}

func equalOptional(a, b *string) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}
