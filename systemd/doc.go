// Package systemd is how the agent speaks with the service manager: readiness,
// status, watchdog and passed sockets (sd_notify(3), sd_listen_fds(3)). The units
// that match lie beside it, with the reason for each option in them.
//
// Everything here does nothing, without error, in a process that systemd did not
// start. The package is not for controlling systemd: nothing here starts or stops a
// unit, and nothing knows of D-Bus.
//
// The promise that matters most is in tenon.service: the agent runs in the host's
// mount namespace. The tests of this package hold the units to it.
package systemd
