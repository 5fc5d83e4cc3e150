package checkpoint_test

import (
	"fmt"
	"syscall"
	"testing"

	"tenon/checkpoint/crashfs"
)

func TestPowerCutAtEveryOperationKeepsWhatWasAcknowledged(t *testing.T) {
	t.Parallel()
	tried := 0
	for k := 1; ; k++ {
		h, err := at(k, (*crashfs.FS).StopAt)
		if err != nil {
			t.Fatalf("operation %d: %v", k, err)
		}
		for name, image := range images(h.fs) {
			tried++
			what := fmt.Sprintf("power cut at operation %d, %s", k, name)
			n := recovers(t, what, *h, image)
			if whole := name == "all of it survives" || name == "the program is killed"; whole && n < len(h.tx) {
				t.Fatalf("%s: %d of %d transactions", what, n, len(h.tx))
			}
		}
		if len(h.errs) == 0 {
			t.Logf("%d operations, %d images of a power cut", k-1, tried)
			return
		}
	}
}

// interrupted disturbs every operation of the recovery from a power cut at every step-th, then
// demands that what is left recovers.
func interrupted(t *testing.T, step int, disturb func(fs *crashfs.FS, m int)) {
	t.Helper()
	total, tried := operations(t), 0
	for k := 1; k <= total+1; k += step {
		h, err := at(k, (*crashfs.FS).StopAt)
		if err != nil {
			t.Fatalf("operation %d: %v", k, err)
		}
		for m := 1; ; m++ {
			again := h.on(h.fs.Crash(crashfs.Some, uint64(k)))
			disturb(again.fs, m)
			if err := again.open(); err != nil {
				t.Fatalf("operations %d, %d: %v", k, m, err)
			}
			for seed := range uint64(2) {
				tried++
				what := fmt.Sprintf("power cut at operation %d, disturbed at %d of the recovery, some survives by seed %d", k, m, seed)
				recovers(t, what, again, again.fs.Crash(crashfs.Some, seed))
			}
			if again.fs.Operations() < m {
				break
			}
		}
	}
	t.Logf("%d images of a disturbed recovery", tried)
}

func TestPowerCutDuringTheRecoveryFromAPowerCutLosesNoMore(t *testing.T) {
	t.Parallel()
	interrupted(t, 5, (*crashfs.FS).StopAt)
}

func TestFailureDuringTheRecoveryFromAPowerCutLosesNothing(t *testing.T) {
	t.Parallel()
	for _, failure := range []error{syscall.EIO, syscall.ENOSPC} {
		interrupted(t, 11, func(fs *crashfs.FS, m int) { fs.FailAt(m, failure) })
	}
}

func TestFailureOfEveryOperationIsSurvivedAfterReopening(t *testing.T) {
	t.Parallel()
	for _, failure := range []error{syscall.EIO, syscall.ENOSPC} {
		tried := 0
		for k := 1; ; k++ {
			h, err := at(k, func(fs *crashfs.FS, k int) { fs.FailAt(k, failure) })
			if err != nil {
				t.Fatalf("%v at operation %d: %v", failure, k, err)
			}
			ops := h.fs.Operations()
			for name, image := range images(h.fs) {
				tried++
				recovers(t, fmt.Sprintf("%v at operation %d, then %s", failure, k, name), *h, image)
			}
			if ops < k {
				t.Logf("%d operations, %d images after %v", k-1, tried, failure)
				break
			}
		}
	}
}
