package resource

import (
	"fmt"
	"strings"
)

// String is r as Mesos prints it in logs and messages (spec.md 1.11), such as
// "disk(reservations: [(DYNAMIC,web,ops)])[vol1:volume]<SHARED>:256".
func (r Resource) String() string {
	var b strings.Builder
	b.WriteString(r.Name)
	if r.Allocation != "" {
		fmt.Fprintf(&b, "(allocated: %s)", r.Allocation)
	}
	if len(r.Reservations) > 0 {
		fmt.Fprintf(&b, "(reservations: [%s])", join(r.Reservations, Reservation.String))
	}
	if r.Disk != nil {
		fmt.Fprintf(&b, "[%s]", r.Disk)
	}
	if r.Revocable {
		b.WriteString("{REV}")
	}
	if r.Shared {
		b.WriteString("<SHARED>")
	}
	return b.String() + ":" + r.valueString()
}

func (r Resource) valueString() string {
	switch r.Type {
	case TypeRanges:
		return "[" + join(r.Ranges, Range.String) + "]"
	case TypeSet:
		return "{" + strings.Join(r.Set, ", ") + "}"
	}
	return r.Scalar.String()
}

// String is the interval as "begin-end".
func (r Range) String() string { return fmt.Sprintf("%d-%d", r.Begin, r.End) }

// String is the reservation as "(DYNAMIC,role,principal,{labels})".
func (r Reservation) String() string {
	text := fmt.Sprintf("(%s,%s", r.Type, r.Role)
	if r.Principal != nil {
		text += "," + *r.Principal
	}
	if r.Labels != nil {
		text += ",{" + join(r.Labels, Label.String) + "}"
	}
	return text + ")"
}

// String is the label as "key: value", or "key" when it has no value.
func (l Label) String() string {
	if l.Value == nil {
		return l.Key
	}
	return l.Key + ": " + *l.Value
}

// String is the disk as "source,id:container_path", as far as each is set.
func (d *Disk) String() string {
	text := d.Source.String()
	if d.Persistence != nil {
		if d.Source != nil {
			text += ","
		}
		text += d.Persistence.ID
	}
	if d.Volume != nil {
		text += ":" + d.Volume.String()
	}
	return text
}

// String is the volume's container path; with a host path before and the mode behind
// when there is one.
func (v *Volume) String() string {
	if v.HostPath == nil {
		return v.ContainerPath
	}
	return *v.HostPath + ":" + v.ContainerPath + ":" + strings.ToLower(string(v.Mode))
}

// String is the source as "PATH:/mnt/d1"; of a provider's, with "(vendor,id,profile)"
// behind the type. The root disk, which is nil, prints as nothing.
func (s *Source) String() string {
	if s == nil {
		return ""
	}
	text := string(s.Type)
	if s.ID != nil || s.Profile != nil {
		text += fmt.Sprintf("(%s,%s,%s)", orEmpty(s.Vendor), orEmpty(s.ID), orEmpty(s.Profile))
	}
	for _, root := range []*Root{s.Path, s.Mount} {
		if root != nil && root.Root != nil {
			text += ":" + *root.Root
		}
	}
	return text
}

func orEmpty(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// join prints a list as Mesos does, with ", " between.
func join[T any](list []T, print func(T) string) string {
	texts := make([]string, len(list))
	for i, item := range list {
		texts[i] = print(item)
	}
	return strings.Join(texts, ", ")
}
