package resource

import "encoding/json"

const refinedFault = "Cannot downgrade resources containing refined reservations"

// MarshalJSON writes r in the new reservation format.
func (r Resource) MarshalJSON() ([]byte, error) {
	return json.Marshal(r.wire())
}

// MarshalOld writes r in the old reservation format, for readers that know no other. A
// refined reservation does not fit in it and is an error.
func (r Resource) MarshalOld() ([]byte, error) {
	if len(r.Reservations) > 1 {
		return nil, r.refused("%s", refinedFault)
	}
	w := r.wire()
	w.downgrade()
	w.Reservations = nil
	return json.Marshal(w)
}

// MarshalListOld writes a list in the old reservation format as far as Mesos does: the
// first refined entry and all behind it stay in the new one. Such a mixed list is whole
// and reads back; the error beside it is that of the refined entry.
func MarshalListOld(list []Resource) (data []byte, err error) {
	wires := wireList(list)
	for i := range wires {
		if len(list[i].Reservations) > 1 {
			err = list[i].refused("%s", refinedFault)
			break
		}
		wires[i].downgrade()
		wires[i].Reservations = nil
	}
	if wires == nil {
		wires = []wireResource{}
	}
	data, failed := json.Marshal(wires)
	if failed != nil {
		return nil, failed
	}
	return data, err
}

// MarshalEndpoint writes r as Mesos' HTTP endpoints show it: in both reservation formats
// at once, or in the new one alone when the reservation is refined (spec.md 1.9).
func (r Resource) MarshalEndpoint() ([]byte, error) {
	w := r.wire()
	if len(r.Reservations) <= 1 {
		w.downgrade()
	}
	return json.Marshal(w)
}

// downgrade says what the stack, of one element at most, says in the old format too.
func (w *wireResource) downgrade() {
	role := "*"
	w.Role = &role
	if len(w.Reservations) == 0 {
		return
	}
	single := w.Reservations[0]
	w.Role = single.Role
	if *single.Type == string(Dynamic) {
		w.Reservation = &wireReservation{Principal: single.Principal, Labels: single.Labels}
	}
}

func (r Resource) wire() *wireResource {
	w := &wireResource{Name: r.Name, Type: string(r.Type), Disk: r.Disk.wire()}
	switch r.Type {
	case TypeScalar:
		w.Scalar = &wireScalar{Value: json.RawMessage(r.Scalar.String())}
	case TypeRanges:
		w.Ranges = &wireRanges{}
		for _, x := range r.Ranges {
			w.Ranges.Range = append(w.Ranges.Range, wireRange(x))
		}
	case TypeSet:
		w.Set = &wireSet{Item: r.Set}
	}
	for _, x := range r.Reservations {
		kind, role := string(x.Type), x.Role
		w.Reservations = append(w.Reservations, wireReservation{
			Type: &kind, Role: &role, Principal: x.Principal, Labels: wireLabelsOf(x.Labels),
		})
	}
	w.Revocable, w.Shared = flag(r.Revocable), flag(r.Shared)
	if r.Allocation != "" {
		w.Allocation = &wireRole{Role: r.Allocation}
	}
	if r.Provider != "" {
		w.Provider = &wireValue{Value: r.Provider}
	}
	return w
}

// flag is the empty message whose presence says yes.
func flag(set bool) *struct{} {
	if !set {
		return nil
	}
	return &struct{}{}
}

func wireLabelsOf(labels []Label) *wireLabels {
	if labels == nil {
		return nil
	}
	w := &wireLabels{}
	for _, l := range labels {
		w.Labels = append(w.Labels, wireLabel(l))
	}
	return w
}

func (d *Disk) wire() *wireDisk {
	if d == nil {
		return nil
	}
	w := &wireDisk{Source: d.Source.wire()}
	if d.Persistence != nil {
		w.Persistence = &wirePersistence{ID: d.Persistence.ID, Principal: d.Persistence.Principal}
	}
	if v := d.Volume; v != nil {
		w.Volume = &wireVolume{Mode: string(v.Mode), ContainerPath: v.ContainerPath, HostPath: v.HostPath}
	}
	return w
}

func (s *Source) wire() *wireSource {
	if s == nil {
		return nil
	}
	return &wireSource{
		Type:     string(s.Type),
		Path:     (*wireRoot)(s.Path),
		Mount:    (*wireRoot)(s.Mount),
		ID:       s.ID,
		Metadata: wireLabelsOf(s.Metadata),
		Profile:  s.Profile,
		Vendor:   s.Vendor,
	}
}
