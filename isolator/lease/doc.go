// Package lease says what proves the holder of a volume alive, and tells once when the
// proof has ended: a process, a cgroup, a time that has not passed, any of them, or nothing
// at all.
//
// It records nothing: a Lease is a few plain fields that its owner keeps. After a restart of the agent its leases are added again, and those
// that ended meanwhile are told at once. Leases do not outlive a boot.
//
// Invariants:
//   - A lease that names several is held while any of them holds it.
//   - A process is known by its id and its start time, so another process that has got
//     the id later does not count; nor does a zombie whose threads have all ended.
//   - Time is counted from the boot and goes on while the host sleeps. Setting the host's
//     clock neither ends nor prolongs a lease.
//   - In doubt a lease is held. An error of the kernel never ends one.
//   - The Watcher misses no end: it watches first and looks afterwards.
//
// # A fresh cgroup
//
// A cgroup that has just been made is empty, as one whose task has ended is. A lease that
// names it alone is lost at once. So whoever prepares a task claims its volumes with a
// lease that names both itself, the process that starts the task, and the task's cgroup:
// the process holds it until the task has joined, the cgroup from then on. While the
// process is alive the cgroup does not matter, it need not even exist.
//
// # Cost
//
// A Watcher runs three goroutines, however many leases it has. A lease that names a
// process costs one descriptor (a pidfd) for as long as the process is alive. One that
// names a cgroup costs one inotify watch, and no descriptor, from then on. 10,000 processes
// therefore need RLIMIT_NOFILE above 10,000 (systemd's default hard limit, to which Go
// programs raise themselves, is 524,288) and 10,000 cgroups fs.inotify.max_user_watches
// above that. Nothing is polled, with one exception: groups of cgroups v1, which tell
// nothing when they empty, and those for which no inotify watch is left, are looked at
// about once a second when their process, if they have one, has ended. All leases that only
// their time holds share one timer.
//
// See pidfd_open(2) (with PIDFD_NONBLOCK Linux 5.10), epoll(7), timerfd_create(2)
// (CLOCK_BOOTTIME), inotify(7), cgroups(7).
package lease
