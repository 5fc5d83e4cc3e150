package systemd

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// Ready tells systemd that the agent serves, with a line of status for people.
// Under Type=notify `systemctl start` returns now.
func Ready(status string) error {
	return notify(daemon.SdNotifyReady + "\n" + statusLine(status))
}

// Stopping tells systemd that the agent is on its way down.
func Stopping() error {
	return notify(daemon.SdNotifyStopping)
}

// Status replaces the line that `systemctl status` shows for the agent.
func Status(text string) error {
	return notify(statusLine(text))
}

// Watchdog feeds systemd's watchdog at half of the time that the unit's
// WatchdogSec= grants, as long as alive says so, until ctx ends. One false answer
// only misses one feed: an agent that gets going again within the granted time
// lives on. It returns at once if no watchdog watches this process; the only error
// is a granted time that cannot be read.
//
// alive is called from Watchdog's goroutine and must not block: one that does
// counts as dead.
func Watchdog(ctx context.Context, alive func() bool) error {
	granted, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return fmt.Errorf("read the watchdog's time: %w", err)
	}
	if granted > 0 {
		feed(ctx, granted/2, alive, func() error { return notify(daemon.SdNotifyWatchdog) })
	}
	return nil
}

// feed calls eat every so often while alive says so, until ctx ends.
func feed(ctx context.Context, every time.Duration, alive func() bool, eat func() error) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if alive() {
				// A feed that failed is tried again; if none succeeds, systemd says
				// so itself, in the journal, when it ends the agent.
				_ = eat()
			}
		}
	}
}

// notify sends one state to systemd (sd_notify(3)).
func notify(state string) error {
	if _, err := daemon.SdNotify(false, state); err != nil {
		first, _, _ := strings.Cut(state, "\n")
		return fmt.Errorf("notify systemd of %s: %w", first, err)
	}
	return nil
}

// statusLine makes an assignment of text, which a line break would end early.
func statusLine(text string) string {
	return "STATUS=" + strings.Join(strings.Fields(text), " ")
}
