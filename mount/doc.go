// Package mount joins directories to targets in the mount namespace of the
// calling process, or of another (Namespace): it opens paths safely, makes mounts
// detached with all their attributes, attaches, flips and detaches them, finds out
// what is mounted, and measures and removes trees.
//
// It is not for deciding: it knows no volume, no task and no journal, keeps no
// state and never retries in the background. What should be mounted where is
// the caller's to know.
//
// Invariants:
//
//   - Descriptors, never paths. A path is resolved once, by openat2(2) beneath
//     a directory that is already open, and no symlink, magic link or foreign
//     mount on the way is followed. Names in errors are for people.
//   - A mount has all its attributes (nosuid and nodev always) before it can be
//     seen anywhere, so that no instant exists in which a read-only mount can be
//     written to.
//   - An attach, a detach and a look cost the same however much is mounted. The
//     whole table is read by Table, and where an answer of EBUSY is explained.
//   - Every descriptor is close-on-exec, and whoever gets an *os.File closes it.
//
// Functions are safe for concurrent use unless they say otherwise. The oldest
// kernel is Linux 5.12 (mount_setattr); Linux 6.8 and 6.15 make things cheaper,
// which is probed and needs no configuration. Most functions need
// CAP_SYS_ADMIN in the mount namespace's owner, and /proc has to be mounted.
package mount
