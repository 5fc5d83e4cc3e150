package resource

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// Validate says whether r may exist at all (spec.md 1.7 and 1.8). It returns the first
// fault as an *Error whose message is Mesos': "Resource '…' is invalid: …". What a disk
// says about volumes is ValidateDisk's.
func (r Resource) Validate() error {
	if r.Name == "" {
		return r.invalid("Empty resource name")
	}
	checks := []func(Resource) string{
		Resource.typeFault, Resource.valueFault, Resource.diskFault,
		Resource.stackFault, Resource.sharedFault, Resource.textFault,
	}
	for _, fault := range checks {
		if reason := fault(r); reason != "" {
			return r.invalid("%s", reason)
		}
	}
	return nil
}

func (r Resource) typeFault() string {
	switch r.Type {
	case TypeScalar, TypeRanges, TypeSet:
		return ""
	case TypeText:
		return "Unsupported resource type TEXT"
	}
	return "Invalid resource type " + shorten(string(r.Type))
}

func (r Resource) valueFault() string {
	switch r.Type {
	case TypeScalar:
		return r.scalarFault()
	case TypeRanges:
		return r.rangesFault()
	}
	return r.setFault()
}

func (r Resource) scalarFault() string {
	switch {
	case len(r.Ranges) > 0 || len(r.Set) > 0:
		return "Invalid scalar resource"
	case r.Scalar < 0:
		return "Invalid scalar resource: value <= 0"
	case r.Scalar > MaxScalar:
		return "Invalid scalar resource: value is above " + MaxScalar.String()
	}
	return ""
}

func (r Resource) rangesFault() string {
	if r.Scalar != 0 || len(r.Set) > 0 {
		return "Invalid ranges resource"
	}
	sorted := slices.SortedFunc(slices.Values(r.Ranges), compareRanges)
	for i, x := range sorted {
		if x.Begin > x.End {
			return "Invalid ranges resource: begin > end"
		}
		if i > 0 && x.Begin <= sorted[i-1].End {
			return "Invalid ranges resource: overlapping ranges"
		}
	}
	return ""
}

func (r Resource) setFault() string {
	if r.Scalar != 0 || len(r.Ranges) > 0 {
		return "Invalid set resource"
	}
	sorted := slices.Sorted(slices.Values(r.Set))
	if len(slices.Compact(sorted)) != len(r.Set) {
		return "Invalid set resource: duplicated elements"
	}
	return ""
}

func (r Resource) diskFault() string {
	if r.Disk == nil {
		return ""
	}
	if r.Name != "disk" {
		return "DiskInfo should not be set for " + r.Name + " resource"
	}
	if reason := r.Disk.Volume.fault(); reason != "" {
		return reason
	}
	return r.Disk.Source.fault()
}

func (v *Volume) fault() string {
	if v == nil || v.Mode == RW || v.Mode == RO {
		return ""
	}
	return "Unsupported volume mode " + shorten(string(v.Mode))
}

func (s *Source) fault() string {
	if s == nil {
		return ""
	}
	switch s.Type {
	case SourcePath, SourceMount:
		return ""
	case SourceBlock, SourceRaw:
		if s.Path != nil || s.Mount != nil {
			return "Path and mount should not be set for " + string(s.Type) + " disk source"
		}
		return ""
	}
	return "Unsupported 'DiskInfo.Source.Type' " + shorten(string(s.Type))
}

func (r Resource) stackFault() string {
	for i, reservation := range r.Reservations {
		if reason := reservation.fault(); reason != "" {
			return reason
		}
		if i == 0 {
			continue
		}
		if reason := refinementFault(r.Reservations[i-1], reservation); reason != "" {
			return "Invalid refined reservation: " + reason
		}
	}
	return ""
}

func (r Reservation) fault() string {
	if r.Type != Static && r.Type != Dynamic {
		return "Invalid reservation: unsupported type " + shorten(string(r.Type))
	}
	if err := CheckRole(r.Role); err != nil {
		return "Invalid reservation: " + err.Error()
	}
	if r.Role == "*" {
		return `Invalid reservation: role "*" cannot be reserved`
	}
	return ""
}

func refinementFault(lower, upper Reservation) string {
	if upper.Type == Static {
		return "A refined reservation cannot be STATIC"
	}
	if !IsStrictSubRole(upper.Role, lower.Role) {
		return "role '" + upper.Role + "' is not a refinement of '" + lower.Role + "'"
	}
	return ""
}

func (r Resource) sharedFault() string {
	switch {
	case !r.Shared:
		return ""
	case r.Name != "disk":
		return "Resource " + r.Name + " cannot be shared"
	case !r.IsVolume():
		return "Only persistent volumes can be shared"
	}
	return ""
}

// textFault refuses what JSON could not carry back: two different strings of bad UTF-8
// would read back as one.
func (r Resource) textFault() string {
	for _, s := range r.texts() {
		if !utf8.ValidString(s) {
			return "text " + shorten(s) + " is not valid UTF-8"
		}
		if strings.ContainsRune(s, 0) {
			return "text " + shorten(s) + " contains a NUL"
		}
	}
	return ""
}

// texts are all strings of r that no other rule covers.
func (r Resource) texts() []string {
	texts := append([]string{r.Name, r.Allocation, r.Provider}, r.Set...)
	for _, reservation := range r.Reservations {
		texts = append(texts, orEmpty(reservation.Principal))
		texts = appendLabels(texts, reservation.Labels)
	}
	if r.Disk == nil {
		return texts
	}
	if p := r.Disk.Persistence; p != nil {
		texts = append(texts, p.ID, orEmpty(p.Principal))
	}
	if v := r.Disk.Volume; v != nil {
		texts = append(texts, v.ContainerPath, orEmpty(v.HostPath))
	}
	return append(texts, r.Disk.Source.texts()...)
}

func (s *Source) texts() []string {
	if s == nil {
		return nil
	}
	texts := []string{orEmpty(s.ID), orEmpty(s.Profile), orEmpty(s.Vendor)}
	for _, root := range []*Root{s.Path, s.Mount} {
		if root != nil {
			texts = append(texts, orEmpty(root.Root))
		}
	}
	return appendLabels(texts, s.Metadata)
}

func appendLabels(texts []string, labels []Label) []string {
	for _, l := range labels {
		texts = append(texts, l.Key, orEmpty(l.Value))
	}
	return texts
}

// ValidateDisk says whether what r's disk says about volumes makes sense (spec.md 1.6).
// The message is Mesos' text of the rule; callers put "Invalid DiskInfo: " before it.
func (r Resource) ValidateDisk() error {
	d := r.Disk
	switch {
	case d == nil:
		return nil
	case d.Persistence != nil:
		return r.validatePersistence()
	case d.Volume != nil:
		return r.refused("Non-persistent volume not supported")
	case d.Source == nil:
		return r.refused("DiskInfo is set but empty")
	}
	return nil
}

func (r Resource) validatePersistence() error {
	switch v := r.Disk.Volume; {
	case r.Revocable:
		return r.refused("Persistent volumes cannot be created from revocable resources")
	case len(r.Reservations) == 0:
		return r.refused("Persistent volumes cannot be created from unreserved resources")
	case v == nil:
		return r.refused("Expecting 'volume' to be set for persistent volume")
	case v.HostPath != nil:
		return r.refused("Expecting 'host_path' to be unset for persistent volume")
	}
	if err := CheckID(r.Disk.Persistence.ID); err != nil {
		return r.refused("Invalid persistence ID for persistent volume: %s", err)
	}
	return nil
}

// ValidateList applies the checks that every list of resources in an operation meets
// first, in Mesos' order and with its texts (spec.md 3.3).
func ValidateList(list []Resource) error {
	checks := []struct {
		prefix string
		check  func(Resource) error
	}{
		{"Invalid resources: ", Resource.Validate},
		{"Invalid 'gpus' resource: ", Resource.validateGPUs},
		{"Invalid DiskInfo: ", Resource.ValidateDisk},
		{"Invalid ReservationInfo: ", Resource.validateRevocable},
	}
	for _, c := range checks {
		for _, r := range list {
			if err := c.check(r); err != nil {
				return r.refused("%s%s", c.prefix, err)
			}
		}
	}
	return nil
}

func (r Resource) validateGPUs() error {
	if r.Name == "gpus" && r.Scalar%One != 0 {
		return r.refused("The 'gpus' resource must be an unsigned integer")
	}
	return nil
}

func (r Resource) validateRevocable() error {
	if r.Revocable && r.IsDynamicallyReserved() {
		return r.refused("Dynamically reserved resource %s cannot be created from revocable resources", r)
	}
	return nil
}
