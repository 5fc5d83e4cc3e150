package wire

import (
	"net/http"
	"strings"

	"tenon/agent/resource"
	"tenon/agent/volume"
)

// Call is what Mesos' operators send to a master's POST /api/v1, of which this agent
// takes those calls that are about resources of one agent (spec.md 3.14).
type Call struct {
	Type               string              `json:"type"`
	ReserveResources   *ReserveResources   `json:"reserve_resources,omitempty"`
	UnreserveResources *UnreserveResources `json:"unreserve_resources,omitempty"`
	CreateVolumes      *CreateVolumes      `json:"create_volumes,omitempty"`
	DestroyVolumes     *DestroyVolumes     `json:"destroy_volumes,omitempty"`
	GrowVolume         *GrowVolume         `json:"grow_volume,omitempty"`
	ShrinkVolume       *ShrinkVolume       `json:"shrink_volume,omitempty"`
}

// Value is how Mesos writes an id.
type Value struct {
	Value string `json:"value"`
}

// Amount is how Mesos writes a scalar, of disk in MiB.
type Amount struct {
	Value resource.Scalar `json:"value"`
}

// ReserveResources is RESERVE, or with Source a change of reservations.
type ReserveResources struct {
	AgentID   Value               `json:"agent_id"`
	Resources []resource.Resource `json:"resources"`
	Source    []resource.Resource `json:"source,omitempty"`
}

// UnreserveResources is UNRESERVE.
type UnreserveResources struct {
	AgentID   Value               `json:"agent_id"`
	Resources []resource.Resource `json:"resources"`
}

// CreateVolumes is CREATE.
type CreateVolumes struct {
	AgentID Value               `json:"agent_id"`
	Volumes []resource.Resource `json:"volumes"`
}

// DestroyVolumes is DESTROY.
type DestroyVolumes CreateVolumes

// GrowVolume is GROW_VOLUME.
type GrowVolume struct {
	AgentID  Value             `json:"agent_id"`
	Volume   resource.Resource `json:"volume"`
	Addition resource.Resource `json:"addition"`
}

// ShrinkVolume is SHRINK_VOLUME.
type ShrinkVolume struct {
	AgentID  Value             `json:"agent_id"`
	Volume   resource.Resource `json:"volume"`
	Subtract Amount            `json:"subtract"`
}

// GetOperations is the type of the call that asks for operations.
const GetOperations = "GET_OPERATIONS"

// callTypes are the types of calls by the operation that each asks for.
var callTypes = map[string]string{
	"RESERVE_RESOURCES": resource.OpReserve, "UNRESERVE_RESOURCES": resource.OpUnreserve,
	"CREATE_VOLUMES": resource.OpCreate, "DESTROY_VOLUMES": resource.OpDestroy,
	"GROW_VOLUME": resource.OpGrowVolume, "SHRINK_VOLUME": resource.OpShrinkVolume,
}

// Operation is the operation that a call asks for, and the agent that it is to be done by.
// A call of any other type, or with the body of another type, is ErrInvalid.
func (c Call) Operation() (op resource.Operation, agent string, err error) {
	kind, known := callTypes[c.Type]
	if !known && c.Type != GetOperations {
		return op, "", refuse("call type %.64q is unknown here; this agent takes RESERVE_RESOURCES, UNRESERVE_RESOURCES, "+
			"CREATE_VOLUMES, DESTROY_VOLUMES, GROW_VOLUME, SHRINK_VOLUME and GET_OPERATIONS", c.Type)
	}
	op, agent = c.bodies()
	if op.Type = kind; c.Type == GetOperations {
		if op != (resource.Operation{}) {
			return op, "", refuse("Expecting no body to be present in a call of type GET_OPERATIONS")
		}
		return op, "", nil
	}
	if err := op.Validate(); err != nil {
		return op, "", &volume.Error{Kind: volume.ErrInvalid, Message: err.Error(), Cause: err}
	}
	return op, agent, nil
}

// bodies puts whatever bodies a call has into an operation.
func (c Call) bodies() (op resource.Operation, agent string) {
	if b := c.ReserveResources; b != nil {
		op.Reserve, agent = &resource.Reserve{Resources: b.Resources, Source: b.Source}, b.AgentID.Value
	}
	if b := c.UnreserveResources; b != nil {
		op.Unreserve, agent = &resource.Unreserve{Resources: b.Resources}, b.AgentID.Value
	}
	if b := c.CreateVolumes; b != nil {
		op.Create, agent = &resource.Create{Volumes: b.Volumes}, b.AgentID.Value
	}
	if b := c.DestroyVolumes; b != nil {
		op.Destroy, agent = &resource.Destroy{Volumes: b.Volumes}, b.AgentID.Value
	}
	if b := c.GrowVolume; b != nil {
		op.GrowVolume, agent = &resource.GrowVolume{Volume: b.Volume, Addition: b.Addition}, b.AgentID.Value
	}
	if b := c.ShrinkVolume; b != nil {
		op.ShrinkVolume, agent = &resource.ShrinkVolume{Volume: b.Volume, Subtract: b.Subtract.Value}, b.AgentID.Value
	}
	return op, agent
}

// operatorStatuses is the one table that says which status Mesos' master gives to its
// operators for each kind of volume.Kinds: what it calls a bad DESTROY is to it, of any
// other operation, a conflict.
var operatorStatuses = []struct {
	kind           error
	destroy, other int
}{
	{volume.ErrInvalid, http.StatusBadRequest, http.StatusBadRequest},
	{volume.ErrForbidden, http.StatusForbidden, http.StatusForbidden},
	{volume.ErrNotFound, http.StatusBadRequest, http.StatusConflict},
	{volume.ErrExists, http.StatusBadRequest, http.StatusBadRequest},
	{volume.ErrInUse, http.StatusBadRequest, http.StatusConflict},
	{volume.ErrInsufficient, http.StatusConflict, http.StatusConflict},
	{volume.ErrPending, http.StatusConflict, http.StatusConflict},
	{volume.ErrBusy, http.StatusConflict, http.StatusConflict},
	{volume.ErrLost, http.StatusConflict, http.StatusConflict},
	{volume.ErrUnavailable, http.StatusConflict, http.StatusConflict},
	{volume.ErrFailed, http.StatusInternalServerError, http.StatusInternalServerError},
	{volume.ErrStopped, http.StatusServiceUnavailable, http.StatusServiceUnavailable},
	{volume.ErrJournal, http.StatusServiceUnavailable, http.StatusServiceUnavailable},
}

// verbs are what package volume calls operations, in front of its refusals.
var verbs = map[string]string{
	resource.OpReserve: "reserve", resource.OpUnreserve: "unreserve", resource.OpCreate: "create",
	resource.OpDestroy: "destroy", resource.OpGrowVolume: "grow", resource.OpShrinkVolume: "shrink",
}

// OperatorRefusal tells an error as Mesos' master tells its operators why an operation was
// not done: by status and one line of text.
func OperatorRefusal(operation string, err error) (status int, text string) {
	p := ProblemOf(err)
	status = p.Status
	for _, s := range operatorStatuses {
		if volume.Kind(err) == s.kind {
			status = s.other
			if operation == resource.OpDestroy {
				status = s.destroy
			}
		}
	}
	if status != http.StatusBadRequest {
		return status, p.Detail
	}
	return status, "Invalid " + operation + " operation: " + inFront(verbs[operation], p.Detail)
}

// inFront has a sentence of package volume begin with Mesos' words: what stands before them,
// as in "destroy web/data: Persistent volumes in use", goes behind them unless it is the
// verb alone.
func inFront(verb, sentence string) string {
	about, words, found := strings.Cut(sentence, ": ")
	switch {
	case found && about == verb:
		return words
	case found && strings.HasPrefix(about, verb+" "):
		return words + " (" + about + ")"
	}
	return sentence
}
