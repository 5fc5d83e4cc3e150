package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"syscall"
	"time"

	"tenon/agent/wire"
)

// answer is what a route has to say: JSON, or a document of another type, or JSON with
// a descriptor.
type answer struct {
	status int
	body   any      // nil has no body
	media  string   // of a body that is []byte
	file   *os.File // handed over, then closed
	tag    string   // entity tag of the body

	stream func(context.Context, *recorder) // in place of a body: sends it itself, until it ends
}

func ok(body any) answer { return answer{status: http.StatusOK, body: body} }

// nothing is the answer when all is said by its status.
func nothing() answer { return answer{status: http.StatusNoContent} }

// recorder is a ResponseWriter that remembers the status.
type recorder struct {
	http.ResponseWriter
	status int
	plain  bool   // refusals are text, as Mesos has them
	route  string // for metrics: method and pattern, or noRoute
}

// noRoute counts what is for none of the routes, or was refused before it was known.
const noRoute = "none"

// WriteHeader notes the status.
func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// write sends an answer. Its error means that nothing was sent.
func (s *Server) write(w *recorder, a answer) error {
	if a.file != nil {
		return s.hand(w, a)
	}
	body, media, err := a.encode()
	if err != nil {
		return err
	}
	if a.tag != "" {
		w.Header().Set("ETag", a.tag)
	}
	s.send(w, a.status, media, body)
	return nil
}

// encode gives the body and its media type.
func (a answer) encode() (body []byte, media string, err error) {
	if raw, is := a.body.([]byte); is {
		return raw, a.media, nil
	}
	if a.body == nil {
		return nil, "", nil
	}
	body, err = json.Marshal(a.body)
	return append(body, '\n'), "application/json", err
}

// problemError is an error of the API itself, told as it stands.
type problemError struct{ wire.Problem }

// Error is the sentence.
func (e *problemError) Error() string { return e.Detail }

// refusal is an error of a kind.
func refusal(kind error, format string, args ...any) error {
	return &problemError{wire.NewProblem(kind, fmt.Sprintf(format, args...))}
}

// problem is an error of a kind with a status of its own.
func problem(status int, kind error, format string, args ...any) error {
	p := wire.NewProblem(kind, fmt.Sprintf(format, args...))
	p.Status = status
	return &problemError{p}
}

// refuse sends an error as a problem.
func (s *Server) refuse(w *recorder, err error) {
	if w.plain {
		s.refusePlainly(w, err)
		return
	}
	p := problemOf(err)
	body, err := json.Marshal(p)
	if err != nil {
		panic(err) // cannot happen: a Problem is a plain struct
	}
	s.send(w, p.Status, wire.ProblemType, append(body, '\n'))
}

// problemOf tells an error as a problem.
func problemOf(err error) wire.Problem {
	if special := (*problemError)(nil); errors.As(err, &special) {
		return special.Problem
	}
	return wire.ProblemOf(err)
}

func (s *Server) send(w *recorder, status int, media string, body []byte) {
	if media != "" {
		w.Header().Set("Content-Type", media)
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	}
	// A client that reads nothing must not hold a request for ever. The connection may
	// have been taken away already; then the write says so.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout))
	w.WriteHeader(status)
	if _, err := w.Write(body); err != nil && status != http.StatusNoContent {
		s.log.Debug("answer not sent", "status", status, "err", err)
	}
}

// hand sends an answer with its descriptor: the connection leaves net/http, gets the
// whole answer in one message with the descriptor, and is closed. A client that is gone
// by then is no failure: what was recorded ends with its task. Its error means that
// nothing was sent.
func (s *Server) hand(w *recorder, a answer) error {
	defer func() { _ = a.file.Close() }() // it was only passed on
	body, media, err := a.encode()
	if err != nil {
		return err
	}
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return fmt.Errorf("hand over a descriptor: %w", err)
	}
	w.status = a.status
	defer func() { _ = conn.Close() }() // whatever could be sent was
	if err := sendWithFile(conn, message(a.status, media, body), a.file); err != nil {
		s.log.Debug("descriptor not sent", "status", a.status, "err", err)
	}
	return nil
}

// message is a whole HTTP answer.
func message(status int, media string, body []byte) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n",
		status, http.StatusText(status), media, len(body))
	b.Write(body)
	return b.Bytes()
}

// sendWithFile sends data with a descriptor on its first byte (unix(7), SCM_RIGHTS).
func sendWithFile(conn net.Conn, data []byte, f *os.File) error {
	u, ok := conn.(*net.UnixConn)
	if !ok {
		return fmt.Errorf("%s is no unix socket", conn.LocalAddr())
	}
	if err := u.SetDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var n int
	var sendErr error
	err = raw.Control(func(fd uintptr) { n, _, sendErr = u.WriteMsgUnix(data, syscall.UnixRights(int(fd)), nil) })
	if err := errors.Join(err, sendErr); err != nil || n == len(data) {
		return err
	}
	_, err = u.Write(data[n:])
	return err
}
