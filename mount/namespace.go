package mount

import (
	"runtime"

	"tenon/mount/internal/sys"
)

// MakePrivateNamespace gives the calling thread a copy of the mount namespace,
// of which the others see no change. What the host unmounts goes there too, so
// that a forgotten copy keeps nothing mounted; private mounts stay as they are
// in either direction.
//
// It is for a process that is about to become a task by execve(2), the stage of
// `tenon run`, and for nothing else: the goroutine stays locked to its thread,
// and the other threads of the process stay where they were. The copy costs as
// much as there are mounts. When it fails, the process should end.
func MakePrivateNamespace() error {
	runtime.LockOSThread()
	return sys.UnshareMounts()
}
