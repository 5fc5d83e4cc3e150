package api

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"tenon/agent/access"
	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/agent/wire"
)

// get asks with headers.
func (f *fixture) get(path string, headers ...string) (int, http.Header, []byte) {
	f.t.Helper()
	req, err := http.NewRequestWithContext(f.t.Context(), http.MethodGet, "http://tenon"+path, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	return f.send(req)
}

func TestAStatusThatTheClientHasIsNotToldAgain(t *testing.T) {
	t.Parallel()
	f, _, _ := running(t)
	status, h, _ := f.get("/v1/status")
	tag := h.Get("ETag")
	if status != 200 || tag == "" {
		t.Fatalf("answered %d with tag %q", status, tag)
	}
	if status, _, body := f.get("/v1/status", "If-None-Match", `"other", W/`+tag); status != 304 || len(body) != 0 {
		t.Errorf("answered %d %q, want 304 and nothing", status, body)
	}
	f.withVolumes()
	if status, h, _ := f.get("/v1/status", "If-None-Match", tag); status != 200 || h.Get("ETag") == tag {
		t.Errorf("answered %d with tag %q although something changed", status, h.Get("ETag"))
	}
}

func TestAStatusIsWaitedForUntilSomethingChanges(t *testing.T) {
	t.Parallel()
	f, a, _ := running(t)
	before := a.State().Version
	told := f.later("/v1/status?wait=10m&index=" + version(before))
	f.withVolumes()
	var got wire.Status
	if err := json.Unmarshal(<-told, &got); err != nil || got.Index <= before {
		t.Errorf("told version %d, waited for one after %d: %v", got.Index, before, err)
	}
}

func TestAStatusIsToldWhenTheTimeIsOver(t *testing.T) {
	t.Parallel()
	f, a, _ := running(t)
	now := a.State().Version
	var got wire.Status
	f.must(200, "GET", "/v1/status?wait=1ms&index="+version(now), "", &got)
	if got.Index != now {
		t.Errorf("told version %d, there is %d", got.Index, now)
	}
	f.must(200, "GET", "/v1/status?index="+version(now+1000), "", &got) // of another run: at once
	for _, bad := range []string{"index=-1", "index=x", "wait=1s", "index=1&wait=11m", "index=1&wait=-1s", "index=1&wait=soon"} {
		f.problem(400, "invalid", "GET", "/v1/status?"+bad, "")
	}
}

func TestThoseWhoWaitAreAnsweredWhenTheServerStops(t *testing.T) {
	t.Parallel()
	f, a, _ := running(t)
	answered := f.later("/v1/status?wait=10m&index=" + version(a.State().Version))
	events := f.follow("")
	events.next("") // it is at work
	if err := f.server.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-answered
	events.end()
}

// later asks in the background, and gives the body once it is there; nothing where there is
// no answer.
func (f *fixture) later(path string) <-chan []byte {
	told := make(chan []byte, 1)
	go func() {
		defer close(told)
		req, err := http.NewRequestWithContext(f.t.Context(), http.MethodGet, "http://tenon"+path, nil)
		if err != nil {
			return
		}
		resp, err := f.client.Do(req)
		if err != nil {
			return
		}
		defer resp.Body.Close()
		if data, err := io.ReadAll(resp.Body); err == nil {
			told <- data
		}
	}()
	return told
}

func version(n uint64) string { b, _ := json.Marshal(n); return string(b) }

func TestOnlyTheFieldsThatAreAskedForAreTold(t *testing.T) {
	t.Parallel()
	f, _, _ := running(t)
	f.withVolumes()
	var page struct {
		Volumes []map[string]any
		Next    string
	}
	f.must(200, "GET", "/v1/volumes?limit=1&fields=name,size,fault", "", &page)
	if v := page.Volumes[0]; len(v) != 2 || v["name"] == nil || v["size"] == nil || page.Next == "" {
		t.Errorf("got %v, next %q", v, page.Next)
	}
	var disks struct{ Disks []map[string]any }
	f.must(200, "GET", "/v1/disks?fields=name", "", &disks)
	if len(disks.Disks) == 0 || len(disks.Disks[0]) != 1 {
		t.Errorf("got %v", disks)
	}
	var all wire.Disks
	f.must(200, "GET", "/v1/disks", "", &all)
	if all.Disks[0].Name != "root" {
		t.Errorf("got %+v", all)
	}
	f.problem(400, "invalid", "GET", "/v1/volumes?fields=name,colour", "")
	f.problem(400, "invalid", "GET", "/v1/volumes?fields=,", "")
}

// followed is a stream of events that a test reads.
type followed struct {
	t      *testing.T
	lines  *bufio.Reader
	cancel context.CancelFunc
	done   func() error
	ID     string // of the last event that had one
}

// follow opens the stream of events.
func (f *fixture) follow(id string) *followed {
	f.t.Helper()
	ctx, cancel := context.WithCancel(f.t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://tenon/v1/events", nil)
	if err != nil {
		f.t.Fatal(err)
	}
	if id != "" {
		req.Header.Set("Last-Event-ID", id)
	}
	resp, err := f.client.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { cancel(); _ = resp.Body.Close() })
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
		f.t.Fatalf("answered %d %s", resp.StatusCode, resp.Header.Get("Content-Type"))
	}
	return &followed{t: f.t, lines: bufio.NewReader(resp.Body), cancel: cancel, done: resp.Body.Close}
}

// next reads up to an event of a type and gives its data; "" is the comment at the start.
func (e *followed) next(kind string) string {
	e.t.Helper()
	is := ""
	for {
		line, err := e.lines.ReadString('\n')
		if err != nil {
			e.t.Fatalf("waiting for %q: %v", kind, err)
		}
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch {
		case name == "id":
			e.ID = value
		case name == "event":
			is = value
		case name == "data" && is == kind, name == "" && kind == "":
			return value
		}
	}
}

// end reads to the end, which must come.
func (e *followed) end() {
	e.t.Helper()
	for {
		if _, err := e.lines.ReadString('\n'); err != nil {
			return
		}
	}
}

func TestEventsTellWhatChangesAndGoOnWhereOneLeft(t *testing.T) {
	t.Parallel()
	f, _, _ := running(t)
	events := f.follow("")
	events.next("")
	f.withVolumes()
	var v wire.Volume
	if err := json.Unmarshal([]byte(events.next(wire.EventVolume)), &v); err != nil || v.Name == "" {
		t.Fatalf("got %+v, %v", v, err)
	}
	f.must(200, "POST", "/v1/tasks/t1/attachments", `{"volume":"web/data"}`, nil)
	var at wire.Attachment
	if err := json.Unmarshal([]byte(events.next(wire.EventAttachment)), &at); err != nil || at.Task != "t1" || at.Volume != "web/data" {
		t.Errorf("got %+v, %v", at, err)
	}
	left := events.ID
	events.cancel()
	f.must(204, "DELETE", "/v1/tasks/t1", "", nil)
	again := f.follow(left)
	var gone wire.Gone
	if err := json.Unmarshal([]byte(again.next(wire.EventAttachmentGone)), &gone); err != nil || gone.Task != "t1" {
		t.Errorf("got %+v, %v", gone, err)
	}
	if err := json.Unmarshal([]byte(again.next(wire.EventTaskGone)), &gone); err != nil || gone.Task != "t1" {
		t.Errorf("got %+v, %v", gone, err)
	}
}

func TestEventsOfAnotherRunAreAGap(t *testing.T) {
	t.Parallel()
	f, a, _ := running(t)
	for _, id := range []string{"0-1", "nonsense", f.server.pulse.run + "-999999", f.server.pulse.run + "-x"} {
		events := f.follow(id)
		var gap wire.Gap
		if err := json.Unmarshal([]byte(events.next(wire.EventGap)), &gap); err != nil || gap.Index != a.State().Version {
			t.Errorf("%s: got %+v, %v", id, gap, err)
		}
		if !strings.HasPrefix(events.ID, f.server.pulse.run+"-") {
			t.Errorf("%s: the gap has id %q", id, events.ID)
		}
		events.cancel()
	}
	f.problem(400, "invalid", "GET", "/v1/events?index=x", "")
}

func TestEveryKindOfChangeIsToldInItsOwnWords(t *testing.T) {
	t.Parallel()
	s := sampleState()
	got := map[string]bool{}
	for c := range s.Snapshot() {
		for _, e := range toldTo(s, c, &wire.Follower{}) {
			got[e.Type] = true
		}
	}
	fault := &volume.FaultOf{Unit: volume.UnitOfDisk(""), Fault: volume.Fault{Kind: volume.ErrUnavailable, Reason: "gone"}}
	for _, c := range []volume.Change{
		{Drop: &volume.Drop{Volume: "x"}}, {Drop: &volume.Drop{Task: "x"}}, {Drop: &volume.Drop{Task: "x", Volume: "y", Path: "z"}},
		{Fault: fault}, {Fault: &volume.FaultOf{Unit: fault.Unit}},
	} {
		for _, e := range toldTo(s, c, &wire.Follower{}) {
			got[e.Type] = true
		}
	}
	for _, want := range []string{wire.EventVolume, wire.EventVolumeGone, wire.EventTask, wire.EventTaskGone, wire.EventAttachment,
		wire.EventAttachmentGone, wire.EventDisk, wire.EventReservation, wire.EventFault, wire.EventSound} {
		if !got[want] {
			t.Errorf("nothing was told as %s", want)
		}
	}
	none := func(string) bool { return false }
	for c := range s.Snapshot() {
		for _, e := range toldTo(s, c, wire.NewFollower(s, none, nil)) {
			if e.Type == wire.EventVolume || e.Type == wire.EventAttachment || e.Type == wire.EventReservation {
				t.Errorf("%s is told to who may see nothing: %+v", e.Type, e.Data)
			}
		}
	}
}

// toldTo are the events of one change for one who follows them.
func toldTo(s *volume.State, c volume.Change, f *wire.Follower) []wire.Event {
	f.Expect(s, []volume.Change{c})
	events, _ := f.Events(s, []volume.Change{c})
	return events
}

// sampleState has one of everything.
func sampleState() *volume.State {
	v := volume.Volume{UUID: "u1", Name: volume.Name{Role: "web", ID: "data"}, Phase: volume.Ready, Size: 1000, ContainerPath: "data"}
	task := volume.Task{ID: "t1", Sandbox: "/s/t1"}
	at := volume.Attachment{Volume: "u1", Task: "t1", Path: "data", Mode: "RW", Via: volume.ByPath}
	account := volume.Account{Reservations: []resource.Reservation{{Type: resource.Dynamic, Role: "web"}}, Free: 5}
	return volume.Empty().With(volume.Change{Disk: &volume.Disk{Pool: "p", Phase: volume.Ready}}, volume.Change{Account: &account},
		volume.Change{Volume: &v}, volume.Change{Task: &task}, volume.Change{Attachment: &at})
}

// TestTheStreamHidesWhatTheListsHide follows an agent as somebody who does not see web, while
// volumes of web and of art come, are used and go, with operations of two principals.
func TestTheStreamHidesWhatTheListsHide(t *testing.T) {
	t.Parallel()
	r := ruling(t, webIsHidden())
	r.withOthers()
	r.as(askers["another user"])
	events := r.follow("")
	events.next("")
	do := func(ops ...volume.Operation) {
		t.Helper()
		if _, err := r.agent.Do(t.Context(), ops...); err != nil {
			t.Fatal(err)
		}
	}
	hidden, _ := r.agent.State().Find("web/data")
	shown, _ := r.agent.State().Find("art/v")
	for _, by := range []string{"ops", "guest"} {
		do(volume.Identified{ID: "of-" + by, Type: "RESERVE", Digest: "1", Principal: by})
	}
	told := map[string]bool{}
	do(volume.Release{Task: "all"})
	do(volume.Destroy{Ref: string(hidden.UUID)})
	do(volume.Destroy{Ref: string(shown.UUID)})
	do(volume.Claim{Task: "last"})
	for {
		line, err := events.lines.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{"web", string(hidden.UUID), "of-ops", "event: gap"} {
			if strings.Contains(line, secret) {
				t.Errorf("told %q", line)
			}
		}
		kind, is := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "event: ")
		told[kind] = told[kind] || is
		if strings.Contains(line, `"id":"last"`) {
			break
		}
	}
	for _, kind := range []string{wire.EventAttachmentGone, wire.EventTaskGone, wire.EventVolumeGone, wire.EventOperation} {
		if !told[kind] {
			t.Errorf("nothing was told as %s", kind)
		}
	}
}

func TestACallerIsToldWhoTheyAre(t *testing.T) {
	t.Parallel()
	uid := os.Geteuid()
	f := serving(t, &fakeAgent{}, func(s *Server) { s.principals = access.Principals{{Name: "ops", UID: &uid}} })
	var who wire.Caller
	f.must(200, "GET", "/v1/caller", "", &who)
	if who != (wire.Caller{Principal: "ops", UID: uid, PID: os.Getpid()}) {
		t.Errorf("told %+v", who)
	}
}
