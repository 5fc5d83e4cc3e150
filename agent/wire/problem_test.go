package wire_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/agent/wire"
)

func TestEveryKindHasItsNameAndItsStatus(t *testing.T) {
	t.Parallel()
	want := map[error]struct {
		name   string
		status int
	}{
		volume.ErrInvalid: {"invalid", 400}, volume.ErrForbidden: {"forbidden", 403}, volume.ErrNotFound: {"not_found", 404},
		volume.ErrExists: {"exists", 409}, volume.ErrInUse: {"in_use", 409}, volume.ErrInsufficient: {"insufficient", 409},
		volume.ErrPending: {"pending", 409}, volume.ErrBusy: {"busy", 409}, volume.ErrLost: {"lost", 410},
		volume.ErrUnavailable: {"unavailable", 503}, volume.ErrFailed: {"failed", 500}, volume.ErrStopped: {"stopping", 503},
		volume.ErrJournal: {"journal", 503},
	}
	if len(want) != len(volume.Kinds()) {
		t.Errorf("there are %d kinds, this test knows %d", len(volume.Kinds()), len(want))
	}
	for _, kind := range volume.Kinds() {
		p := wire.ProblemOf(fmt.Errorf("wrapped: %w", &volume.Error{Kind: kind, Message: "why"}))
		if p.Kind != want[kind].name || p.Status != want[kind].status || p.Title == "" || p.Detail != "wrapped: why" {
			t.Errorf("%v is told as %+v, want %+v", kind, p, want[kind])
		}
		if back := wire.KindNamed(p.Kind); back != kind {
			t.Errorf("%q reads back as %v, want %v", p.Kind, back, kind)
		}
	}
	if wire.KindNamed("nonsense") != nil {
		t.Error("an unknown name has a kind")
	}
}

func TestErrorsWithoutAKindAreTold(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		err    error
		kind   string
		status int
	}{
		{errors.New("disk on fire"), "failed", 500},
		{fmt.Errorf("waiting: %w", context.DeadlineExceeded), "pending", 504},
		{context.Canceled, "stopping", 503},
		{&volume.Error{Kind: volume.ErrBusy, Message: "busy", Cause: context.DeadlineExceeded}, "busy", 409},
	} {
		if p := wire.ProblemOf(tc.err); p.Kind != tc.kind || p.Status != tc.status {
			t.Errorf("%v is told as %s with %d, want %s with %d", tc.err, p.Kind, p.Status, tc.kind, tc.status)
		}
	}
}

func TestSeveralErrorsAreToldOnOneLine(t *testing.T) {
	t.Parallel()
	p := wire.ProblemOf(errors.Join(errors.New("a"), &volume.Error{Kind: volume.ErrBusy, Message: "b"}))
	if p.Detail != "a; b" || p.Kind != "busy" {
		t.Errorf("got %q of kind %s, want one line of kind busy", p.Detail, p.Kind)
	}
}

func TestARequestForAVolumeBecomesACreate(t *testing.T) {
	t.Parallel()
	s := example()
	for _, name := range []string{"PATH:/mnt/d1", "/mnt/d1"} {
		op, err := wire.CreateVolume{Role: "web", ID: "v", Size: 5<<20 + 1, Disk: name, Mode: "1777", UID: 7, GID: 8}.Operation(s)
		if err != nil {
			t.Fatal(err)
		}
		if got := op.Volume.Disk.Source.Key(); got != "PATH:/mnt/d1" {
			t.Errorf("disk %q is %q", name, got)
		}
		if op.Volume.Scalar != 5*resource.One+1 {
			t.Errorf("size is %v, want it rounded up", op.Volume.Scalar)
		}
		if want := (volume.Owner{UID: 7, GID: 8, Mode: 0o1777}); op.Owner != want {
			t.Errorf("owner is %+v, want %+v", op.Owner, want)
		}
		if op.Volume.Disk.Volume.ContainerPath != "v" {
			t.Errorf("container path is %q, want the id", op.Volume.Disk.Volume.ContainerPath)
		}
	}
	for _, name := range []string{"", "root"} {
		op, err := wire.CreateVolume{Role: "web", ID: "v", Size: 1, Disk: name}.Operation(s)
		if err != nil || op.Volume.Disk.Source != nil || op.Owner.Mode != 0o755 {
			t.Errorf("disk %q gives %+v, %v; want the root disk and mode 0755", name, op, err)
		}
	}
}

func TestABadRequestForAVolumeSaysWhichFieldIsBad(t *testing.T) {
	t.Parallel()
	s := example()
	good := wire.CreateVolume{Role: "web", ID: "v", Size: 1 << 20}
	for name, tc := range map[string]struct {
		spoil func(*wire.CreateVolume)
		kind  error
	}{
		"no role":       {func(c *wire.CreateVolume) { c.Role = "" }, volume.ErrInvalid},
		"role star":     {func(c *wire.CreateVolume) { c.Role = "*" }, volume.ErrInvalid},
		"no size":       {func(c *wire.CreateVolume) { c.Size = 0 }, volume.ErrInvalid},
		"negative size": {func(c *wire.CreateVolume) { c.Size = -1 }, volume.ErrInvalid},
		"uid -1":        {func(c *wire.CreateVolume) { c.UID = -1 }, volume.ErrInvalid},
		"gid 2^32-1":    {func(c *wire.CreateVolume) { c.GID = 1<<32 - 1 }, volume.ErrInvalid},
		"mode 0888":     {func(c *wire.CreateVolume) { c.Mode = "0888" }, volume.ErrInvalid},
		"mode 010000":   {func(c *wire.CreateVolume) { c.Mode = "010000" }, volume.ErrInvalid},
		"mode -1":       {func(c *wire.CreateVolume) { c.Mode = "-1" }, volume.ErrInvalid},
		"other disk":    {func(c *wire.CreateVolume) { c.Disk = "/mnt/d2" }, volume.ErrNotFound},
	} {
		c := good
		tc.spoil(&c)
		if _, err := c.Operation(s); !errors.Is(err, tc.kind) {
			t.Errorf("%s: got %v, want %v", name, err, tc.kind)
		}
	}
}

func TestAClaimIsHeldByWhoeverAsksUnlessItNamesAProcess(t *testing.T) {
	t.Parallel()
	op, err := wire.Claim{Task: "t1"}.Operation(7)
	if err != nil || op.Lease.PID != 7 {
		t.Errorf("got %+v, %v; want the peer's pid", op.Lease, err)
	}
	op, err = wire.Claim{Task: "t1", PID: 8}.Operation(7)
	if err != nil || op.Lease.PID != 8 {
		t.Errorf("got %+v, %v; want the pid that was named", op.Lease, err)
	}
	for _, c := range []wire.Claim{{Task: "t1"}, {Task: "t1", PID: -3}, {Task: "t1", PID: 1, Volumes: []wire.Use{{}}}} {
		if _, err := c.Operation(0); !errors.Is(err, volume.ErrInvalid) {
			t.Errorf("%+v: got %v, want ErrInvalid", c, err)
		}
	}
	if _, err := (wire.Attach{}).Operation("t1", volume.ByPath); !errors.Is(err, volume.ErrInvalid) {
		t.Errorf("attach without a volume: got %v, want ErrInvalid", err)
	}
}
