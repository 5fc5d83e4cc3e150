package mastertest

import (
	"encoding/json"

	"tenon/agent/master"
	"tenon/agent/resource"
	"tenon/agent/volume"
)

// Principal is that of the master of the suite, which is called m. Reserve and Create are for it.
const Principal = "master:m"

// Order is an order for an agent, as JSON.
func Order(agent, id string, ops ...resource.Operation) []byte {
	list, err := json.Marshal(ops)
	if err != nil {
		panic(err) // cannot happen: the operations are those of this file
	}
	data, err := json.Marshal(master.Order{ID: id, Agent: agent, Operations: list})
	if err != nil {
		panic(err) // cannot happen: it is a plain struct
	}
	return data
}

// Reserve is an operation that reserves space of the root disk to the role web.
func Reserve(mib resource.Scalar) resource.Operation {
	p := Principal
	return resource.Operation{Type: resource.OpReserve, Reserve: &resource.Reserve{Resources: []resource.Resource{disk(mib, &p)}}}
}

// Create is an operation that makes a shared volume of what Reserve reserved.
func Create(id string, mib resource.Scalar) resource.Operation {
	p := Principal
	return resource.Operation{Type: resource.OpCreate, Create: &resource.Create{Volumes: []resource.Resource{volumeOf(id, mib, &p)}}}
}

// ReservedBy is how much a principal has reserved, what is in volumes counted.
func ReservedBy(s *volume.State, principal string) (sum resource.Scalar) {
	by := func(stack []resource.Reservation) bool {
		n := len(stack)
		return n > 0 && stack[n-1].Principal != nil && *stack[n-1].Principal == principal
	}
	for a := range s.Accounts() {
		if by(a.Reservations) {
			sum += a.Free
		}
	}
	for v := range s.Volumes(volume.Name{}) {
		if by(v.Reservations) {
			sum += v.Size
		}
	}
	return sum
}

func disk(mib resource.Scalar, principal *string) resource.Resource {
	return reservedTo("web", mib, principal)
}

func reservedTo(role string, mib resource.Scalar, principal *string) resource.Resource {
	return resource.Resource{
		Name: "disk", Type: resource.TypeScalar, Scalar: mib * resource.One,
		Reservations: []resource.Reservation{{Type: resource.Dynamic, Role: role, Principal: principal}},
	}
}

func volumeOf(id string, mib resource.Scalar, principal *string) resource.Resource {
	r := disk(mib, principal)
	r.Shared = true
	r.Disk = &resource.Disk{
		Persistence: &resource.Persistence{ID: id, Principal: principal},
		Volume:      &resource.Volume{ContainerPath: id, Mode: resource.RW},
	}
	return r
}
