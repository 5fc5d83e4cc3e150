// Package quota limits how much directories hold, by the filesystem itself: a write
// beyond the limit fails, and what is used is known without a walk.
//
// A limit belongs to a project: a number that the caller picks (Range.Next) and keeps.
// Assign puts a directory with all that will be made in it into a project, SetLimit
// limits it, Usage says what it takes, and Clear gives the number back once nothing
// carries it. On XFS and ext4 that is a project of the filesystem's own (project quotas);
// on btrfs, where only subvolumes can be limited, it is the quota group 1/<project>, and
// the directory has to be a subvolume (CreateSubvolume). Other filesystems have nothing
// of the kind, and those three only when it is switched on: Status says whether it is,
// and how that is done.
//
// It is not for deciding: it knows no volume, no size but the one it is given, and
// stores nothing; what it did is read back from the filesystem. It switches no quota on
// or off, for that concerns all who use the disk.
//
// Invariants:
//
//   - Descriptors, never paths: what is labelled was opened beneath a directory that the
//     caller has open, through no symlink and onto no mount. No program is run.
//   - A project that the caller did not name is never changed. Those that have a limit or
//     anything in them are to be found by List, so that they can be left alone.
//   - Limits are hard, rounded up to whole blocks of the filesystem, and the same before
//     and after a remount. A limit below what is used takes nothing away; it only lets
//     nothing more in.
//   - Every operation may be repeated; one that was interrupted is finished by calling
//     it again. Functions are safe for concurrent use, but for Close.
//
// Who writes too much gets ENOSPC on XFS and EDQUOT on ext4 and btrfs. On XFS and ext4
// statfs(2), and so df, shows the limit as the size of the directory.
//
// What the limit does not hold (Status.Escapes says it of a disk): whoever owns files may
// give them another project in the initial user namespace (FS_IOC_FSSETXATTR); ext4 lets
// who has CAP_SYS_RESOURCE there write on; and on btrfs without simple quotas
// subvolumes that are made inside of a limited one are not limited. Symlinks, sockets,
// FIFOs and devices that were there before Assign stay out of the project.
//
// All of it needs CAP_SYS_ADMIN in the initial user namespace, and CAP_FOWNER for what
// belongs to others. The calls are quotactl_fd(2) (Linux 5.14; quotactl(2) by the path of
// the device before), ioctl_xfs_fsgetxattr(2) and btrfs-ioctl(2).
package quota
