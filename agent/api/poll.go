package api

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"tenon/agent/wire"
)

// How long a blocking query may take.
const (
	defaultWait = 5 * time.Minute
	longestWait = 10 * time.Minute
)

// status tells the agent at a glance. With an index it waits until there is a newer version
// or the time is over, and then tells the newest in any case. A client that has what is told
// already, by its tag, is told only that.
func (s *Server) status(c *call) (answer, error) {
	if err := s.waitForIndex(c); err != nil {
		return answer{}, err
	}
	a, err := s.statusAnswer(c.peer.view)
	if err != nil {
		return answer{}, err
	}
	if slices.Contains(tagsOf(c.Header.Get("If-None-Match")), a.tag) {
		return answer{status: http.StatusNotModified, tag: a.tag}, nil
	}
	return a, nil
}

// statusAnswer is the status for a view; the one without rules is encoded once a version.
func (s *Server) statusAnswer(view wire.View) (answer, error) {
	masters := steady(s.masters())
	edition := s.pulse.edition(masters)
	if view != nil {
		st := s.statusFor(view, masters)
		return answer{status: http.StatusOK, body: st, tag: s.pulse.tag(st.Index, st.Healthy, edition)}, nil
	}
	body, tag, err := s.pulse.encoded(edition, func() wire.Status { return s.statusFor(nil, masters) })
	return answer{status: http.StatusOK, body: body, media: "application/json", tag: tag}, err
}

func (s *Server) statusFor(view wire.View, masters []wire.Master) wire.Status {
	return wire.StatusOf(s.agent.State(), wire.About{Version: s.version, Started: s.started, Health: s.agent.Health(), View: view, Masters: masters})
}

// tagsOf gives the entity tags of a header; weak ones are as good here.
func tagsOf(header string) (tags []string) {
	for tag := range strings.SplitSeq(header, ",") {
		tags = append(tags, strings.TrimPrefix(strings.TrimSpace(tag), "W/"))
	}
	return tags
}

// waitForIndex waits for a version after the one that the query names, where it names one.
func (s *Server) waitForIndex(c *call) error {
	q := c.URL.Query()
	index, wait := q.Get("index"), defaultWait
	if text := q.Get("wait"); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil || d <= 0 || d > longestWait || index == "" {
			return invalid("parameter wait must be a time up to %s, as in 30s, beside an index, not %.64q", longestWait, text)
		}
		wait = d
	}
	if index == "" {
		return nil
	}
	after, err := strconv.ParseUint(index, 10, 64)
	if err != nil {
		return invalid("parameter index must be a version of the state, not %.64q", index)
	}
	if after > s.agent.State().Version {
		return nil // of another run of the agent: what is there is new
	}
	ctx, cancel := context.WithTimeout(c.Context(), wait)
	defer cancel()
	s.pulse.wait(ctx, after)
	return nil
}

// disks lists the disks, as in the status.
func (s *Server) disks(c *call) (answer, error) {
	return selectFields(c, wire.DisksOf(s.agent.State()), "disks")
}

// selectFields leaves only some fields in the items of a page: those that the query names.
// page is a struct with one list; every item has the fields of its first.
func selectFields(c *call, page any, list string) (answer, error) {
	text := c.URL.Query().Get("fields")
	if text == "" {
		return ok(page), nil
	}
	var whole map[string]json.RawMessage
	var items []map[string]json.RawMessage
	data, err := json.Marshal(page)
	if err == nil {
		err = json.Unmarshal(data, &whole)
	}
	if err == nil {
		err = json.Unmarshal(whole[list], &items)
	}
	if err != nil {
		return answer{}, err
	}
	for i, item := range items {
		if items[i], err = keep(item, strings.Split(text, ",")); err != nil {
			return answer{}, err
		}
	}
	whole[list], err = json.Marshal(items)
	return ok(whole), err
}

func keep(item map[string]json.RawMessage, fields []string) (map[string]json.RawMessage, error) {
	some := map[string]json.RawMessage{}
	for _, f := range fields {
		value, there := item[f]
		if !there && !optional[f] {
			return nil, invalid("parameter fields names %.64q, which is no field of an item", f)
		}
		if there {
			some[f] = value
		}
	}
	return some, nil
}

// optional are fields that an item may lack.
var optional = map[string]bool{"fault": true, "held": true, "io": true, "io_cgroup": true, "killing": true}
