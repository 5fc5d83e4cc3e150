package main

import (
	"fmt"
	"strings"
	"testing"
)

// said is a history: each call is asked when the one before was answered, unless it overlaps.
type said struct{ events []Event }

func (s *said) ask(a Ask) (call int) {
	call = len(s.events) + 1
	s.events = append(s.events, Event{Call: call, Ask: &a})
	return call
}

func (s *said) answer(call int, a Answer) { s.events = append(s.events, Event{Call: call, Answer: &a}) }

// call is a call that nobody else's overlaps.
func (s *said) call(a Ask, answer Answer) *said {
	a.On = "volume/v"
	s.answer(s.ask(a), answer)
	return s
}

func (s *said) mark(m string) *said {
	s.events = append(s.events, Event{Mark: m})
	return s
}

var (
	ok       = Answer{Kind: kindOK}
	unknown  = Answer{Kind: kindUnknown}
	inUse    = Answer{Kind: "in_use"}
	notFound = Answer{Kind: kindNotFound}
	made     = Answer{Kind: kindOK, UUID: "u1"}
	create   = Ask{Do: doCreate, Size: 8}
	shared   = Ask{Do: doCreate, Size: 8, Shared: true}
	destroy  = Ask{Do: doDestroy}
	looks    = Ask{Do: doLook}
	t1, t2   = Ask{Do: doAttach, Task: "t1"}, Ask{Do: doAttach, Task: "t2"}
	end1     = Ask{Do: doRelease, Task: "t1"}
)

// seen is what somebody sees of the volume u1 with these holders.
func seen(size int64, holders string) Answer {
	return Answer{Kind: kindOK, UUID: "u1", State: "ready", Size: size, Holders: holders}
}

func TestAHistoryThatCannotBeIsRejected(t *testing.T) {
	t.Parallel()
	lost := seen(8, "")
	lost.State = "lost"
	other := seen(8, "")
	other.UUID = "u2"
	for what, h := range map[string]*said{
		"an acknowledged volume is gone":                        new(said).call(create, made).call(looks, ok),
		"it is gone after a kill":                               new(said).call(create, made).mark(markUp).call(looks, ok),
		"it is gone after a power cut":                          new(said).call(create, made).mark(markCut).mark(markUp).call(looks, ok),
		"it is another one":                                     new(said).call(create, made).mark(markUp).call(looks, other),
		"it is lost":                                            new(said).call(create, made).mark(markUp).call(looks, lost),
		"what was seen is gone":                                 new(said).call(create, unknown).call(looks, seen(8, "")).mark(markCut).call(looks, ok),
		"what was refused for it is possible":                   new(said).call(create, unknown).call(create, Answer{Kind: "exists"}).mark(markCut).call(looks, ok),
		"a destroyed volume is there":                           new(said).call(create, made).call(destroy, ok).mark(markUp).call(looks, seen(8, "")),
		"a volume is destroyed under its holder":                new(said).call(create, made).call(t1, ok).call(destroy, ok),
		"it is made smaller under its holder":                   new(said).call(create, made).call(t1, ok).call(Ask{Do: doResize, Size: 4}, ok),
		"an exclusive volume has two holders":                   new(said).call(create, made).call(t1, ok).call(t2, ok),
		"a free one is in use":                                  new(said).call(create, made).call(t1, ok).call(end1, ok).call(t2, inUse),
		"a holder is forgotten by a kill":                       new(said).call(create, made).call(t1, ok).mark(markUp).call(looks, seen(8, "")),
		"a holder outlives a power cut":                         new(said).call(create, made).call(t1, ok).mark(markCut).call(looks, seen(8, "t1,")),
		"a holder leaks":                                        new(said).call(create, made).call(t1, ok).call(end1, ok).call(looks, seen(8, "t1,")),
		"a size is forgotten":                                   new(said).call(create, made).call(Ask{Do: doResize, Size: 9}, ok).mark(markCut).call(looks, seen(8, "")),
		"a volume is made twice":                                new(said).call(create, made).call(create, Answer{Kind: kindOK, UUID: "u2"}),
		"what was not done when it was up is done":              new(said).call(create, unknown).mark(markUp).call(looks, ok).call(looks, seen(8, "")),
		"a volume goes before its time and nobody destroyed it": new(said).call(create, notFound).mark(markUp).call(looks, ok),
		"a call hangs":                                          new(said).call(create, Answer{Kind: kindHung}),
		"a refusal of another kind":                             new(said).call(create, Answer{Kind: "failed"}),
		"what nobody could ask for is not found there":          new(said).call(create, made).call(t1, notFound),
	} {
		if linearizable(h.events) == nil {
			t.Errorf("%s: accepted %s", what, tally(h.events))
		}
	}
}

func TestAHistoryThatCanBeIsAccepted(t *testing.T) {
	t.Parallel()
	for what, h := range map[string]*said{
		"an unanswered call was done":           new(said).call(create, unknown).mark(markUp).call(looks, seen(8, "")),
		"an unanswered call was not done":       new(said).call(create, unknown).mark(markUp).call(looks, ok),
		"a power cut ends uses":                 new(said).call(create, made).call(t1, ok).mark(markCut).call(looks, seen(8, "")).call(destroy, ok),
		"a shared volume has two holders":       new(said).call(shared, made).call(t1, ok).call(t2, ok).call(destroy, inUse),
		"a volume is destroyed before its time": new(said).call(destroy, unknown).call(create, notFound).mark(markUp).call(looks, ok),
		"a name is used again":                  new(said).call(create, made).call(destroy, ok).call(create, Answer{Kind: kindOK, UUID: "u2"}),
		"a resize is not answered":              new(said).call(create, made).call(Ask{Do: doResize, Size: 9}, unknown).mark(markCut).call(looks, seen(9, "")),
		"a resize is seen before a destroy":     new(said).call(destroy, unknown).call(create, made).call(Ask{Do: doResize, Size: 9}, notFound).call(looks, seen(9, "")),
		"a holder may ask again":                new(said).call(create, made).call(t1, unknown).mark(markUp).call(t1, ok).call(looks, seen(8, "t1,")),
	} {
		if err := linearizable(h.events); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestCallsAtTheSameTimeMayBeInAnyOrder(t *testing.T) {
	t.Parallel()
	var h said
	h.call(create, made)
	first, second, look := Ask{Do: doAttach, On: "volume/v", Task: "a"}, Ask{Do: doDestroy, On: "volume/v"}, Ask{Do: doLook, On: "volume/v"}
	a, b := h.ask(first), h.ask(second)
	h.answer(b, ok)
	h.answer(a, notFound)
	h.answer(h.ask(look), ok)
	if err := linearizable(h.events); err != nil {
		t.Error(err)
	}
	// One after the other it would be wrong.
	if linearizable(new(said).call(create, made).call(first, notFound).call(second, ok).events) == nil {
		t.Error("an attach that found nothing where there was something was accepted")
	}
}

func TestTheEndOfTheShortestWrongBeginningIsShown(t *testing.T) {
	t.Parallel()
	var h said
	h.call(create, made)
	for range 50 {
		h.call(looks, seen(8, ""))
	}
	h.call(looks, seen(7, ""))
	wrong := len(h.events) - 1
	for range 50 {
		h.call(looks, seen(8, ""))
	}
	err := linearizable(h.events)
	if err == nil {
		t.Fatal("accepted")
	}
	lines := strings.Split(strings.TrimSpace(err.Error()), "\n")
	if last, want := lines[len(lines)-1], fmt.Sprintf("answered at %d", wrong); !strings.Contains(last, want) || !strings.Contains(last, "Size:7") {
		t.Errorf("the last line is %q, want %s with size 7", last, want)
	}
}

func TestAReservationIsWhatWasReservedForIt(t *testing.T) {
	t.Parallel()
	reserve, back, see := Ask{Do: doReserve, On: "role/r", Size: 5}, Ask{Do: doUnreserve, On: "role/r", Size: 2}, Ask{Do: doLook, On: "role/r"}
	for size, right := range map[int64]bool{3: true, 1: true, 5: false, 0: false} {
		var h said
		h.answer(h.ask(reserve), ok)
		h.answer(h.ask(back), ok)
		h.ask(back) // never answered: done or not
		h.mark(markCut)
		h.answer(h.ask(see), Answer{Kind: kindOK, Size: size})
		if err := linearizable(h.events); (err == nil) != right {
			t.Errorf("%d are reserved: %v, want it accepted: %v", size, err, right)
		}
	}
}
