package wire

import (
	"tenon/agent/resource"
	"tenon/agent/volume"
)

// FromMesos turns Mesos' operations into those of the agent: a CREATE or DESTROY of
// several volumes becomes one for each. What this agent cannot do is ErrInvalid.
func FromMesos(ops []resource.Operation) ([]volume.Operation, error) {
	if len(ops) == 0 {
		return nil, refuse("there is no operation in the request")
	}
	var all []volume.Operation
	for _, op := range ops {
		if err := op.Validate(); err != nil {
			return nil, &volume.Error{Kind: volume.ErrInvalid, Message: err.Error(), Cause: err}
		}
		some, err := fromMesos(op)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	return all, nil
}

// fromMesos needs a valid operation.
func fromMesos(op resource.Operation) (ops []volume.Operation, err error) {
	switch op.Type {
	case resource.OpReserve:
		if len(op.Reserve.Source) > 0 {
			return nil, refuse("RESERVE with a source is not supported by this version; unreserve and reserve instead")
		}
		return []volume.Operation{volume.Reserve{Resources: op.Reserve.Resources}}, nil
	case resource.OpUnreserve:
		return []volume.Operation{volume.Unreserve{Resources: op.Unreserve.Resources}}, nil
	case resource.OpCreate:
		for _, r := range op.Create.Volumes {
			ops = append(ops, volume.Create{Volume: r, Owner: defaultOwner})
		}
		return ops, nil
	case resource.OpDestroy:
		for _, r := range op.Destroy.Volumes {
			ops = append(ops, volume.Destroy{Volume: r})
		}
		return ops, nil
	}
	return nil, refuse("%s is not supported by this version; volumes keep their size", op.Type)
}
