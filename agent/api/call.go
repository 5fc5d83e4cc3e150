package api

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"tenon/agent/volume"
	"tenon/agent/wire"
)

// call is one request with what is known about it.
type call struct {
	*http.Request
	w           *recorder
	peer        peer
	bodyTimeout time.Duration
	dryRun      bool               // nothing is to be changed
	asked       []volume.Operation // of the agent, for the audit
	places      []chan struct{}    // that it has taken, of those that there are at once
}

// body reads what was sent, which must be JSON and not too much, and must come in time.
func (c *call) body(most int64) ([]byte, error) {
	if !c.is("application/json") {
		return nil, invalid("the body must be JSON in UTF-8: Content-Type must be application/json, not %.64q", c.Header.Get("Content-Type"))
	}
	return c.read(most)
}

// is says whether the body is declared as that media type, in UTF-8.
func (c *call) is(want string) bool {
	media, params, err := mime.ParseMediaType(c.Header.Get("Content-Type"))
	charset, named := params["charset"]
	return err == nil && media == want && (!named || strings.EqualFold(charset, "utf-8"))
}

// read reads the body, whatever it is.
func (c *call) read(most int64) ([]byte, error) {
	rc := http.NewResponseController(c.w)
	if err := rc.SetReadDeadline(time.Now().Add(c.bodyTimeout)); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(http.MaxBytesReader(c.w, c.Body, most))
	if err != nil {
		c.w.Header().Set("Connection", "close")
		return nil, unreadable(err)
	}
	return data, rc.SetReadDeadline(time.Time{})
}

// unreadable says why a body was not read.
func unreadable(err error) error {
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return problem(http.StatusRequestEntityTooLarge, volume.ErrInvalid, "the body is larger than %d bytes", tooLarge.Limit)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return problem(http.StatusRequestTimeout, volume.ErrInvalid, "the body did not come in time")
	}
	return invalid("the body cannot be read: %v", err)
}

// withBody makes a handler of one that takes a request of type T.
func withBody[T any](handle func(*Server, *call, T) (answer, error)) handler {
	return func(s *Server, c *call) (a answer, err error) {
		var request T
		data, err := c.body(maxBody)
		if err == nil {
			err = wire.Decode(data, &request)
		}
		if err != nil {
			return answer{}, err
		}
		return handle(s, c, request)
	}
}

// checkQuery refuses parameters that the route does not know, or that come twice: a
// misspelt one must not be passed over in silence.
func (c *call) checkQuery(known []string) error {
	for name, values := range c.URL.Query() {
		switch {
		case !slices.Contains(known, name):
			return invalid("unknown parameter %.64q; known are: %s", name, strings.Join(known, ", "))
		case len(values) > 1:
			return invalid("parameter %q occurs twice", name)
		}
	}
	return nil
}

// flag reads a parameter that is true or false.
func (c *call) flag(name string, byDefault bool) (bool, error) {
	switch v := c.URL.Query().Get(name); v {
	case "":
		return byDefault, nil
	case "true", "false":
		return v == "true", nil
	default:
		return false, invalid("parameter %s must be true or false, not %.64q", name, v)
	}
}

// limit reads how long a page may be.
func (c *call) limit() (int, error) {
	const byDefault, most = 100, 1000
	text := c.URL.Query().Get("limit")
	if text == "" {
		return byDefault, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		return 0, invalid("parameter limit must be a number from 1 to %d, not %.64q", most, text)
	}
	return n, nil
}

func invalid(format string, args ...any) error { return refusal(volume.ErrInvalid, format, args...) }
