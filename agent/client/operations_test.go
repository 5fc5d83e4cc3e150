package client_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/agent/wire"
)

func reserving(id string, mib resource.Scalar) resource.Operation {
	r := resource.Resource{
		Name: "disk", Type: resource.TypeScalar, Scalar: mib * resource.One,
		Reservations: []resource.Reservation{{Type: resource.Dynamic, Role: "web"}},
	}
	return resource.Operation{Type: resource.OpReserve, ID: id, Reserve: &resource.Reserve{Resources: []resource.Resource{r}}}
}

func TestOperationsWithIDsAreToldUntilTheyAreAcknowledged(t *testing.T) {
	t.Parallel()
	c, _, _ := running(t)
	var want []string
	for n := range 5 {
		id := fmt.Sprint("op %", n)
		applied, err := c.Apply(t.Context(), reserving(id, 1))
		if err != nil || len(applied.Operations) != 1 || applied.Operations[0].State != volume.OperationFinished {
			t.Fatalf("applied %+v, %v; want it finished", applied, err)
		}
		want = append(want, id)
	}
	if err := c.Acknowledge(t.Context(), want[1]); err != nil {
		t.Fatal(err)
	}
	if o, err := c.Operation(t.Context(), want[1]); err != nil || !o.Acknowledged || o.Type != "RESERVE" {
		t.Errorf("got %+v, %v; want it acknowledged", o, err)
	}
	list := func(acknowledged bool) (ids []string) {
		for o, err := range c.AllOperations(t.Context(), acknowledged) {
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, o.ID)
		}
		return ids
	}
	if diff := cmp.Diff(want, list(true)); diff != "" {
		t.Errorf("all (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{want[0], want[2], want[3], want[4]}, list(false)); diff != "" {
		t.Errorf("those not acknowledged (-want +got):\n%s", diff)
	}
	page, err := c.Operations(t.Context(), "", false, 2)
	if err == nil {
		page, err = c.Operations(t.Context(), page.Next, false, 1)
	}
	if err != nil || len(page.Operations) != 1 || page.Operations[0].ID != want[3] {
		t.Errorf("the second page is %+v, %v; want %s", page, err, want[3])
	}
	if _, err := c.Operation(t.Context(), "nobody's"); !errors.Is(err, volume.ErrNotFound) {
		t.Errorf("an unknown operation: %v", err)
	}
	if err := c.Acknowledge(t.Context(), "nobody's"); !errors.Is(err, volume.ErrNotFound) {
		t.Errorf("an unknown operation: %v", err)
	}
}

func TestADryRunSaysWhatWouldBeAndChangesNothing(t *testing.T) {
	t.Parallel()
	c, a, _ := running(t)
	reserve(t, c, "web", 64)
	create(t, c, "data", true)
	before := a.State().Version
	applied, err := c.TryApply(t.Context(), reserving("one", 8))
	if err != nil || !applied.DryRun || len(applied.Operations) != 1 {
		t.Errorf("applied %+v, %v; want a dry run of one operation", applied, err)
	}
	v, err := c.TryCreate(t.Context(), wire.CreateVolume{Role: "web", ID: "new", Size: 1 << 20})
	if err != nil || v.State != "creating" || v.Name != "web/new" {
		t.Errorf("created %+v, %v", v, err)
	}
	if v, err = c.TryResize(t.Context(), "web/data", 9<<20); err != nil || v.Size != 9<<20 {
		t.Errorf("resized %+v, %v", v, err)
	}
	if err := c.TryDestroy(t.Context(), "web/data"); err != nil {
		t.Error(err)
	}
	for what, err := range map[string]error{
		"apply":   second(c.TryApply(t.Context(), reserving("", 99999))),
		"create":  second(c.TryCreate(t.Context(), wire.CreateVolume{Role: "web", ID: "big", Size: 1 << 40})),
		"resize":  second(c.TryResize(t.Context(), "web/data", 1<<40)),
		"destroy": c.TryDestroy(t.Context(), "web/nothing"),
	} {
		if volume.Kind(err) == nil {
			t.Errorf("%s of what cannot be: %v, want a refusal", what, err)
		}
	}
	if after := a.State().Version; after != before {
		t.Errorf("version %d became %d", before, after)
	}
}

func second[T any](_ T, err error) error { return err }

func TestAVolumeIsResized(t *testing.T) {
	t.Parallel()
	c, _, _ := running(t)
	reserve(t, c, "web", 64)
	create(t, c, "data", true)
	for _, size := range []resource.Bytes{8 << 20, 2 << 20} {
		if v, err := c.Resize(t.Context(), "web/data", size); err != nil || v.Size != size {
			t.Errorf("resized to %+v, %v; want %d", v, err, size)
		}
	}
	if _, err := c.Resize(t.Context(), "web/data", 65<<20); !errors.Is(err, volume.ErrInsufficient) {
		t.Errorf("larger than the reservation: %v", err)
	}
}

func TestResourcesAreTold(t *testing.T) {
	t.Parallel()
	c, _, _ := running(t)
	reserve(t, c, "web", 64)
	create(t, c, "data", true)
	create(t, c, "alone", false)
	r, err := c.Resources(t.Context(), "", true)
	if err != nil || r.Resources["disk"].Scalar != 8192*resource.One || len(r.Total) != 5 || len(r.Offerable) != 5 {
		t.Errorf("got %+v, %v; want both disks, a reservation and two volumes", r, err)
	}
	if r, err = c.Resources(t.Context(), "db", true); err != nil || len(r.Offerable) != 2 || len(r.Total) != 5 {
		t.Errorf("got %+v, %v; want only what is unreserved offered to db", r, err)
	}
	if r, err = c.Resources(t.Context(), "web", false); err != nil || len(r.Offerable) != 4 || len(r.Total) != 4 {
		t.Errorf("got %+v, %v; want no shared volume", r, err)
	}
	if _, err := c.Resources(t.Context(), "a b", true); !errors.Is(err, volume.ErrInvalid) {
		t.Errorf("a role that cannot be: %v", err)
	}
}
