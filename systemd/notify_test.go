package systemd

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// mustManage makes the test the service manager of its own process and returns
// what receives the next notification.
func mustManage(t *testing.T) (receive func() string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return func() string {
		t.Helper()
		b := make([]byte, 4096)
		n, err := conn.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
}

func TestNotificationsArriveAsSystemdExpectsThem(t *testing.T) {
	receive := mustManage(t)
	for _, c := range []struct {
		name string
		call func() error
		want string
	}{
		{"ready", func() error { return Ready("3 volumes") }, "READY=1\nSTATUS=3 volumes"},
		{"status", func() error { return Status("1 disk unavailable") }, "STATUS=1 disk unavailable"},
		{"a line break cannot smuggle in another assignment",
			func() error { return Status("volume a\nMAINPID=1\r\n") }, "STATUS=volume a MAINPID=1"},
		{"stopping", Stopping, "STOPPING=1"},
	} {
		if err := c.call(); err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if diff := cmp.Diff(c.want, receive()); diff != "" {
			t.Errorf("%s: sent (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestWithoutSystemdNothingHappens(t *testing.T) {
	for _, name := range []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS", "LISTEN_PID"} {
		t.Setenv(name, "")
	}
	alive := func() bool { t.Error("alive was asked though no watchdog watches"); return true }
	for name, err := range map[string]error{
		"Ready": Ready("x"), "Status": Status("x"), "Stopping": Stopping(), "Watchdog": Watchdog(t.Context(), alive),
	} {
		if err != nil {
			t.Errorf("%s: %v, want no error", name, err)
		}
	}
	listeners, err := Listeners()
	if err != nil || len(listeners) != 0 {
		t.Errorf("Listeners() = %v, %v, want none and no error", listeners, err)
	}
}

func TestASocketThatIsGoneIsAnErrorThatSaysWhatWasLost(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "gone"))
	err := Ready("x")
	if !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("Ready() = %v, want one that is os.ErrNotExist", err)
	}
	if got, want := err.Error(), "notify systemd of READY=1: "; len(got) < len(want) || got[:len(want)] != want {
		t.Errorf("Ready() = %q, want it to begin with %q", got, want)
	}
}

func TestTheWatchdogIsFedTwiceInItsTimeWhileAlive(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var alive atomic.Bool
		var fed []time.Duration
		start := time.Now()
		eat := func() error {
			fed = append(fed, time.Since(start))
			return errors.New("a failed feed must not end the feeding")
		}
		done := make(chan struct{})
		go func() { defer close(done); feed(ctx, 15*time.Second, alive.Load, eat) }()

		alive.Store(true)
		time.Sleep(31 * time.Second) // of the bubble's time: none passes
		alive.Store(false)
		time.Sleep(60 * time.Second)
		alive.Store(true)
		time.Sleep(15 * time.Second)
		cancel()
		<-done
		want := []time.Duration{15 * time.Second, 30 * time.Second, 105 * time.Second}
		if diff := cmp.Diff(want, fed); diff != "" {
			t.Errorf("fed at (-want +got):\n%s", diff)
		}
	})
}

func TestTheWatchdogsTimeComesFromTheUnit(t *testing.T) {
	receive := mustManage(t)
	t.Setenv("WATCHDOG_USEC", "2000")
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Watchdog(ctx, func() bool { return true }) }()
	for range 3 {
		if got := receive(); got != "WATCHDOG=1" {
			t.Errorf("sent %q, want WATCHDOG=1", got)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Watchdog() = %v after its context ended, want nil", err)
	}
}

func TestAWatchdogOfAnotherProcessIsNotFed(t *testing.T) {
	t.Setenv("WATCHDOG_USEC", "2000")
	t.Setenv("WATCHDOG_PID", "1")
	if err := Watchdog(t.Context(), func() bool { return true }); err != nil {
		t.Errorf("Watchdog() = %v, want nil at once", err)
	}
}

func TestAWatchdogTimeThatIsNoNumberIsAnError(t *testing.T) {
	t.Setenv("WATCHDOG_USEC", "soon")
	if err := Watchdog(t.Context(), nil); !errors.Is(err, strconv.ErrSyntax) {
		t.Errorf("Watchdog() = %v, want one that is strconv.ErrSyntax", err)
	}
}
