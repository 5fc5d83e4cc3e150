package resource

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
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
)

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
	Type      string         `json:"type"`
	ID        *wireValue     `json:"id,omitempty"`
	Reserve   *wireReserve   `json:"reserve,omitempty"`
	Unreserve *wireResources `json:"unreserve,omitempty"`
	Create    *wireVolumes   `json:"create,omitempty"`
	Destroy   *wireVolumes   `json:"destroy,omitempty"`
	Grow      *wireGrow      `json:"grow_volume,omitempty"`
	Shrink    *wireShrink    `json:"shrink_volume,omitempty"`
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

// ParseOperations reads what `tenon op apply` and the API take: one operation, a list
// of them, or {"operations": […]}. It is as strict as the resources in them.
func ParseOperations(data []byte) ([]Operation, error) {
	var list []wireOperation
	switch data = bytes.TrimSpace(data); {
	case bytes.HasPrefix(data, []byte("[")):
		if err := operationListShape.decode(data, &list); err != nil {
			return nil, invalidf("operations: %s", err)
		}
	case hasField(data, "operations"):
		var body wireOperations
		if err := operationsBodyShape.decode(data, &body); err != nil {
			return nil, invalidf("%s", err)
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

// hasField reports whether data is an object with that field.
func hasField(data []byte, name string) bool {
	var object map[string]json.RawMessage
	_ = json.Unmarshal(data, &object) // what is wrong with it, the strict decoder says
	_, ok := object[name]
	return ok
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

// UnmarshalJSON reads an operation as strictly as a resource, and refuses one that
// Validate would.
func (o *Operation) UnmarshalJSON(data []byte) error {
	var w wireOperation
	if err := operationShape.decode(data, &w); err != nil {
		return invalidf("operation: %s", err)
	}
	read, err := w.operation()
	if err != nil {
		return err
	}
	*o = read
	return nil
}

// Validate says whether o has a known type, the body of that type, no other, and in it
// at least one resource. What the resources say is not looked at.
func (o Operation) Validate() error {
	bodies := o.bodies()
	known := make([]string, len(bodies))
	found := false
	for i, b := range bodies {
		known[i] = b.kind
		switch own := b.kind == o.Type; {
		case own && !b.set:
			return invalidf("operation %s without '%s'", o.Type, strings.ToLower(b.kind))
		case !own && b.set:
			return invalidf("operation %s with '%s' set", shorten(o.Type), strings.ToLower(b.kind))
		case own && b.size == 0:
			return invalidf("operation %s: Operation contains no resources", o.Type)
		case own:
			found = true
		}
	}
	if !found {
		return invalidf("operation type %s is unknown; known are %s", shorten(o.Type), strings.Join(known, ", "))
	}
	return nil
}

// body is what Validate needs to know of one of an operation's bodies.
type body struct {
	kind string
	set  bool
	size int // number of resources in it
}

func (o Operation) bodies() []body {
	list := []body{
		{kind: OpReserve, set: o.Reserve != nil},
		{kind: OpUnreserve, set: o.Unreserve != nil},
		{kind: OpCreate, set: o.Create != nil},
		{kind: OpDestroy, set: o.Destroy != nil},
		{kind: OpGrowVolume, set: o.GrowVolume != nil},
		{kind: OpShrinkVolume, set: o.ShrinkVolume != nil},
	}
	size := len(o.Resources())
	for i := range list {
		list[i].size = size
	}
	return list
}

// Resources are the resources that an operation names as its result or its object: not
// the source of a RESERVE.
func (o Operation) Resources() []Resource {
	switch {
	case o.Type == OpReserve && o.Reserve != nil:
		return o.Reserve.Resources
	case o.Type == OpUnreserve && o.Unreserve != nil:
		return o.Unreserve.Resources
	case o.Type == OpCreate && o.Create != nil:
		return o.Create.Volumes
	case o.Type == OpDestroy && o.Destroy != nil:
		return o.Destroy.Volumes
	case o.Type == OpGrowVolume && o.GrowVolume != nil:
		return []Resource{o.GrowVolume.Volume, o.GrowVolume.Addition}
	case o.Type == OpShrinkVolume && o.ShrinkVolume != nil:
		return []Resource{o.ShrinkVolume.Volume}
	}
	return nil
}
