package resource

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// The types of operation that there are (spec.md 3.1).
const (
	OpReserve      = "RESERVE"
	OpUnreserve    = "UNRESERVE"
	OpCreate       = "CREATE"
	OpDestroy      = "DESTROY"
	OpGrowVolume   = "GROW_VOLUME"
	OpShrinkVolume = "SHRINK_VOLUME"
	OpLaunch       = "LAUNCH"
	OpLaunchGroup  = "LAUNCH_GROUP"
)

// operationTypes are the types; a type in lower case is the name of its body.
var operationTypes = []string{
	OpReserve, OpUnreserve, OpCreate, OpDestroy, OpGrowVolume, OpShrinkVolume, OpLaunch, OpLaunchGroup,
}

// Operation is Mesos' Offer.Operation: its type, and the one body of that type.
type Operation struct {
	Type         string
	ID           string // given by whoever asks; "" is absent
	Reserve      *Reserve
	Unreserve    *Unreserve
	Create       *Create
	Destroy      *Destroy
	GrowVolume   *GrowVolume
	ShrinkVolume *ShrinkVolume
	Launch       *Launch
	LaunchGroup  *LaunchGroup
}

// Reserve asks for resources to be reserved as their last reservation says. With Source
// they are moved over from other reservations.
type Reserve struct {
	Resources []Resource
	Source    []Resource
}

// Unreserve gives the last reservation of resources up.
type Unreserve struct{ Resources []Resource }

// Create makes persistent volumes.
type Create struct{ Volumes []Resource }

// Destroy removes persistent volumes and their data.
type Destroy struct{ Volumes []Resource }

// GrowVolume adds disk to a volume.
type GrowVolume struct{ Volume, Addition Resource }

// ShrinkVolume takes disk, in MiB, from a volume.
type ShrinkVolume struct {
	Volume   Resource
	Subtract Scalar
}

type wireOperation struct {
	Type        string           `json:"type"`
	ID          *wireValue       `json:"id,omitempty"`
	Reserve     *wireReserve     `json:"reserve,omitempty"`
	Unreserve   *wireResources   `json:"unreserve,omitempty"`
	Create      *wireVolumes     `json:"create,omitempty"`
	Destroy     *wireVolumes     `json:"destroy,omitempty"`
	Grow        *wireGrow        `json:"grow_volume,omitempty"`
	Shrink      *wireShrink      `json:"shrink_volume,omitempty"`
	Launch      *wireLaunch      `json:"launch,omitempty"`
	LaunchGroup *wireLaunchGroup `json:"launch_group,omitempty"`
}

type wireReserve struct {
	Resources []wireResource `json:"resources"`
	Source    []wireResource `json:"source,omitempty"`
}

type wireResources struct {
	Resources []wireResource `json:"resources"`
}

type wireVolumes struct {
	Volumes []wireResource `json:"volumes"`
}

type wireGrow struct {
	Volume   wireResource `json:"volume"`
	Addition wireResource `json:"addition"`
}

type wireShrink struct {
	Volume   wireResource `json:"volume"`
	Subtract wireScalar   `json:"subtract"`
}

type wireOperations struct {
	Operations []wireOperation `json:"operations"`
}

var (
	operationShape      = shapeOf(reflect.TypeFor[wireOperation]())
	operationListShape  = shapeOf(reflect.TypeFor[[]wireOperation]())
	operationsBodyShape = shapeOf(reflect.TypeFor[wireOperations]())
)

// ParseOperations reads what people and programs hand in: one operation, a list of
// them, or {"operations": […]}. It is as strict as the resources in them.
func ParseOperations(data []byte) ([]Operation, error) {
	var list []wireOperation
	switch data = bytes.TrimSpace(data); {
	case bytes.HasPrefix(data, []byte("[")):
		if err := operationListShape.decode(data, &list); err != nil {
			return nil, unreadable(data, "operations", err)
		}
	case hasField(data, "operations"):
		var body wireOperations
		if err := operationsBodyShape.decode(data, &body); err != nil {
			return nil, unreadable(data, "body", err)
		}
		list = body.Operations
	default:
		var one Operation
		if err := one.UnmarshalJSON(data); err != nil {
			return nil, err
		}
		return []Operation{one}, nil
	}
	return operationsOf(list)
}

// UnmarshalJSON reads an operation as strictly as a resource, and refuses one that
// Validate would.
func (o *Operation) UnmarshalJSON(data []byte) error {
	var w wireOperation
	if err := operationShape.decode(data, &w); err != nil {
		return unreadable(data, "operation", err)
	}
	read, err := w.operation()
	if err != nil {
		return err
	}
	*o = read
	return nil
}

// hasField reports whether data is an object with that field.
func hasField(data []byte, name string) bool {
	var object map[string]json.RawMessage
	_ = json.Unmarshal(data, &object) // what is wrong with it, the strict decoder says
	_, ok := object[name]
	return ok
}

// unreadable says why data could not be read. If it holds an operation of another type,
// that says more than the first field of it that is unknown here.
func unreadable(data []byte, what string, err error) error {
	type typed struct {
		Type string `json:"type"`
	}
	var list []typed
	if json.Unmarshal(data, &list) != nil {
		var body struct {
			typed
			Operations []typed `json:"operations"`
		}
		_ = json.Unmarshal(data, &body) // whatever it holds; err says the rest
		list = append(body.Operations, body.typed)
	}
	for _, t := range list {
		if t.Type != "" && !slices.Contains(operationTypes, t.Type) {
			return unknownType(t.Type)
		}
	}
	return invalidf("%s: %s", what, err)
}

func unknownType(name string) error {
	return invalidf("operation type %s is unknown; known are %s", shorten(name), strings.Join(operationTypes, ", "))
}

func operationsOf(list []wireOperation) ([]Operation, error) {
	operations := make([]Operation, len(list))
	for i, w := range list {
		var err error
		if operations[i], err = w.operation(); err != nil {
			return nil, fmt.Errorf("operations[%d]: %w", i, err)
		}
	}
	return operations, nil
}

// Validate says whether o has a known type, the body of that type, no other, and in it
// at least one resource; of a launch, at least one task, and ids that may exist. What the
// resources say is not looked at.
func (o Operation) Validate() error {
	if !slices.Contains(operationTypes, o.Type) {
		return unknownType(o.Type)
	}
	for i, set := range o.bodies() {
		kind := operationTypes[i]
		switch field := strings.ToLower(kind); {
		case kind == o.Type && !set:
			return invalidf("operation %s: '%s' is not set", o.Type, field)
		case kind != o.Type && set:
			return invalidf("operation %s: '%s' must not be set", o.Type, field)
		}
	}
	switch {
	case o.Type == OpLaunch || o.Type == OpLaunchGroup:
		return o.validateTasks()
	case len(o.Resources()) == 0:
		return invalidf("operation %s: Operation contains no resources", o.Type)
	}
	return nil
}

// bodies says which bodies are set, in the order of operationTypes.
func (o Operation) bodies() []bool {
	return []bool{
		o.Reserve != nil, o.Unreserve != nil, o.Create != nil, o.Destroy != nil,
		o.GrowVolume != nil, o.ShrinkVolume != nil, o.Launch != nil, o.LaunchGroup != nil,
	}
}

// Resources are the resources that an operation names as its result or its object: not
// the source of a RESERVE. Of a launch they are those of the tasks and their executors.
func (o Operation) Resources() []Resource {
	switch {
	case o.Reserve != nil:
		return o.Reserve.Resources
	case o.Unreserve != nil:
		return o.Unreserve.Resources
	case o.Create != nil:
		return o.Create.Volumes
	case o.Destroy != nil:
		return o.Destroy.Volumes
	case o.GrowVolume != nil:
		return []Resource{o.GrowVolume.Volume, o.GrowVolume.Addition}
	case o.ShrinkVolume != nil:
		return []Resource{o.ShrinkVolume.Volume}
	}
	return o.launched()
}
