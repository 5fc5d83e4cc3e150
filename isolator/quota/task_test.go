package quota

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// until asks again until the answer is yes: what was removed goes in the background on
// some filesystems. Each time it commits what is pending and has it gone on with.
func until(t testing.TB, q *Quota, yes func() bool) {
	t.Helper()
	for !yes() {
		var st unix.Statfs_t
		must(t, unix.Fstatfs(int(q.dir.Fd()), &st)) // XFS
		must(t, unix.Syncfs(int(q.dir.Fd())))
		runtime.Gosched()
	}
}
