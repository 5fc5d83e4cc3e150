package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"tenon/agent"
	"tenon/agent/volume"
	"tenon/agent/wire"
)

// What event streams may take.
const (
	maxStreams   = 1000             // of one principal, a quarter of them
	maxEvents    = 256              // versions that are told at once
	streamBeat   = 15 * time.Second // a comment, so that a broken connection is noticed
	streamMedia  = "text/event-stream"
	lastEventID  = "Last-Event-ID"
	writeStreams = 10 * time.Second // of what is told at once, to a client that may not read
)

// events streams what changes, from the version that the client names or from now on, until
// the client goes or the agent stops (the HTML standard's server-sent events). Every
// version's last event has an id; after it nothing of the version is missing. A client whose
// version is forgotten, or of another run of the agent, is told that there is a gap.
func (s *Server) events(c *call) (answer, error) {
	from, gap, err := s.streamFrom(c)
	if err != nil {
		return answer{}, err
	}
	who := c.peer.name()
	if !s.streams.take(who) {
		return answer{}, problem(http.StatusServiceUnavailable, volume.ErrPending,
			"%d clients follow events, or %d of one principal, which is all that may; ask again later", s.streams.most, s.streams.each)
	}
	return answer{status: http.StatusOK, media: streamMedia, stream: func(ctx context.Context, w *recorder) {
		defer s.streams.give(who)
		st := stream{server: s, w: w, rc: http.NewResponseController(w), at: from, gap: gap,
			follower: wire.NewFollower(s.agent.State(), c.peer.view, c.peer.asked)}
		st.run(ctx)
	}}, nil
}

// streamFrom reads where a client wants to go on: the id of an event, or an index.
func (s *Server) streamFrom(c *call) (from uint64, gap bool, err error) {
	newest := s.agent.State().Version
	id, index := c.Header.Get(lastEventID), c.URL.Query().Get("index")
	if id != "" {
		run, version, _ := strings.Cut(id, "-")
		from, err = strconv.ParseUint(version, 10, 64)
		if err != nil || run != s.pulse.run || from > newest {
			return newest, true, nil // of another run, or none of ours
		}
		return from, false, nil
	}
	if index == "" {
		return newest, false, nil
	}
	if from, err = strconv.ParseUint(index, 10, 64); err != nil {
		return 0, false, invalid("parameter index must be a version of the state, not %.64q", index)
	}
	return min(from, newest), from > newest, nil
}

// stream is one client that follows events.
type stream struct {
	server *Server
	w      *recorder
	rc     *http.ResponseController
	at     uint64 // all up to this version was told
	gap    bool   // and something before it was not

	follower *wire.Follower // what of it the client may see
}

// run tells events until the client or the server has enough.
func (st *stream) run(ctx context.Context) {
	st.w.Header().Set("Content-Type", streamMedia)
	st.w.Header().Set("Cache-Control", "no-store")
	st.w.WriteHeader(http.StatusOK)
	if st.gap {
		st.tellGap()
	}
	for st.tell([]byte(": tenon\n\n")) {
		if !st.catchUp() {
			return
		}
		wait, cancel := context.WithTimeout(ctx, streamBeat)
		st.server.pulse.wait(wait, st.at)
		cancel()
		if ctx.Err() != nil || st.server.pulse.ctx.Err() != nil {
			return
		}
	}
}

// catchUp tells all that has happened since.
func (st *stream) catchUp() bool {
	for {
		events, gap := st.server.agent.Events(st.at, maxEvents)
		switch {
		case gap:
			st.at = st.server.agent.State().Version
			if !st.tellGap() {
				return false
			}
		case len(events) == 0:
			return true
		default:
			if !st.tellEvents(events) {
				return false
			}
		}
	}
}

// tellEvents tells what some versions have changed.
func (st *stream) tellEvents(events []agent.Event) bool {
	now := st.server.agent.State()
	for _, e := range events {
		st.follower.Expect(now, e.Changes)
	}
	var b bytes.Buffer
	gap := false
	for _, e := range events {
		told, unknown := st.follower.Events(now, e.Changes)
		st.at, gap = e.Version, gap || unknown
		st.encode(&b, e.Version, told)
	}
	if b.Len() > 0 && !st.tell(b.Bytes()) {
		return false
	}
	return !gap || st.tellGap()
}

func (st *stream) tellGap() bool {
	var b bytes.Buffer
	st.encode(&b, st.at, []wire.Event{{Type: wire.EventGap, Data: wire.Gap{Index: st.at}}})
	return st.tell(b.Bytes())
}

// encode writes the events of one version; the last one has its id.
func (st *stream) encode(b *bytes.Buffer, version uint64, events []wire.Event) {
	for i, e := range events {
		data, err := json.Marshal(e.Data)
		if err != nil {
			panic(err) // cannot happen: these are plain structs
		}
		if i == len(events)-1 {
			fmt.Fprintf(b, "id: %s-%d\n", st.server.pulse.run, version)
		}
		fmt.Fprintf(b, "event: %s\ndata: %s\n\n", e.Type, data)
	}
}

// tell sends what there is, and says whether the client took it in time.
func (st *stream) tell(text []byte) bool {
	if err := st.rc.SetWriteDeadline(time.Now().Add(writeStreams)); err != nil {
		return false
	}
	if _, err := st.w.Write(text); err != nil {
		return false
	}
	return st.rc.Flush() == nil
}
