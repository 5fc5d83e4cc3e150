package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
)

// What a client can ask for.
const (
	doReserve, doUnreserve = "reserve", "unreserve" // Size thousandths of a MiB; On is "role/R"
	doCreate, doDestroy    = "create", "destroy"    // On is "volume/ID"
	doResize               = "resize"               // to Size bytes
	doAttach, doDetach     = "attach", "detach"     // by path
	doClaim, doRelease     = "claim", "release"
	doLook                 = "look"  // at what On names
	doOnce                 = "once"  // RESERVE of a thousandth with an id; On is "id/ID"
	doWrite                = "write" // a file named Task into the volume UUID, synced; On is "data/UUID"
)

// The kinds of answers that are not kinds of refusals, and one that is.
const (
	kindNotFound = "not_found"

	kindOK      = "ok"
	kindUnknown = "unknown" // the connection broke: done or not
	kindNobody  = "nobody"  // no agent was there: not done
	kindHung    = "hung"    // no answer came from an agent that ran, which is never right
)

// The marks between calls.
const (
	markUp  = "up"  // the agent is there again; all calls before have been done or never will
	markCut = "cut" // the power was cut before, and what the kernel knew is gone
)

// Ask is what a client asks for.
type Ask struct {
	Do     string `json:"do"`
	On     string `json:"on"`
	Task   string `json:"task,omitempty"`
	Size   int64  `json:"size,omitempty"`
	Shared bool   `json:"shared,omitempty"`
}

// Answer is what it was answered.
type Answer struct {
	Kind    string `json:"kind"`
	Text    string `json:"text,omitempty"` // of an error
	UUID    string `json:"uuid,omitempty"`
	State   string `json:"state,omitempty"`
	Size    int64  `json:"size,omitempty"`
	Shared  bool   `json:"shared,omitempty"`
	Holders string `json:"holders,omitempty"` // tasks in order, each with a comma after it
}

// Event is one line of a history: an ask, the answer with the same number, or a mark.
type Event struct {
	Call   int     `json:"call,omitempty"`
	Ask    *Ask    `json:"ask,omitempty"`
	Answer *Answer `json:"answer,omitempty"`
	Mark   string  `json:"mark,omitempty"`
}

// history records events in the order in which they happen: an ask before anything is sent,
// an answer after it has come. Its methods may be called at the same time.
type history struct {
	write func(line []byte) error // returns when the line is where no crash reaches it

	mu       sync.Mutex
	events   []Event       // guarded by mu
	calls    int           // guarded by mu; the last number
	awaited  int           // guarded by mu; answers until reached is closed
	reached  chan struct{} // guarded by mu
	problems []error       // guarded by mu; of writing
}

// newHistory continues a history.
func newHistory(events []Event, write func(line []byte) error) *history {
	h := &history{write: write, events: events}
	for _, e := range events {
		h.calls = max(h.calls, e.Call)
	}
	return h
}

// add records an event. Preconditions: mu is held.
func (h *history) add(e Event) {
	line, err := json.Marshal(e)
	if err == nil {
		err = h.write(append(line, '\n'))
	}
	if err != nil {
		h.problems = append(h.problems, fmt.Errorf("record history: %w", err))
	}
	h.events = append(h.events, e)
}

// ask records an ask and gives its number.
func (h *history) ask(a Ask) (call int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls++
	h.add(Event{Call: h.calls, Ask: &a})
	return h.calls
}

// answer records an answer.
func (h *history) answer(call int, a Answer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.add(Event{Call: call, Answer: &a})
	if h.awaited--; h.awaited == 0 && h.reached != nil {
		close(h.reached)
		h.reached = nil
	}
}

// mark records a mark.
func (h *history) mark(m string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.add(Event{Mark: m})
}

// after gives a channel that is closed after n more answers.
func (h *history) after(n int) <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.awaited, h.reached = n, make(chan struct{})
	return h.reached
}

// all gives what was recorded so far.
func (h *history) all() ([]Event, []error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.events[:len(h.events):len(h.events)], h.problems
}

// prefix is before each line of a history that is written where other things are, too.
const prefix = "ACK "

// printer writes lines where run-in-vm finds acknowledgements.
func printer(w io.Writer) func(line []byte) error {
	return func(line []byte) error {
		_, err := w.Write(append([]byte(prefix), line...))
		return err
	}
}

// confirmed writes lines to a socket and waits for a byte that says each was recorded.
func confirmed(socket string) (func(line []byte) error, error) {
	conn, err := net.Dial("unix", socket)
	return func(line []byte) error {
		if _, err := conn.Write(append([]byte(prefix), line...)); err != nil {
			return err
		}
		_, err := io.ReadFull(conn, make([]byte, 1))
		return err
	}, err
}

// readEvents reads a history that was recorded with or without prefixes.
func readEvents(name string) (events []Event, err error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	in := bufio.NewScanner(bytes.NewReader(text))
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		line, _ := strings.CutPrefix(in.Text(), prefix)
		var e Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			return nil, fmt.Errorf("%s: line %d: %w", name, len(events)+1, err)
		}
		events = append(events, e)
	}
	return events, in.Err()
}

// tally says how many of what were answered how.
func tally(events []Event) string {
	asks, count := map[int]*Ask{}, map[string]int{}
	for _, e := range events {
		switch {
		case e.Ask != nil:
			asks[e.Call] = e.Ask
		case e.Answer != nil && asks[e.Call] != nil:
			count[asks[e.Call].Do+" "+e.Answer.Kind]++
		case e.Mark != "":
			count[e.Mark]++
		}
	}
	parts := []string{fmt.Sprintf("%d calls:", len(asks))}
	for _, name := range slices.Sorted(maps.Keys(count)) {
		parts = append(parts, fmt.Sprintf("%s %d,", name, count[name]))
	}
	return strings.TrimSuffix(strings.Join(parts, " "), ",")
}

// enough is after how many calls each of those that are common must have been done once.
const enough = 1000

func common() []string {
	return []string{doReserve, doCreate, doDestroy, doResize, doAttach, doDetach, doClaim, doRelease, doLook, doOnce, doWrite}
}

// untried says which kinds of calls were never done in a long history: refusals for want of
// space, or of what is not ready yet, are always believed, and prove nothing.
func untried(events []Event) error {
	asks, done := map[int]string{}, map[string]bool{}
	for _, e := range events {
		switch {
		case e.Ask != nil:
			asks[e.Call] = e.Ask.Do
		case e.Answer != nil && e.Answer.Kind == kindOK:
			done[asks[e.Call]] = true
		}
	}
	for _, do := range common() {
		if !done[do] && len(asks) >= enough {
			return fmt.Errorf("of %d calls no %s was done, so that little is shown: %s", len(asks), do, tally(events))
		}
	}
	return nil
}
