package master

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/agent/wire"
)

// MaxOrder bounds one order, in bytes of JSON.
const MaxOrder = 1 << 20

// maxID leaves room for the name of the master before the id of an order.
const maxID = 200

// Order is a batch of operations, all of them done in order or none.
type Order struct {
	ID         string          `json:"id"`         // at most 200 bytes, without "/"; unique for its master and agent
	Agent      string          `json:"agent"`      // whom it is for
	Operations json.RawMessage `json:"operations"` // of Mesos, as in POST /v1/operations, none with an id of its own
}

// OperationError is the state of an order that was refused and changed nothing. The other
// states are those of package volume.
const OperationError volume.OperationState = "OPERATION_ERROR"

// Result is what became of an order.
type Result struct {
	ID      string                `json:"id"` // of the order
	State   volume.OperationState `json:"state"`
	Kind    string                `json:"kind,omitempty"`    // of the failure, as in wire.Problem
	Message string                `json:"message,omitempty"` // one sentence
}

// Final says whether the result will not change any more.
func (r Result) Final() bool { return r.State != volume.OperationPending }

// order is an Order that was understood.
type order struct {
	id         string // of the order
	digest     string // of what it asks for
	operations []resource.Operation
}

// readOrder reads an order for an agent. key is the id by which it came, if it did. Where the
// order makes no sense but it is known which one it is, its id and a digest of the data are
// there beside the error.
func readOrder(data []byte, key, agent string) (order, error) {
	o := order{id: key, digest: digestOf(data)}
	if key == "" {
		o.id = idIn(data)
	}
	var w Order
	if err := wire.Decode(data, &w); err != nil {
		return o, err
	}
	switch err := checkID(w.ID); {
	case err != nil:
		return o, err
	case w.ID != o.id:
		return o, refuse("the order's id %.64q is not %q, by which it came", w.ID, key)
	case len(data) > MaxOrder:
		return o, refuse("the order has %d bytes; %d are allowed", len(data), MaxOrder)
	case w.Agent != agent:
		return o, refuse("the order is for agent %.64q, this is agent %q", w.Agent, agent)
	}
	return o, o.read(w.Operations)
}

// idIn finds the id of something that may not be an order; none is empty.
func idIn(data []byte) string {
	var probe struct{ ID string }
	if json.Unmarshal(data, &probe) != nil || checkID(probe.ID) != nil {
		return ""
	}
	return probe.ID
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// read reads the operations.
func (o *order) read(data []byte) (err error) {
	if o.operations, err = resource.ParseOperations(data); err != nil {
		return refuse("the order's operations cannot be read: %w", err)
	}
	for _, op := range o.operations {
		if op.ID != "" {
			return refuse("operation %.64q has an id; in an order, the order alone has one", op.ID)
		}
	}
	canonical, err := json.Marshal(o.operations)
	if err != nil {
		return refuse("the order's operations cannot be kept: %w", err)
	}
	o.digest = digestOf(canonical)
	return nil
}

func checkID(id string) error {
	if err := resource.CheckID(id); err != nil {
		return refuse("the order's id: %w", err)
	}
	if len(id) > maxID {
		return refuse("the order's id has %d bytes; %d are allowed", len(id), maxID)
	}
	return nil
}

func refuse(format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	return &volume.Error{Kind: volume.ErrInvalid, Message: err.Error(), Cause: errors.Unwrap(err)}
}

// apply has the agent do an order under its master's name.
//
// Crash: what the operations change and that the order was done are one transaction, so the
// next start knows both or neither, and the order that comes again is done or known.
func (o order) apply(ctx context.Context, n Node) error {
	about := n.About()
	ops, err := wire.FromMesos(o.operations, about.Principal)
	if err != nil {
		return err
	}
	kind := "BATCH"
	if len(o.operations) == 1 {
		kind = o.operations[0].Type
	}
	_, err = n.Ask(ctx, agentRequest(volume.Identified{
		ID: operationID(about.Name, o.id), Type: kind, Digest: o.digest, Principal: about.Principal, Operations: ops,
	}))
	return err
}

// operationID is the id that an order of a master has on the agent. No name has a colon.
func operationID(name, order string) string { return name + ":" + order }

// resultOf tells what is recorded of an order.
func resultOf(id string, s *volume.OperationStatus) Result {
	r := Result{ID: id, State: s.State, Message: s.Message}
	if s.State == volume.OperationFailed {
		r.Kind = wire.KindName(volume.ErrFailed)
	}
	return r
}

// refusal tells of an order that changed nothing.
func refusal(id string, err error) Result {
	p := wire.ProblemOf(err)
	return Result{ID: id, State: OperationError, Kind: p.Kind, Message: p.Detail}
}
