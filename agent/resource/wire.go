package resource

import (
	"encoding/json"
	"reflect"
)

// The wire types are Mesos' messages as JSON has them, field for field and in its order.
// A field without omitempty is required.

type wireResource struct {
	Name         string            `json:"name"`
	Type         string            `json:"type"`
	Scalar       *wireScalar       `json:"scalar,omitempty"`
	Ranges       *wireRanges       `json:"ranges,omitempty"`
	Set          *wireSet          `json:"set,omitempty"`
	Role         *string           `json:"role,omitempty"`
	Provider     *wireValue        `json:"provider_id,omitempty"`
	Allocation   *wireRole         `json:"allocation_info,omitempty"`
	Reservation  *wireReservation  `json:"reservation,omitempty"`
	Reservations []wireReservation `json:"reservations,omitempty"`
	Disk         *wireDisk         `json:"disk,omitempty"`
	Revocable    *struct{}         `json:"revocable,omitempty"`
	Shared       *struct{}         `json:"shared,omitempty"`
}

type wireScalar struct {
	Value json.RawMessage `json:"value"`
}

type wireRanges struct {
	Range []wireRange `json:"range,omitempty"`
}

type wireRange struct {
	Begin uint64 `json:"begin"`
	End   uint64 `json:"end"`
}

type wireSet struct {
	Item []string `json:"item,omitempty"`
}

type wireValue struct {
	Value string `json:"value"`
}

type wireRole struct {
	Role string `json:"role"`
}

type wireReservation struct {
	Type      *string     `json:"type,omitempty"`
	Role      *string     `json:"role,omitempty"`
	Principal *string     `json:"principal,omitempty"`
	Labels    *wireLabels `json:"labels,omitempty"`
}

type wireLabels struct {
	Labels []wireLabel `json:"labels,omitempty"`
}

type wireLabel struct {
	Key   string  `json:"key"`
	Value *string `json:"value,omitempty"`
}

type wireDisk struct {
	Persistence *wirePersistence `json:"persistence,omitempty"`
	Volume      *wireVolume      `json:"volume,omitempty"`
	Source      *wireSource      `json:"source,omitempty"`
}

type wirePersistence struct {
	ID        string  `json:"id"`
	Principal *string `json:"principal,omitempty"`
}

type wireVolume struct {
	Mode          string  `json:"mode"`
	ContainerPath string  `json:"container_path"`
	HostPath      *string `json:"host_path,omitempty"`
}

type wireSource struct {
	Type     string      `json:"type"`
	Path     *wireRoot   `json:"path,omitempty"`
	Mount    *wireRoot   `json:"mount,omitempty"`
	ID       *string     `json:"id,omitempty"`
	Metadata *wireLabels `json:"metadata,omitempty"`
	Profile  *string     `json:"profile,omitempty"`
	Vendor   *string     `json:"vendor,omitempty"`
}

type wireRoot struct {
	Root *string `json:"root,omitempty"`
}

var resourceShape = shapeOf(reflect.TypeFor[wireResource]())
