package wire

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tenon/agent/volume"
)

func TestATimeToLiveStandsBesideAProcessOrInsteadOfIt(t *testing.T) {
	t.Parallel()
	const peer = 42
	for name, c := range map[string]struct {
		request Claim
		peer    int
		want    volume.Lease
	}{
		"nothing is named":               {Claim{}, peer, volume.Lease{PID: peer}},
		"a time":                         {Claim{TTL: "90s"}, peer, volume.Lease{TTL: 90 * time.Second}},
		"a time, from elsewhere":         {Claim{TTL: "90s"}, NoProcess, volume.Lease{TTL: 90 * time.Second}},
		"nothing, from elsewhere":        {Claim{}, NoProcess, volume.Lease{}},
		"a time and a process":           {Claim{TTL: "720h", PID: 7}, peer, volume.Lease{PID: 7, TTL: volume.MaxTTL}},
		"a process":                      {Claim{PID: 7}, peer, volume.Lease{PID: 7}},
		"a time and a cgroup to be made": {Claim{TTL: "1s", Cgroup: true}, peer, volume.Lease{TTL: volume.MinTTL}},
	} {
		op, err := c.request.Operation(c.peer)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if d := cmp.Diff(c.want, op.Lease); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

func TestATimeThatIsNoneIsRefused(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"soon", "10", "0", "0s", "-1m", "999ms", "720h1ns", "1000000h", "9999999999999h", " 1m", "1m\n"} {
		_, claim := Claim{TTL: text}.Operation(1)
		_, attach := Attach{Use: Use{Volume: "web/v"}, TTL: text}.Operation("t", volume.ByPath)
		_, renew := Renew{TTL: text}.Operation("t")
		for _, err := range []error{claim, attach, renew} {
			if !errors.Is(err, volume.ErrInvalid) {
				t.Errorf("ttl %q gives %v", text, err)
			}
		}
	}
	if op, err := (Renew{}).Operation("t"); err != nil || op != (volume.Renew{Task: "t"}) {
		t.Errorf("no ttl gives %+v, %v", op, err)
	}
}

func TestHeldIsWhatHoldsATask(t *testing.T) {
	t.Parallel()
	timed := &volume.Task{Lease: volume.Lease{TTL: time.Hour, Until: 1}}
	for want, left := range map[string]time.Duration{"42s": 42*time.Second + time.Millisecond, "0s": -time.Hour, "1h0m0s": time.Hour} {
		if h := HeldOf(timed, false, 0, left); h.ExpiresIn != want {
			t.Errorf("%s before the end it expires in %q, want %q", left, h.ExpiresIn, want)
		}
	}
	if h := HeldOf(&volume.Task{}, true, 3, time.Hour); h != nil {
		t.Errorf("a task that is held until it is released has %+v", h)
	}
	want := &Held{Process: true, Processes: 3}
	if d := cmp.Diff(want, HeldOf(&volume.Task{Lease: volume.Lease{PID: 7}}, true, 3, -1)); d != "" {
		t.Errorf("held (-want +got):\n%s", d)
	}
}
