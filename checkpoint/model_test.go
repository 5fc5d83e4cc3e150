package checkpoint_test

import (
	"errors"
	"syscall"
	"testing"

	"pgregory.net/rapid"

	"tenon/checkpoint"
	"tenon/checkpoint/crashfs"
)

// model drives random histories; what the journal loads is compared with a
// plain list each time that it is opened.
type model struct {
	history
	cutMade *checkpoint.Cut
}

func (m *model) Append(t *rapid.T) {
	m.history.append()
}

func (m *model) AppendMoreThanASegment(t *rapid.T) {
	if m.j == nil {
		return
	}
	m.made++
	big := make([]byte, rapid.IntRange(3000, 20000).Draw(t, "bytes"))
	for i := range big {
		big[i] = 'a' + byte(m.made%26)
	}
	m.appendThis([]string{string(big), ""})
}

func (m *model) Sync(t *rapid.T) {
	if len(m.tx) > 0 {
		m.sync(rapid.IntRange(1, len(m.tx)).Draw(t, "position"))
	}
}

func (m *model) Cut(t *rapid.T) { m.cutMade = m.cut() }

func (m *model) Write(t *rapid.T) {
	m.write(m.cutMade)
	m.cutMade = nil
}

func (m *model) Close(t *rapid.T) {
	m.close()
	m.reopen(t)
}

func (m *model) Kill(t *rapid.T) {
	m.fs = m.fs.Kill()
	m.reopen(t)
}

func (m *model) PowerCut(t *rapid.T) {
	s := rapid.SampledFrom([]crashfs.Survival{crashfs.None, crashfs.Some, crashfs.All}).Draw(t, "survival")
	m.fs = m.fs.Crash(s, rapid.Uint64().Draw(t, "seed"))
	m.reopen(t)
}

func (m *model) FailSoon(t *rapid.T) {
	failure := rapid.SampledFrom([]error{syscall.EIO, syscall.ENOSPC}).Draw(t, "failure")
	m.fs.FailAt(rapid.IntRange(1, 12).Draw(t, "operation"), failure)
}

func (m *model) FillUp(t *rapid.T) {
	m.fs.SetFull(rapid.Bool().Draw(t, "full"))
}

// reopen opens until that works, in a world without failures.
func (m *model) reopen(t *rapid.T) {
	m.fs.SetFull(false)
	m.fs.FailAt(0, nil)
	m.fs.ReleaseLocks()
	m.j, m.cutMade, m.errs = nil, nil, nil
	if err := m.open(); err != nil || m.j == nil {
		t.Fatal(err, errors.Join(m.errs...))
	}
}

// Check runs after each action.
func (m *model) Check(t *rapid.T) {
	if _, err := checkpoint.VerifyOn(m.fs.Kill(), dir); err != nil {
		t.Fatalf("verify: %v", err)
	}
	if m.j == nil {
		m.reopen(t)
	}
	if s := m.j.Stats(); s.Synced > s.Appended || s.Failed == nil && int(s.Appended) != len(m.tx) {
		t.Fatalf("%+v after %d transactions", s, len(m.tx))
	}
	if failed := m.j.Stats().Failed; failed != nil {
		if !errors.Is(failed, checkpoint.ErrFailed) {
			t.Fatal(failed)
		}
		m.Kill(t)
	}
}

func TestRandomHistoriesAgreeWithAPlainList(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := &model{history: history{fs: crashfs.New()}}
		m.reopen(t)
		actions := rapid.StateMachineActions(m)
		t.Repeat(actions)
	})
}
