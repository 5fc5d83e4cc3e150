// Package owner lets tasks of different users work on one shared volume, without a walk
// over its files: by a group that they all are in, or by a mount for each that shows the
// files as the task's own (design.md 9, spec.md 6).
//
// It is not for deciding: it knows no volume and no task, stores nothing, and changes nothing on a
// disk: a volume's directory has its group from when it is made.
//
// # A map or a group
//
// An idmapped mount (Maps, mount.Attributes.IDMap) is the better choice wherever the
// filesystem has it: ext4 and XFS since Linux 5.12, btrfs since 5.15, tmpfs since 6.3.
//
//   - Nothing on the disk changes, nothing has to be undone, and no number is used up. Files
//     that were there before, a restored backup say, can be used at once.
//   - It works for a task that runs already, and whatever umask the tasks have: all files
//     belong to the volume's owner, and each task finds them to be its own.
//   - In return the tasks are one to the volume: each may do to a file of another's what it may
//     do to its own, and who made a file is not kept.
//
// A group (Ranges, Groups) works everywhere. The volume's directory is set-group-ID and belongs to
// a group of its own, picked from a range that the operator sets aside, and each task has it among
// its supplementary groups. What that costs:
//
//   - Groups are given to a process when it starts, so a running task without the group
//     (Member) gets nothing from an attachment.
//   - What tasks make inherits the group, but has the mode that their umask leaves: with 022
//     another user's task may remove a file and not change it. They want umask 002 or 007.
//   - The kernel's limit of 65536 groups limits the volumes of a task.
//
// So a volume that is shared by tasks of one user needs neither. Which one is used is said by whoever
// creates the volume, or attaches it.
//
// # What the caller keeps
//
// The number of the group, with the volume, written down before its directory is made. These rules
// keep Mesos' mistakes (spec.md 6.9) away:
//
//   - The volume's own record says which group is its, by its UUID. That of the directory says
//     nothing, and is never adopted.
//   - A number is used until the volume's purge has ended, and then rests as long as the range
//     allows (Ranges.Next): processes of old keep their groups.
//   - The directory is closed to others, or the group would keep nobody out.
//
// Functions are safe for concurrent use.
package owner
