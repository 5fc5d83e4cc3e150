package acceptance

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"tenon/agent/resource"
)

func ptr[T any](v T) *T { return &v }

// dynamic and static are reservations.
func dynamic(role string) resource.Reservation {
	return resource.Reservation{Type: resource.Dynamic, Role: role}
}

func static(role string) resource.Reservation {
	return resource.Reservation{Type: resource.Static, Role: role}
}

// by is a dynamic reservation with a principal.
func by(principal, role string) resource.Reservation {
	r := dynamic(role)
	r.Principal = &principal
	return r
}

// space is an amount of disk in MiB, reserved as said, the most refined last.
func space(mib float64, stack ...resource.Reservation) resource.Resource {
	return scalar("disk", mib, stack...)
}

func scalar(name string, n float64, stack ...resource.Reservation) resource.Resource {
	return resource.Resource{
		Name: name, Type: resource.TypeScalar,
		Scalar: resource.Scalar(n*float64(resource.One) + 0.5), Reservations: slices.Clone(stack),
	}
}

// vol makes an exclusive volume of an amount of disk; its container path is "data".
func vol(r resource.Resource, id string) resource.Resource {
	return changed(r, func(d *resource.Disk) {
		d.Persistence = &resource.Persistence{ID: id}
		d.Volume = &resource.Volume{ContainerPath: "data", Mode: resource.RW}
	})
}

// sharing makes a shared volume of an amount of disk.
func sharing(r resource.Resource, id string) resource.Resource {
	r = vol(r, id)
	r.Shared = true
	return r
}

// changed is r with another DiskInfo.
func changed(r resource.Resource, change func(*resource.Disk)) resource.Resource {
	d := resource.Disk{}
	if r.Disk != nil {
		d = *r.Disk
	}
	change(&d)
	r.Disk = &d
	return r
}

// on puts r on a disk of a kind, whose directory or name is at.
func on(kind resource.SourceType, at string, r resource.Resource) resource.Resource {
	return changed(r, func(d *resource.Disk) {
		switch s := (&resource.Source{Type: kind}); kind {
		case resource.SourcePath:
			s.Path = &resource.Root{Root: &at}
			d.Source = s
		case resource.SourceMount:
			s.Mount = &resource.Root{Root: &at}
			d.Source = s
		default:
			if at != "" {
				s.ID = &at
			}
			d.Source = s
		}
	})
}

// texts reads Mesos' text syntax.
func texts(t *testing.T, text string) []resource.Resource {
	t.Helper()
	list, err := resource.ParseText(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return list
}

func set(t *testing.T, text string) resource.Set {
	t.Helper()
	return resource.SetOf(texts(t, text)...)
}

// read reads one resource of JSON.
func read(t *testing.T, text string) (r resource.Resource) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return r
}

// same fails the test unless two sets hold the same.
func same(t *testing.T, what string, got, want resource.Set) {
	t.Helper()
	if !got.Equal(want) {
		t.Errorf("%s: %s, want %s", what, got, want)
	}
}

// is fails the test unless got is want.
func is[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// refused fails the test unless err is there and says something.
func refused(t *testing.T, what string, err error, says string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), says) {
		t.Errorf("%s: %v, want an error that says %q", what, err, says)
	}
}

// allowed fails the test unless err is nil.
func allowed(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Errorf("%s: %v, want none", what, err)
	}
}
