package wire

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"tenon/agent/resource"
	"tenon/agent/volume"
)

// Applied is the answer to Operations.
type Applied struct {
	Index      uint64            `json:"index"`      // version of the state that has their results; of a dry run, that would have had them
	DryRun     bool              `json:"dry_run"`    // nothing was changed
	Operations []OperationStatus `json:"operations"` // those that have ids, in their order
}

// AppliedOf tells what operations came to, in the state that has their results.
func AppliedOf(s *volume.State, ops []resource.Operation, dryRun bool) Applied {
	a := Applied{Index: s.Version, DryRun: dryRun, Operations: []OperationStatus{}}
	for _, op := range ops {
		if o, kept := s.Operation(op.ID); kept {
			a.Operations = append(a.Operations, OperationOf(s, o))
		}
	}
	return a
}

// OperationStatus is what became of an operation that had an id.
type OperationStatus struct {
	ID           string                `json:"id"`
	Type         string                `json:"type"` // of Mesos
	State        volume.OperationState `json:"state"`
	Message      string                `json:"message,omitempty"`   // why it failed
	Principal    string                `json:"principal,omitempty"` // of whoever asked, where known
	Since        time.Time             `json:"since"`
	Waiting      int                   `json:"waiting"`      // volumes, tasks and mounts of its batch that have to come about or to go
	Acknowledged bool                  `json:"acknowledged"` // whoever asked has noted how it ended
}

// OperationStatuses is one page of a list of operations: those at work first, older ones
// before newer ones.
type OperationStatuses struct {
	Operations []OperationStatus `json:"operations"`
	Next       string            `json:"next,omitempty"` // to be given as after for the next page; none at the end
}

// OperationOf tells all about one operation of s.
func OperationOf(s *volume.State, o *volume.OperationStatus) OperationStatus {
	return OperationStatus{
		ID: o.ID, Type: o.Type, State: o.State, Message: o.Message, Principal: o.Principal, Since: o.Since,
		Waiting:      s.Waiting(o),
		Acknowledged: o.Acknowledged,
	}
}

// Asked says which operations may be seen, by who has asked for them; nil is all of them.
type Asked func(principal string) bool

func (a Asked) sees(o *volume.OperationStatus) bool { return a == nil || a(o.Principal) }

// Find is State.Operation for what may be seen. ErrNotFound tells what was asked for.
func (a Asked) Find(s *volume.State, id string) (*volume.OperationStatus, error) {
	if o, kept := s.Operation(id); kept && a.sees(o) {
		return o, nil
	}
	return nil, &volume.Error{Kind: volume.ErrNotFound, Message: fmt.Sprintf("there is no operation %q", id)}
}

// OperationsOf makes the page of at most limit operations that may be seen and come after a
// place, which is the Next of another page, or empty. Those that were acknowledged are left
// out unless all are wanted. A place that no page names is ErrInvalid.
func OperationsOf(s *volume.State, after string, all bool, limit int, asked Asked) (OperationStatuses, error) {
	page := OperationStatuses{Operations: []OperationStatus{}}
	if after != "" && strings.Count(after, "/") != 2 {
		return page, refuse("parameter after must be the next of another page, not %.64q", after)
	}
	places := map[string]*volume.OperationStatus{} // at most volume.MaxOperations
	for o := range s.Operations() {
		if place := placeOf(o); place > after && (all || !o.Acknowledged) && asked.sees(o) {
			places[place] = o
		}
	}
	last := ""
	for _, place := range slices.Sorted(maps.Keys(places)) {
		if len(page.Operations) == limit {
			page.Next = last
			break
		}
		page.Operations, last = append(page.Operations, OperationOf(s, places[place])), place
	}
	return page, nil
}

// placeOf sorts operations as pages have them, and is the same whatever operations before
// it have gone, or were acknowledged, meanwhile. An id has no slash.
func placeOf(o *volume.OperationStatus) string {
	group := "ended"
	if o.State == volume.OperationPending {
		group = "atwork"
	}
	return fmt.Sprintf("%s/%s/%s", group, o.Since.UTC().Format("2006-01-02T15:04:05.000000000Z"), o.ID)
}

// CallAnswer is the answer to a Call of type GET_OPERATIONS.
type CallAnswer struct {
	Type          string         `json:"type"`
	GetOperations CallOperations `json:"get_operations"`
}

// CallOperations lists operations as Mesos does: none is no list.
type CallOperations struct {
	Operations []CallOperation `json:"operations,omitempty"`
}

// CallOperation is Mesos' Operation (spec.md 3.13). Of what was asked for, no more is kept
// than its type and its id.
type CallOperation struct {
	AgentID      Value      `json:"agent_id"`
	Info         CallInfo   `json:"info"`
	LatestStatus CallStatus `json:"latest_status"`
	UUID         CallUUID   `json:"uuid"`
}

// CallInfo is what is kept of an Offer.Operation.
type CallInfo struct {
	Type string `json:"type"`
	ID   Value  `json:"id"`
}

// CallStatus is Mesos' OperationStatus.
type CallStatus struct {
	OperationID Value                 `json:"operation_id"`
	State       volume.OperationState `json:"state"`
	Message     string                `json:"message,omitempty"`
	AgentID     Value                 `json:"agent_id"`
}

// CallUUID is how Mesos writes the UUID of an operation: 16 bytes in base64.
type CallUUID struct {
	Value []byte `json:"value"`
}

// CallOperationsOf lists the operations that may be seen and were not acknowledged yet.
func CallOperationsOf(s *volume.State, asked Asked) CallAnswer {
	answer := CallAnswer{Type: GetOperations}
	agent := Value{s.Agent}
	for o := range s.Operations() {
		if o.Acknowledged || !asked.sees(o) {
			continue
		}
		id := Value{o.ID}
		uuid := sha256.Sum256([]byte(s.Agent + "/" + o.ID)) // none is kept, and this one stays the same
		answer.GetOperations.Operations = append(answer.GetOperations.Operations, CallOperation{
			AgentID: agent, Info: CallInfo{Type: o.Type, ID: id}, UUID: CallUUID{uuid[:16]},
			LatestStatus: CallStatus{OperationID: id, State: o.State, Message: o.Message, AgentID: agent},
		})
	}
	return answer
}

// CheckAgent refuses with ErrInvalid a launch of a task on another agent.
func CheckAgent(ops []resource.Operation, agent string) error {
	for _, op := range ops {
		var tasks []resource.TaskInfo
		switch {
		case op.Launch != nil:
			tasks = op.Launch.Tasks
		case op.LaunchGroup != nil:
			tasks = op.LaunchGroup.Tasks
		}
		for _, t := range tasks {
			if t.AgentID != "" && t.AgentID != agent {
				return refuse("task %s is to be launched on agent %s, and this one is agent %s", t.ID, t.AgentID, agent)
			}
		}
	}
	return nil
}
