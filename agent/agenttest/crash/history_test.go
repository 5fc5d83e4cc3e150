package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tenon/agent/resource"
)

func TestAHistoryIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	var printed bytes.Buffer
	h := newHistory([]Event{{Mark: markCut}, {Call: 7, Ask: &Ask{Do: doLook}}}, printer(&printed))
	reached := h.after(1)
	call := h.ask(Ask{Do: doCreate, On: "volume/v", Size: 1, Shared: true})
	select {
	case <-reached:
		t.Error("an ask was taken for an answer")
	default:
	}
	h.answer(call, Answer{Kind: kindOK, UUID: "u", Text: "two\nlines"})
	<-reached
	h.mark(markUp)
	all, problems := h.all()
	if call != 8 || len(problems) > 0 || len(all) != 5 {
		t.Errorf("call %d, %d events, %v; want the eighth, 5 events", call, len(all), problems)
	}
	name := filepath.Join(t.TempDir(), "history")
	if err := os.WriteFile(name, printed.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	read, err := readEvents(name)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(all[2:], read); d != "" {
		t.Error(d)
	}
}

func TestAHalfWrittenHistoryIsAnError(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "history")
	if err := os.WriteFile(name, []byte("ACK {\"mark\":\"up\"}\nACK {\"ma"), 0o600); err != nil {
		t.Fatal(err)
	}
	if events, err := readEvents(name); err == nil {
		t.Errorf("read %+v", events)
	}
}

func TestOperationsWithIDsAreCountedOnce(t *testing.T) {
	t.Parallel()
	var h said
	ask := func(id string, a Answer) { h.answer(h.ask(Ask{Do: doOnce, On: "id/" + id}), a) }
	ask("a", ok)
	ask("a", ok)
	ask("b", unknown)
	ask("b", ok)
	ask("c", unknown)
	h.answer(h.ask(Ask{Do: doReserve, On: "role/r1"}), ok)
	h.answer(h.ask(Ask{Do: doReserve, On: "role/" + roleOfVolumes}), ok)
	if done, open, roles := onces(h.events); done != 2 || open != 1 || !cmp.Equal(roles, []string{"r1"}) {
		t.Errorf("%d done, %d open, roles %v; want 2, 1, r1", done, open, roles)
	}
}

func TestALongHistoryInWhichNothingWasDoneShowsNothing(t *testing.T) {
	t.Parallel()
	var refused, done said
	for n := range enough {
		refused.call(Ask{Do: doCreate}, Answer{Kind: "insufficient"})
		done.call(Ask{Do: common()[n%len(common())]}, ok)
	}
	if untried(refused.events) == nil || untried(refused.events[:enough]) != nil {
		t.Error("refusals alone are taken for a trial, or few calls for many")
	}
	if err := untried(done.events); err != nil {
		t.Error(err)
	}
}

func TestSpaceThatWasReservedIsMissed(t *testing.T) {
	t.Parallel()
	const all = volumesMiB * int64(resource.One)
	var h said
	h.answer(h.ask(Ask{Do: doOnce, On: "id/a"}), ok)
	for _, c := range []struct {
		answered  bool // that the role of the volumes has its space
		has, once int64
		wrong     int
	}{
		{false, 0, 1, 0}, {false, all, 1, 0}, {false, all - 1, 1, 1},
		{true, all, 1, 0}, {true, 0, 1, 1}, {true, all + 1, 1, 1}, {true, all, 2, 1}, {true, all, 0, 1},
	} {
		events := h.events
		if c.answered {
			more := said{append([]Event(nil), events...)}
			more.answer(more.ask(Ask{Do: doReserve, On: "role/" + roleOfVolumes}), ok)
			events = more.events
		}
		if _, wrong := spaceOf(events, map[string]int64{roleOfVolumes: c.has, roleOfOnce: c.once}); len(wrong) != c.wrong {
			t.Errorf("%+v: wrong are %v", c, wrong)
		}
	}
}
