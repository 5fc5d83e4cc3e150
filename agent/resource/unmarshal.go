package resource

// UnmarshalJSON reads a resource as Mesos writes it, in the old reservation format, the
// new one, or the endpoint format that has both and must then agree (spec.md 1.9). It is
// strict: an unknown, repeated, missing or null field is an error that names it. Enum
// values and numbers are checked here, everything else by Validate.
func (r *Resource) UnmarshalJSON(data []byte) error {
	var w wireResource
	if err := resourceShape.decode(data, &w); err != nil {
		return invalidf("resource: %s", err)
	}
	read, err := w.resource()
	if err != nil {
		return err
	}
	*r = read
	return nil
}

func (w *wireResource) resource() (Resource, error) {
	r := Resource{
		Name:      w.Name,
		Type:      Type(w.Type),
		Disk:      w.Disk.disk(),
		Revocable: w.Revocable != nil,
		Shared:    w.Shared != nil,
	}
	if err := w.readIDs(&r); err != nil {
		return Resource{}, err
	}
	r.Reservations = stackOf(w.Reservations)
	if reason := w.formatFault(); reason != "" {
		return Resource{}, r.invalid("%s", reason)
	}
	if len(r.Reservations) == 0 {
		r.Reservations = w.upgraded()
	}
	if reason := w.readValue(&r); reason != "" {
		return Resource{}, r.invalid("%s", reason)
	}
	if reason := r.enumFault(); reason != "" {
		return Resource{}, r.invalid("%s", reason)
	}
	return r, nil
}

func (w *wireResource) readIDs(r *Resource) error {
	if w.Allocation != nil {
		if r.Allocation = w.Allocation.Role; r.Allocation == "" {
			return r.invalid("'allocation_info.role' must not be empty")
		}
	}
	if w.Provider != nil {
		if r.Provider = w.Provider.Value; r.Provider == "" {
			return r.invalid("'provider_id.value' must not be empty")
		}
	}
	return nil
}

// readValue reads the one value that r's type calls for, and refuses any other.
func (w *wireResource) readValue(r *Resource) (reason string) {
	if reason := r.typeFault(); reason != "" {
		return reason
	}
	scalar, ranges, set := w.Scalar != nil, w.Ranges != nil, w.Set != nil
	switch r.Type {
	case TypeScalar:
		if !scalar || ranges || set {
			return "Invalid scalar resource"
		}
		return w.readScalar(r)
	case TypeRanges:
		if scalar || !ranges || set {
			return "Invalid ranges resource"
		}
		r.Ranges = w.Ranges.list()
	case TypeSet:
		if scalar || ranges || !set {
			return "Invalid set resource"
		}
		r.Set = w.Set.Item
	}
	return ""
}

func (w *wireRanges) list() []Range {
	var list []Range
	for _, x := range w.Range {
		list = append(list, Range(x))
	}
	return list
}

func (w *wireResource) readScalar(r *Resource) (reason string) {
	amount, err := ParseScalar(string(w.Scalar.Value))
	if err != nil {
		return "Invalid scalar resource: " + err.Error()
	}
	r.Scalar = amount
	return ""
}

// enumFault checks the enumerations, which readers of protobuf know by name only.
func (r Resource) enumFault() string {
	for _, reservation := range r.Reservations {
		if reservation.Type != Static && reservation.Type != Dynamic {
			return reservation.fault()
		}
	}
	if r.Disk == nil {
		return ""
	}
	if reason := r.Disk.Volume.fault(); reason != "" {
		return reason
	}
	return r.Disk.Source.fault()
}

// formatFault checks that the old and the new reservation format are each sound and,
// where both are there, agree (spec.md 1.8).
func (w *wireResource) formatFault() string {
	switch len(w.Reservations) {
	case 0:
		return w.oldFault()
	case 1:
		if reason := w.Reservations[0].missing(); reason != "" {
			return reason
		}
		return w.endpointFault()
	}
	for _, reservation := range w.Reservations {
		if reason := reservation.missing(); reason != "" {
			return reason
		}
	}
	if w.Role != nil || w.Reservation != nil {
		return "Invalid resource format: 'Resource.role' and 'Resource.reservation' must not be set " +
			"if there is more than one reservation in 'Resource.reservations'"
	}
	return ""
}

func (w *wireResource) oldFault() string {
	if role := w.Role; role != nil {
		if err := CheckRole(*role); err != nil {
			return "Invalid reservation: " + err.Error()
		}
	}
	old := w.Reservation
	switch {
	case old == nil:
		return ""
	case old.Type != nil:
		return "'Resource.ReservationInfo.type' must not be set for the 'Resource.reservation' field"
	case old.Role != nil:
		return "'Resource.ReservationInfo.role' must not be set for the 'Resource.reservation' field"
	case w.Role == nil || *w.Role == "*":
		return `Invalid reservation: role "*" cannot be dynamically reserved`
	}
	return ""
}

func (r wireReservation) missing() string {
	switch {
	case r.Type == nil:
		return "Invalid reservation: 'type' is not set in 'Resource.reservations'"
	case r.Role == nil:
		return "Invalid reservation: 'role' is not set in 'Resource.reservations'"
	}
	return ""
}

// endpointFault compares a single reservation with the same in the old format.
func (w *wireResource) endpointFault() string {
	const format = "Invalid resource format: "
	single, old := w.Reservations[0], w.Reservation
	if w.Role != nil && *w.Role != *single.Role {
		return format + "'Resource.role' '" + *w.Role + "' does not match the role '" + *single.Role +
			"' in 'Resource.reservations'"
	}
	if *single.Type == string(Static) {
		if old != nil {
			return format + "'Resource.reservation' must not be set if the single reservation in " +
				"'Resource.reservations' is STATIC"
		}
		return ""
	}
	switch {
	case (w.Role != nil) != (old != nil):
		return format + "'Resource.role' and 'Resource.reservation' must either be both set or both not set " +
			"if the single reservation in 'Resource.reservations' is DYNAMIC"
	case old == nil:
		return ""
	case old.Type != nil || old.Role != nil:
		return format + "'type' and 'role' must not be set in 'Resource.reservation'"
	case !equalOptional(old.Principal, single.Principal):
		return format + "'Resource.reservation.principal' does not match the one in 'Resource.reservations'"
	case !equalLabels(old.Labels.list(), single.Labels.list()):
		return format + "'Resource.reservation.labels' do not match those in 'Resource.reservations'"
	}
	return ""
}

// upgraded is the stack that the old format stands for.
func (w *wireResource) upgraded() []Reservation {
	if w.Role == nil || *w.Role == "*" {
		return nil
	}
	if w.Reservation == nil {
		return []Reservation{{Type: Static, Role: *w.Role}}
	}
	return []Reservation{{
		Type:      Dynamic,
		Role:      *w.Role,
		Principal: w.Reservation.Principal,
		Labels:    w.Reservation.Labels.list(),
	}}
}

func stackOf(list []wireReservation) []Reservation {
	var stack []Reservation
	for _, w := range list {
		stack = append(stack, Reservation{
			Type:      ReservationType(orEmpty(w.Type)),
			Role:      orEmpty(w.Role),
			Principal: w.Principal,
			Labels:    w.Labels.list(),
		})
	}
	return stack
}

// list is nil for labels that are not there, and not for an empty list of them.
func (w *wireLabels) list() []Label {
	if w == nil {
		return nil
	}
	labels := make([]Label, len(w.Labels))
	for i, l := range w.Labels {
		labels[i] = Label(l)
	}
	return labels
}

func (w *wireDisk) disk() *Disk {
	if w == nil {
		return nil
	}
	d := &Disk{Source: w.Source.source()}
	if w.Persistence != nil {
		d.Persistence = &Persistence{ID: w.Persistence.ID, Principal: w.Persistence.Principal}
	}
	if v := w.Volume; v != nil {
		d.Volume = &Volume{ContainerPath: v.ContainerPath, HostPath: v.HostPath, Mode: Mode(v.Mode)}
	}
	return d
}

func (w *wireSource) source() *Source {
	if w == nil {
		return nil
	}
	return &Source{
		Type:     SourceType(w.Type),
		Path:     (*Root)(w.Path),
		Mount:    (*Root)(w.Mount),
		ID:       w.ID,
		Metadata: w.Metadata.list(),
		Profile:  w.Profile,
		Vendor:   w.Vendor,
	}
}
