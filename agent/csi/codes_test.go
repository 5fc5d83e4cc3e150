package csi

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"tenon/agent/volume"
)

func TestEveryKindOfErrorHasOneCode(t *testing.T) {
	t.Parallel()
	want := map[error]codes.Code{
		volume.ErrInvalid: codes.InvalidArgument, volume.ErrForbidden: codes.PermissionDenied, volume.ErrNotFound: codes.NotFound,
		volume.ErrExists: codes.AlreadyExists, volume.ErrInUse: codes.FailedPrecondition, volume.ErrInsufficient: codes.ResourceExhausted,
		volume.ErrPending: codes.Aborted, volume.ErrBusy: codes.FailedPrecondition, volume.ErrLost: codes.DataLoss,
		volume.ErrUnavailable: codes.Unavailable, volume.ErrFailed: codes.Internal, volume.ErrStopped: codes.Unavailable,
		volume.ErrJournal: codes.Unavailable,
	}
	for _, kind := range volume.Kinds() {
		if got := status.Code(statusOf(fmt.Errorf("more: %w", refuse(kind, "why")))); got != want[kind] {
			t.Errorf("%v has code %s, want %s", kind, got, want[kind])
		}
	}
	if len(codeTable) != len(volume.Kinds()) {
		t.Errorf("the table has %d rows for %d kinds", len(codeTable), len(volume.Kinds()))
	}
}

func TestErrorsOfNoKindHaveCodesToo(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		err  error
		want codes.Code
	}{
		{"nothing is known of it", errors.New("odd"), codes.Internal},
		{"the caller has hung up", fmt.Errorf("wait: %w", context.Canceled), codes.Canceled},
		{"time is up", context.DeadlineExceeded, codes.DeadlineExceeded},
		{"it has a code", outOfRange("too large"), codes.OutOfRange},
		{"a missing directory is no missing volume", noDirectory(refuse(volume.ErrNotFound, "no directory")), codes.FailedPrecondition},
		{"a kind counts more than the end of a context",
			&volume.Error{Kind: volume.ErrFailed, Message: "step", Cause: context.DeadlineExceeded}, codes.Internal},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			wantCode(t, c.name, statusOf(c.err), c.want)
		})
	}
}

func TestTheMessageOfARefusalIsKept(t *testing.T) {
	t.Parallel()
	got := status.Convert(statusOf(refuse(volume.ErrInUse, "task a has it"))).Message()
	if got != "task a has it" {
		t.Errorf("message is %q", got)
	}
}
