package wire_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/agent/wire"
)

// withOperations is a state with operations of every state.
func withOperations() *volume.State {
	op := func(n int, o volume.OperationStatus) volume.Change {
		o.Since, o.Digest = noon.Add(time.Duration(n)*time.Second), "digest"
		return volume.Change{Operation: &o}
	}
	making := []volume.UUID{"u1", "u2"}
	return example().With(
		op(1, volume.OperationStatus{ID: "made", Type: "CREATE", State: volume.OperationFinished, Principal: "ops"}),
		op(2, volume.OperationStatus{ID: "told", Type: "RESERVE", State: volume.OperationFinished, Acknowledged: true}),
		op(3, volume.OperationStatus{ID: "failed", Type: "CREATE", State: volume.OperationFailed, Message: "the disk is full"}),
		op(4, volume.OperationStatus{ID: "making", Type: "CREATE", State: volume.OperationPending, Making: making}),
		op(5, volume.OperationStatus{ID: "with", Type: "LAUNCH", State: volume.OperationPending, With: "making"}),
	)
}

func operationNamed(t *testing.T, s *volume.State, id string) wire.OperationStatus {
	t.Helper()
	o, ok := s.Operation(id)
	if !ok {
		t.Fatalf("there is no operation %s", id)
	}
	return wire.OperationOf(s, o)
}

func operationsPage(t *testing.T, s *volume.State, after string, all bool, limit int) wire.OperationStatuses {
	t.Helper()
	page, err := wire.OperationsOf(s, after, all, limit, nil)
	if err != nil {
		t.Fatal(err)
	}
	return page
}

// walk lists the operations of all pages. between is called after each page.
func walk(t *testing.T, s *volume.State, all bool, limit int, between func() *volume.State) (ids []string) {
	t.Helper()
	for after := ""; ; {
		page := operationsPage(t, s, after, all, limit)
		for _, o := range page.Operations {
			ids = append(ids, o.ID)
		}
		if after = page.Next; after == "" {
			return ids
		}
		s = between()
	}
}

func TestOperationsAtWorkComeFirstAndAcknowledgedOnesOnlyWhenAskedFor(t *testing.T) {
	t.Parallel()
	s := withOperations()
	same := func() *volume.State { return s }
	for limit := 1; limit < 7; limit++ {
		if diff := cmp.Diff([]string{"making", "with", "made", "failed"}, walk(t, s, false, limit, same)); diff != "" {
			t.Errorf("pages of %d (-want +got):\n%s", limit, diff)
		}
		if diff := cmp.Diff([]string{"making", "with", "made", "told", "failed"}, walk(t, s, true, limit, same)); diff != "" {
			t.Errorf("all, in pages of %d (-want +got):\n%s", limit, diff)
		}
	}
}

func TestAnOperationThatEndsBetweenPagesHidesNoOther(t *testing.T) {
	t.Parallel()
	s := withOperations()
	ended := func() *volume.State { // the one that the first page ended with
		o, _ := s.Operation("making")
		n := *o
		n.State, n.Making = volume.OperationFinished, nil
		return s.With(volume.Change{Operation: &n})
	}
	if diff := cmp.Diff([]string{"making", "with", "made", "failed", "making"}, walk(t, s, false, 1, ended)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	gone := func() *volume.State { return s.With(volume.Change{Drop: &volume.Drop{Operation: "making"}}) }
	if diff := cmp.Diff([]string{"making", "with", "made", "failed"}, walk(t, s, false, 1, gone)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, place := range []string{"made", "x/y", "a/b/c/d"} {
		if _, err := wire.OperationsOf(s, place, false, 1, nil); !errors.Is(err, volume.ErrInvalid) {
			t.Errorf("after %q: %v, want ErrInvalid", place, err)
		}
	}
}

func TestOnlyOperationsOfWhomMayBeSeenAreTold(t *testing.T) {
	t.Parallel()
	s := withOperations()
	ops := wire.Asked(func(principal string) bool { return principal == "ops" })
	page, err := wire.OperationsOf(s, "", true, 10, ops)
	if err != nil || len(page.Operations) != 1 || page.Operations[0].ID != "made" {
		t.Errorf("got %+v, %v; want the one of ops", page, err)
	}
	if list := wire.CallOperationsOf(s, ops).GetOperations.Operations; len(list) != 1 || list[0].Info.ID.Value != "made" {
		t.Errorf("got %+v, want the one of ops", list)
	}
	if o, err := ops.Find(s, "made"); err != nil || o.ID != "made" {
		t.Errorf("got %+v, %v", o, err)
	}
	_, hidden := ops.Find(s, "making")
	_, missing := ops.Find(volume.Empty(), "making")
	if !errors.Is(hidden, volume.ErrNotFound) || hidden.Error() != missing.Error() {
		t.Errorf("one that may not be seen is %v, and one that is not there %v", hidden, missing)
	}
}

func TestALaunchOnAnotherAgentIsRefused(t *testing.T) {
	t.Parallel()
	for agent, want := range map[string]bool{"": true, "a1": true, "a2": false} {
		task := []resource.TaskInfo{{ID: "t0"}, {ID: "t1", AgentID: agent}}
		for _, op := range []resource.Operation{
			{Launch: &resource.Launch{Tasks: task}}, {LaunchGroup: &resource.LaunchGroup{Tasks: task}},
		} {
			err := wire.CheckAgent([]resource.Operation{{}, op}, "a1")
			if (err == nil) != want || err != nil && (!errors.Is(err, volume.ErrInvalid) || !strings.Contains(err.Error(), "task t1 is to be launched on agent a2")) {
				t.Errorf("agent %q: %v", agent, err)
			}
		}
	}
}

func TestTheStatusForOperatorsKnowsEveryKind(t *testing.T) {
	t.Parallel()
	want := map[error][2]int{ // of DESTROY and of CREATE
		volume.ErrInvalid: {400, 400}, volume.ErrForbidden: {403, 403}, volume.ErrNotFound: {400, 409}, volume.ErrExists: {400, 400},
		volume.ErrInUse: {400, 409}, volume.ErrInsufficient: {409, 409}, volume.ErrPending: {409, 409}, volume.ErrBusy: {409, 409},
		volume.ErrLost: {409, 409}, volume.ErrUnavailable: {409, 409}, volume.ErrFailed: {500, 500}, volume.ErrStopped: {503, 503},
		volume.ErrJournal: {503, 503},
	}
	for _, kind := range volume.Kinds() {
		for i, operation := range []string{resource.OpDestroy, resource.OpCreate} {
			verb := strings.ToLower(operation)
			status, text := wire.OperatorRefusal(operation, &volume.Error{Kind: kind, Message: verb + ": why it is so"})
			said := verb + ": why it is so"
			if want[kind][i] == 400 {
				said = "Invalid " + operation + " operation: why it is so"
			}
			if status != want[kind][i] || text != said {
				t.Errorf("%s of %s: %d %q, want %d %q", operation, kind, status, text, want[kind][i], said)
			}
		}
	}
	_, text := wire.OperatorRefusal(resource.OpDestroy, &volume.Error{Kind: volume.ErrInUse, Message: "destroy web/a: in use: by t1"})
	if want := "Invalid DESTROY operation: in use: by t1 (destroy web/a)"; text != want {
		t.Errorf("got %q, want %q", text, want)
	}
	if _, text = wire.OperatorRefusal(resource.OpCreate, &volume.Error{Kind: volume.ErrInvalid, Message: "Role: bad"}); text != "Invalid CREATE operation: Role: bad" {
		t.Errorf("got %q", text)
	}
	if status, text := wire.OperatorRefusal(resource.OpCreate, fmt.Errorf("boom")); status != 500 || text != "boom" {
		t.Errorf("an error without a kind: %d %q", status, text)
	}
}

func TestACallBecomesTheOperationThatItAsksFor(t *testing.T) {
	t.Parallel()
	const disk = `{"name":"disk","type":"SCALAR","scalar":{"value":1}}`
	for body, want := range map[string]string{
		`{"type":"RESERVE_RESOURCES","reserve_resources":{"agent_id":{"value":"a"},"resources":[` + disk + `],"source":[` + disk + `]}}`: "RESERVE",
		`{"type":"UNRESERVE_RESOURCES","unreserve_resources":{"agent_id":{"value":"a"},"resources":[` + disk + `]}}`:                     "UNRESERVE",
		`{"type":"CREATE_VOLUMES","create_volumes":{"agent_id":{"value":"a"},"volumes":[` + disk + `]}}`:                                 "CREATE",
		`{"type":"DESTROY_VOLUMES","destroy_volumes":{"agent_id":{"value":"a"},"volumes":[` + disk + `]}}`:                               "DESTROY",
		`{"type":"GROW_VOLUME","grow_volume":{"agent_id":{"value":"a"},"volume":` + disk + `,"addition":` + disk + `}}`:                  "GROW_VOLUME",
		`{"type":"SHRINK_VOLUME","shrink_volume":{"agent_id":{"value":"a"},"volume":` + disk + `,"subtract":{"value":1}}}`:               "SHRINK_VOLUME",
	} {
		var call wire.Call
		if err := wire.Decode([]byte(body), &call); err != nil {
			t.Fatal(err)
		}
		op, agent, err := call.Operation()
		if err != nil || agent != "a" || op.Type != want || len(op.Resources()) == 0 {
			t.Errorf("%s becomes %+v on agent %q, %v", body, op, agent, err)
		}
		if want == "RESERVE" && len(op.Reserve.Source) != 1 || want == "SHRINK_VOLUME" && op.ShrinkVolume.Subtract != resource.One {
			t.Errorf("%s becomes %+v", body, op)
		}
	}
}

func TestACallThatMakesNoSenseIsRefusedClearly(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"type":"GET_STATE"}`:   "call type \"GET_STATE\" is unknown",
		`{}`:                     "call type \"\" is unknown",
		`{"type":"GROW_VOLUME"}`: "'grow_volume' is not set",
		`{"type":"CREATE_VOLUMES","create_volumes":{"volumes":[]}}`:                               "contains no resources",
		`{"type":"CREATE_VOLUMES","create_volumes":{},"destroy_volumes":{}}`:                      "must not be set",
		`{"type":"GET_OPERATIONS","destroy_volumes":{}}`:                                          "no body to be present",
		`{"type":"CREATE_VOLUMES","create_volumes":{"resources":[]}}`:                             `unknown field "resources"`,
		`{"type":"CREATE_VOLUMES","create_volumes":null}`:                                         "null is not a value here",
		`{"type":"CREATE_VOLUMES","create_volumes":{"agent_id":{"value":"a","valeu":"a"}}}`:       `unknown field "valeu"`,
		`{"type":"CREATE_VOLUMES","create_volumes":{"volumes":[{"name":"disk","colour":"red"}]}}`: `unknown field "colour"`,
	} {
		var call wire.Call
		err := wire.Decode([]byte(body), &call)
		if err == nil {
			_, _, err = call.Operation()
		}
		if !errors.Is(err, volume.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want ErrInvalid with %q", body, err, want)
		}
	}
}

func FuzzWhateverIsCalledIsRefusedOrBecomesAnOperation(f *testing.F) {
	f.Add([]byte(`{"type":"GET_OPERATIONS"}`))
	f.Add([]byte(`{"type":"SHRINK_VOLUME","shrink_volume":{"agent_id":{"value":"a"},"volume":{"name":"disk","type":"SCALAR","scalar":{"value":1}},"subtract":{"value":1}}}`))
	f.Add([]byte(`{"type":"CREATE_VOLUMES","create_volumes":{"agent_id":{"value":"a"},"volumes":[]},"grow_volume":{}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var call wire.Call
		err := wire.Decode(body, &call)
		var op resource.Operation
		if err == nil {
			op, _, err = call.Operation()
		}
		switch {
		case err != nil && !errors.Is(err, volume.ErrInvalid):
			t.Fatalf("%s: %v, want ErrInvalid", body, err)
		case err == nil && call.Type != wire.GetOperations && op.Validate() != nil:
			t.Fatalf("%s becomes %+v, which is not valid", body, op)
		}
	})
}
