package csi

import (
	"context"
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"tenon/agent/volume"
)

// codeTable gives the code of every kind. An error of no kind is Internal.
var codeTable = []struct {
	kind error
	code codes.Code
}{
	{volume.ErrInvalid, codes.InvalidArgument},
	{volume.ErrForbidden, codes.PermissionDenied},
	{volume.ErrNotFound, codes.NotFound},
	{volume.ErrExists, codes.AlreadyExists},
	{volume.ErrInUse, codes.FailedPrecondition},
	{volume.ErrInsufficient, codes.ResourceExhausted},
	{volume.ErrPending, codes.Aborted}, // "operation pending for volume", which is to be repeated
	{volume.ErrBusy, codes.FailedPrecondition},
	{volume.ErrLost, codes.DataLoss},
	{volume.ErrUnavailable, codes.Unavailable},
	{volume.ErrFailed, codes.Internal},
	{volume.ErrStopped, codes.Unavailable},
	{volume.ErrJournal, codes.Unavailable},
}

// statusOf gives an error its code, unless it has one.
func statusOf(err error) error {
	if _, has := status.FromError(err); has {
		return err
	}
	return status.Error(codeOf(err), err.Error())
}

func codeOf(err error) codes.Code {
	kind := volume.Kind(err)
	if kind == nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
		return status.FromContextError(err).Code() // those at the root of a kind are no end of the call
	}
	for _, row := range codeTable {
		if row.kind == kind {
			return row.code
		}
	}
	return codes.Internal
}

// What follows is for what the specification gives a code of its own, and the agent no kind.

// outOfRange is for sizes that no volume can have.
func outOfRange(format string, args ...any) error {
	return status.Errorf(codes.OutOfRange, format, args...)
}

// noDirectory is for targets whose directory is missing; the orchestrator is to make it.
func noDirectory(err error) error { return status.Error(codes.FailedPrecondition, err.Error()) }
