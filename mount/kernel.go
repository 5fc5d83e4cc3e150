package mount

import (
	"errors"

	"golang.org/x/sys/unix"

	"tenon/mount/internal/sys"
)

// KernelFeature is what a kernel may have or lack that this package would use.
type KernelFeature struct {
	Name  string
	Since string // Linux
	Has   bool
	Gives string // what is better with it
}

// KernelFeatures says what the running kernel has, of what makes a difference. One that may
// not be asked for (no CAP_SYS_ADMIN) counts as missing.
func KernelFeatures() []KernelFeature {
	err := unix.MountSetattr(-1, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
	return []KernelFeature{
		{"mount_setattr", "5.12", !errors.Is(err, unix.ENOSYS), "mounts at all, and with the users of a task mapped"},
		{sys.HasStatmount.Name, sys.HasStatmount.Since, sys.HasStatmount.Available(), "mounts are looked at one by one, not in a table of all"},
		{sys.HasCloneDetached.Name, sys.HasCloneDetached.Since, sys.HasCloneDetached.Available(), "pools leave no mount that others see, and an attach costs the same however many mounts there are"},
	}
}
