package api

import (
	"errors"
	"net/http"
	"time"

	"tenon/agent/access"
	"tenon/agent/volume"
	"tenon/agent/wire"
)

// turnAway refuses a request of somebody who may not ask at all.
func (s *Server) turnAway(w *recorder, r *http.Request, p peer) {
	err := errForbidden(p)
	if p.reads {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		s.record(p, access.Entry{Operations: []string{r.Method + " " + r.URL.Path}}, err)
	}
	s.refuse(w, err)
}

// answerAudited is answer, with an entry in the audit file for a call that has asked the
// agent for something, whatever came of it, and for one that was not allowed to. The entry
// is written before the caller is told, and says what the caller is told.
func (s *Server) answerAudited(r route, c *call) (a answer, err error) {
	err = errDefect() // is what a panic leaves
	defer func() {
		switch {
		case c.asked != nil:
			s.record(c.peer, access.Entry{Operations: access.Describe(c.asked), DryRun: c.dryRun}, err)
		case r.method != http.MethodGet && errors.Is(told(err), volume.ErrForbidden):
			s.record(c.peer, access.Entry{Operations: []string{r.method + " " + c.URL.Path}}, err)
		}
	}()
	a, err = s.answer(r, c)
	return a, err
}

// record writes an entry to the audit file. Where that fails the call goes on: what it has
// changed is in the journal, which is the truth, and cannot be taken back. The log says so.
func (s *Server) record(p peer, e access.Entry, err error) {
	if s.audit == nil {
		return
	}
	e.Time, e.Principal, e.PID, e.Subject, e.Remote = time.Now(), p.principal, p.pid, p.subject, p.remote
	if p.remote == "" {
		e.UID = &p.uid
	}
	e.Outcome, e.Reason = access.Outcome(told(err))
	if err := s.audit.Write(e); err != nil {
		s.log.Error("audit entry not written", "principal", p.name(), "err", err)
	}
}

// told is an error as the caller is told of it: a request that has run out of time, say,
// has not failed.
func told(err error) error {
	if err == nil {
		return nil
	}
	p := problemOf(err)
	return &volume.Error{Kind: wire.KindNamed(p.Kind), Message: p.Detail}
}
