package wire

import (
	"encoding/json"
	"strings"

	"tenon/agent/resource"
	"tenon/agent/volume"
)

// Resources is what an agent has, in the words of Mesos' /state (spec.md 9.2), and with
// what masters and allocators need beyond them. An aggregate and a quantity count each
// volume once, however many tasks hold it.
type Resources struct {
	Agent string `json:"agent"` // the agent's identity
	Index uint64 `json:"index"` // version of the state

	Resources           Aggregate            `json:"resources"`
	ReservedResources   map[string]Aggregate `json:"reserved_resources"` // by the last role of the stack
	UnreservedResources Aggregate            `json:"unreserved_resources"`

	ReservedResourcesFull   map[string][]Endpoint `json:"reserved_resources_full"`
	UnreservedResourcesFull []Endpoint            `json:"unreserved_resources_full"`

	ReservedResourcesAllocated   map[string]Aggregate `json:"reserved_resources_allocated"` // roles in use only
	UnreservedResourcesAllocated Aggregate            `json:"unreserved_resources_allocated"`
	Attributes                   Aggregate            `json:"attributes"` // of a name that occurs twice, the last

	Total     []Copies  `json:"total"`     // each volume once
	Reserved  []Copies  `json:"reserved"`  // of the total, what is reserved to any role
	Allocated []Copies  `json:"allocated"` // volumes that tasks hold, as often as there are holders
	Used      Aggregate `json:"used"`      // by tasks
	Offerable []Copies  `json:"offerable"` // what may be given to tasks now
}

// Copies is a resource that is there so many times at once; only of a shared volume is it
// more than once.
type Copies struct {
	Resource resource.Resource `json:"resource"`
	Copies   int               `json:"copies"`
}

// Endpoint is a resource in Mesos' endpoint format, which has both reservation formats.
type Endpoint struct{ resource.Resource }

// MarshalJSON writes the endpoint format.
func (e Endpoint) MarshalJSON() ([]byte, error) { return e.MarshalEndpoint() }

// Aggregate is how much there is by name.
type Aggregate map[string]Quantity

// Quantity is a number, or of ranges and sets their text.
type Quantity struct {
	Scalar resource.Scalar // where there is no text
	Text   string
}

// MarshalJSON writes a number or a string.
func (q Quantity) MarshalJSON() ([]byte, error) {
	if q.Text != "" {
		return json.Marshal(q.Text)
	}
	return q.Scalar.MarshalJSON()
}

// UnmarshalJSON reads a number or a string.
func (q *Quantity) UnmarshalJSON(data []byte) (err error) {
	if strings.HasPrefix(string(data), `"`) {
		return json.Unmarshal(data, &q.Text)
	}
	amount, negative := strings.CutPrefix(string(data), "-")
	q.Scalar, err = resource.ParseScalar(amount)
	if negative {
		q.Scalar = -q.Scalar
	}
	return err
}

// ResourcesOf makes the view of an agent's resources. With a role, what is offerable is what
// may be given to that role; without shared, there is no shared volume anywhere in it. What
// view hides is left out everywhere.
func ResourcesOf(s *volume.State, role string, shared bool, view View) Resources {
	w := Resources{
		Agent: s.Agent, Index: s.Version, Attributes: attributesOf(s.Host.Attributes),
		ReservedResourcesFull: map[string][]Endpoint{}, UnreservedResourcesFull: []Endpoint{},
		Total: []Copies{}, Reserved: []Copies{}, Allocated: []Copies{}, Offerable: []Copies{},
	}
	var total, used tally
	for r := range s.Total(shared) {
		if !view.Reserved(r.Reservations) {
			continue
		}
		total.add(r)
		w.Total = append(w.Total, Copies{r, 1})
		if r.IsReserved() {
			w.Reserved = append(w.Reserved, Copies{r, 1})
			w.ReservedResourcesFull[r.Role()] = append(w.ReservedResourcesFull[r.Role()], Endpoint{r})
		} else {
			w.UnreservedResourcesFull = append(w.UnreservedResourcesFull, Endpoint{r})
		}
	}
	for r, n := range s.Allocated(shared) {
		if view.Reserved(r.Reservations) {
			used.add(r)
			w.Allocated = append(w.Allocated, Copies{r, n})
		}
	}
	for r := range s.Offerable(role, shared) {
		if view.Reserved(r.Reservations) {
			w.Offerable = append(w.Offerable, Copies{r, 1})
		}
	}
	w.Resources, w.ReservedResources, w.UnreservedResources = total.aggregates()
	w.Used, w.ReservedResourcesAllocated, w.UnreservedResourcesAllocated = used.aggregates()
	return w
}

// tally adds resources up. Disk, of which there may be many volumes, is a mere sum; of the
// rest there is little.
type tally struct {
	disk map[string]resource.Scalar // by role
	rest resource.Set
}

func (t *tally) add(r resource.Resource) {
	if r.Name != "disk" || r.Type != resource.TypeScalar {
		t.rest = t.rest.Add(r)
		return
	}
	if t.disk == nil {
		t.disk = map[string]resource.Scalar{}
	}
	t.disk[r.Role()] += r.Scalar
}

// aggregates gives what was added: all of it, what is reserved by role, and what is not.
func (t *tally) aggregates() (all Aggregate, reserved map[string]Aggregate, unreserved Aggregate) {
	all, unreserved, reserved = aggregateOf(t.rest), aggregateOf(t.rest.Unreserved()), map[string]Aggregate{}
	ofRole := func(role string) Aggregate {
		if reserved[role] == nil {
			reserved[role] = aggregateOf(t.rest.Reserved(role))
		}
		return reserved[role]
	}
	for r := range t.rest.Reserved("").All() {
		ofRole(r.Role())
	}
	for role, n := range t.disk {
		part := unreserved
		if role != "*" {
			part = ofRole(role)
		}
		part.addDisk(n)
		all.addDisk(n)
	}
	return all, reserved, unreserved
}

func (a Aggregate) addDisk(n resource.Scalar) { a["disk"] = Quantity{Scalar: a["disk"].Scalar + n} }

// aggregateOf says how much there is of each name; Mesos says of four names that there is
// none.
func aggregateOf(set resource.Set) Aggregate {
	a := Aggregate{"cpus": {}, "gpus": {}, "mem": {}, "disk": {}}
	for r := range set.Flatten().All() {
		_, text, _ := strings.Cut(resource.Resource{Type: r.Type, Ranges: r.Ranges, Set: r.Set}.String(), ":")
		if r.Type == resource.TypeScalar {
			a[r.Name] = Quantity{Scalar: a[r.Name].Scalar + r.Scalar}
		} else {
			a[r.Name] = Quantity{Text: text}
		}
	}
	return a
}

func attributesOf(list []resource.Attribute) Aggregate {
	a := Aggregate{}
	for _, x := range list {
		switch x.Type {
		case resource.TypeScalar:
			a[x.Name] = Quantity{Scalar: x.Scalar}
		case resource.TypeText:
			a[x.Name] = Quantity{Text: x.Text}
		default:
			_, text, _ := strings.Cut(resource.Resource{Type: x.Type, Ranges: x.Ranges, Set: x.Set}.String(), ":")
			a[x.Name] = Quantity{Text: text}
		}
	}
	return a
}
