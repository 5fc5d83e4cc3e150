package quota

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tenon/mount/mounttest"
)

// lostCommit is less than btrfs waits before it commits by itself (btrfs(5), commit=), and far
// more than all commits of the test take together.
const lostCommit = 25 * time.Second

func TestNoCommitThatIsAskedForIsLostWhereManyAskAtOnce(t *testing.T) {
	d := mounttest.NewDisk(t, mounttest.BtrfsSimple)
	const callers, commitsOfTest = 6, 100
	var all sync.WaitGroup
	var longest atomic.Int64
	for caller := range callers {
		all.Go(func() {
			dir, err := os.Open(d.Dir)
			if err != nil {
				t.Error(err)
				return
			}
			defer dir.Close()
			for n := range commitsOfTest {
				name := fmt.Sprint(caller, "-", n)
				if err := errors.Join(CreateSubvolume(dir, name), dir.Sync(), DeleteSubvolume(dir, name)); err != nil {
					t.Error(err)
				}
				began := time.Now()
				if err := CommitSubvolumes(dir); err != nil {
					t.Error(err)
				}
				longest.Store(max(longest.Load(), int64(time.Since(began))))
			}
		})
	}
	all.Wait()
	if took := time.Duration(longest.Load()); took > lostCommit {
		t.Errorf("a commit took %v, which is when the kernel would have made it by itself", took)
	}
}
