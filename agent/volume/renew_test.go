package volume

import (
	"errors"
	"testing"
	"time"
)

const (
	minute = time.Minute
	hour   = time.Hour
)

// lasting is a claim by time alone.
func lasting(task string, ttl, at time.Duration) Claim {
	return Claim{Task: task, Sandbox: "/s/" + task, Own: true, Lease: Lease{TTL: ttl}, At: at, Uses: []Use{{Volume: "v1"}}}
}

func TestATimeToLiveBeginsWhenItIsAskedForAndIsRenewed(t *testing.T) {
	t.Parallel()
	claimed := given(lasting("t", hour, minute))
	for _, c := range []accepted{
		{name: "by an equal claim", given: claimed, ops: ops(lasting("t", hour, 2*minute)), want: `
			- task t /s/t own until 1h1m0s
			+ task t /s/t own until 1h2m0s
			touch task t
			touch volume v1 in task t at s`},
		{name: "by a renewal, which nobody waits for", given: claimed, ops: ops(Renew{Task: "t", At: 3 * minute}), want: `
			- task t /s/t own until 1h1m0s
			+ task t /s/t own until 1h3m0s`},
		{name: "for longer", given: claimed, ops: ops(Renew{Task: "t", TTL: 2 * hour, At: 3 * minute}), want: `
			- task t /s/t own until 1h1m0s
			+ task t /s/t own until 2h3m0s`},
		{name: "for less, which is looked at", given: claimed, ops: ops(Renew{Task: "t", TTL: minute, At: 3 * minute}), want: `
			- task t /s/t own until 1h1m0s
			+ task t /s/t own until 4m0s
			touch task t`},
		{name: "of a task that had none", given: given(attach("t", "v1", "", "")), ops: ops(Renew{Task: "t", TTL: minute, At: 3 * minute}), want: `
			- task t /s/t
			+ task t /s/t until 4m0s
			touch task t`},
		{name: "of a task that a process holds, too", given: given(claim("t")), ops: ops(Renew{Task: "t", TTL: minute, At: 3 * minute}), want: `
			- task t /s/t own lease 42@7
			+ task t /s/t own lease 42@7 until 4m0s
			touch task t`},
		{name: "at the same time", given: claimed, ops: ops(Renew{Task: "t", At: minute}), want: ``},
		{name: "by an attachment", given: claimed, ops: ops(Attach{Task: "t", Use: Use{Volume: "v1"}, Via: ByPath, TTL: hour, At: 5 * minute}), want: `
			- attachment v1 t s RW claim
			- task t /s/t own until 1h1m0s
			+ attachment v1 t s RW path
			+ task t /s/t own until 1h5m0s
			touch volume v1 in task t at s`},
		{name: "of a new task by an attachment", given: given(), ops: ops(Attach{Task: "t", Sandbox: "/s/t", Use: Use{Volume: "v1"}, Via: ByPath, TTL: hour, At: 5 * minute}), want: `
			+ attachment v1 t s RW path
			+ task t /s/t until 1h5m0s
			touch task t
			touch volume v1 in task t at s`},
		{name: "and its owner releases it at any time", given: claimed, ops: ops(Release{Task: "t"}), want: `
			- attachment v1 t s RW claim
			- task t /s/t own until 1h1m0s
			+ attachment v1 t s RW claim gone
			+ task t /s/t own until 1h1m0s releasing
			touch volume v1 in task t at s
			touch task t`},
		{name: "and it ends with its last volume", given: claimed, ops: ops(detach("t", "v1")), want: `
			- attachment v1 t s RW claim
			- task t /s/t own until 1h1m0s
			+ attachment v1 t s RW claim gone
			+ task t /s/t own until 1h1m0s releasing
			touch volume v1 in task t at s
			touch task t`},
	} {
		t.Run(c.name, c.run)
	}
}

func TestATimeToLiveIsRefused(t *testing.T) {
	t.Parallel()
	claimed := given(lasting("t", hour, minute))
	again := Attach{Task: "t", Use: Use{Volume: "v1"}, Via: ByPath, TTL: 2 * hour}
	for _, c := range []refused{
		{name: "that is too short", given: given(), ops: ops(lasting("t", MinTTL-1, 0)), kind: ErrInvalid, words: "a time to live is from 1s to 720h0m0s, not 999.999999ms"},
		{name: "that is too long", given: given(), ops: ops(lasting("t", MaxTTL+1, 0)), kind: ErrInvalid, words: "a time to live is from"},
		{name: "below zero", given: claimed, ops: ops(Renew{Task: "t", TTL: -hour}), kind: ErrInvalid, words: "not -1h0m0s"},
		{name: "of an attachment", given: given(), ops: ops(Attach{Task: "u", Sandbox: "/s/u", Use: Use{Volume: "v1"}, Via: ByPath, TTL: 1}), kind: ErrInvalid, words: "not 1ns"},
		{name: "other than the task has", given: claimed, ops: ops(again), kind: ErrExists, words: "renew it to change that"},
		{name: "other than the claim had", given: claimed, ops: ops(lasting("t", 2*hour, minute)), kind: ErrExists, words: "task t exists since"},
		{name: "of an unknown task", given: claimed, ops: ops(Renew{Task: "u"}), kind: ErrNotFound, words: `there is no task "u"`},
		{name: "of a task that has none", given: given(claim("t")), ops: ops(Renew{Task: "t"}), kind: ErrInvalid, words: "has no time to live that could be renewed"},
		{name: "of a task that ends", given: append(claimed, Release{Task: "t"}), ops: ops(Renew{Task: "t"}), kind: ErrPending, words: "is being released"},
		{name: "of a task that is killed", given: given(claim("t"), Kill{Task: "t"}), ops: ops(Renew{Task: "t", TTL: hour}), kind: ErrPending, words: "is being killed"},
	} {
		t.Run(c.name, c.run)
	}
}

func TestWhatIsRenewedAfterItWasLookedAtIsNotReleased(t *testing.T) {
	t.Parallel()
	task := Task{ID: "t", Sandbox: "/s/t", Lease: Lease{TTL: minute, Until: hour}}
	s := Empty().With(Change{Task: &task})
	late := Seen{Task: SeenTask{At: hour}}
	out, err := Apply(s, Env{}, Renew{Task: "t", At: hour})
	if err != nil {
		t.Fatal(err)
	}
	if changes := Settle(out.Next, UnitOfTask("t"), late, second); len(changes) > 0 {
		t.Errorf("a renewed task settles to %+v", changes)
	}
	if changes := Settle(s, UnitOfTask("t"), late, second); len(changes) != 1 || !changes[0].Task.Releasing {
		t.Errorf("one whose time has passed settles to %+v", changes)
	}
	if out.Changes[0].Durable() {
		t.Error("a renewal is waited for")
	}
	if _, err := Apply(s, Env{}, Renew{Task: "t", TTL: MaxTTL, At: hour}); errors.Is(err, ErrInvalid) {
		t.Errorf("the longest time: %v", err)
	}
}
