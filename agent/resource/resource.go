// Package resource is Mesos' resource model: what a piece of disk is called, to
// whom it is reserved, which volume is made of it, and how such pieces add up.
// It is pure: no kernel, no files, no clocks. spec.md sections 1 and 2 govern it.
package resource

// Type is the kind of value that a resource holds.
type Type string

// The value types of spec.md 1.1. Only an Attribute may be TEXT.
const (
	TypeScalar Type = "SCALAR"
	TypeRanges Type = "RANGES"
	TypeSet    Type = "SET"
	TypeText   Type = "TEXT"
)

// Resource is one entry of Mesos' Resource message, in the new reservation format
// (a stack, most refined last). JSON in the old format is upgraded when read.
type Resource struct {
	Name         string
	Type         Type
	Scalar       Scalar
	Ranges       []Range
	Set          []string
	Reservations []Reservation
	Disk         *Disk
	Revocable    bool
	Shared       bool
	Allocation   string // role that it was offered to; "" is absent
	Provider     string // resource provider id; "" is absent
}

// Range is an inclusive interval.
type Range struct{ Begin, End uint64 }

// ReservationType says who made a reservation.
type ReservationType string

// Static reservations come from the operator's configuration, dynamic ones from RESERVE.
const (
	Static  ReservationType = "STATIC"
	Dynamic ReservationType = "DYNAMIC"
)

// Reservation is one element of a reservation stack.
type Reservation struct {
	Type      ReservationType `json:"type"`
	Role      string          `json:"role"`
	Principal *string         `json:"principal,omitempty"`
	Labels    []Label         `json:"labels,omitempty"`
}

// Label is a free key and an optional value.
type Label struct {
	Key   string  `json:"key"`
	Value *string `json:"value,omitempty"`
}

// Disk is what makes a disk resource more than an amount: where its space comes
// from (Source; nil is the root disk) and which volume is made of it.
type Disk struct {
	Persistence *Persistence
	Volume      *Volume
	Source      *Source
}

// Persistence names a persistent volume.
type Persistence struct {
	ID        string
	Principal *string
}

// Mode says whether a volume may be written.
type Mode string

// The modes of spec.md 1.1.
const (
	RW Mode = "RW"
	RO Mode = "RO"
)

// Volume says where in a sandbox a volume appears, and how.
type Volume struct {
	ContainerPath string
	HostPath      *string
	Mode          Mode
}

// SourceType is the kind of a disk source.
type SourceType string

// The disk sources of spec.md 1.4. BLOCK and RAW come from resource providers only.
const (
	SourcePath  SourceType = "PATH"
	SourceMount SourceType = "MOUNT"
	SourceBlock SourceType = "BLOCK"
	SourceRaw   SourceType = "RAW"
)

// Source is where the space of a disk resource comes from.
type Source struct {
	Type     SourceType
	Path     *Root
	Mount    *Root
	ID       *string
	Metadata []Label
	Profile  *string
	Vendor   *string
}

// Root is the directory of a PATH or MOUNT source.
type Root struct{ Root *string }
