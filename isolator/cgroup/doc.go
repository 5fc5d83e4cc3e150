// Package cgroup gives each task that Tenon starts a cgroup of its own, so that
// the agent knows when the whole task is gone, not just its first process, and
// can end it whole.
//
// A group made here has no controllers and says only who belongs to a task, unless it is given
// limits of its input and output. It never touches a group that it did not name.
//
// Any of the three layouts of a Linux host will do. Where the unified hierarchy
// (cgroups v2) is mounted, alone or beside the v1 controllers (hybrid), it is used,
// because there the kernel tells when a group empties and can kill one at once; no
// controller is needed for either. On a host with v1 alone one v1 hierarchy is used
// (freezer, pids or name=systemd, the first that is there); it tells nothing by
// itself, so emptiness must be asked for, and a group is killed process by process.
//
// Invariants:
//   - A group's directory is named by its task alone ("task-" and the task's id, or
//     "sha256-" and a digest where that would be too long for a file name), so two
//     tasks never share one and none can be mistaken for a file of the kernel.
//   - A missing group is not populated, and deleting it is no error. A group in a
//     hierarchy that is not mounted is an error instead: nothing is known of it.
//   - Nothing here waits without a context, but for Delete and Join where the
//     kernel needs some milliseconds.
//
// A fresh group is empty, and looks like that of a task that has ended, until its
// first process is in it. Package lease says how a holder bridges that time.
//
// See cgroups(7), and "Control Group v2" in the kernel's administration guide.
package cgroup
