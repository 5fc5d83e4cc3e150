package quota

import (
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// firstReminder is when the kernel is first reminded of a commit; each later one comes after
// twice the time. A commit that nothing disturbs begins within microseconds.
const firstReminder = 20 * time.Millisecond

// startCommit has the btrfs of dir begin to commit, and gives the transaction. Everything that
// was done before the call is in it.
//
// BTRFS_IOC_START_SYNC wakes the kernel's thread that commits and waits until it has begun. That
// thread looks whether it was asked, and then sleeps without looking again (transaction_kthread
// in fs/btrfs/disk-io.c, up to Linux 6.18 at least). What is asked in between is lost, as may
// happen whenever two ask at the same time, and both would wait for the commit that is due by
// itself after 30 seconds. So the thread is asked again until the commit has begun.
func startCommit(dir *os.File) (transaction uint64, err error) {
	begun := make(chan error, 1)
	go func() { begun <- ioctl(dir, "BTRFS_IOC_START_SYNC", iocStartSync, unsafe.Pointer(&transaction)) }()
	wait := firstReminder
	for again := time.NewTimer(wait); ; again.Reset(wait) {
		select {
		case err := <-begun:
			again.Stop()
			return transaction, err
		case <-again.C:
			wait *= 2
			remind(dir)
		}
	}
}

// remind asks for the same commit once more, and does not wait for it. What goes wrong is told
// by the first call.
func remind(dir *os.File) {
	own, err := openAt(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY) // it may well return after the first one
	if err != nil {
		return
	}
	go func() {
		defer own.Close()
		var transaction uint64
		_ = ioctl(own, "BTRFS_IOC_START_SYNC", iocStartSync, unsafe.Pointer(&transaction))
	}()
}
