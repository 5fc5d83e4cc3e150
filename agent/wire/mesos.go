package wire

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	"tenon/agent/resource"
	"tenon/agent/volume"
)

// FromMesos turns Mesos' operations into those of the agent: one of several volumes or
// tasks becomes one for each, and one with an id becomes Identified. principal is that of
// whoever asks, empty when unknown. What makes no sense is ErrInvalid.
func FromMesos(ops []resource.Operation, principal string) ([]volume.Operation, error) {
	if len(ops) == 0 {
		return nil, refuse("there is no operation in the request")
	}
	var all []volume.Operation
	for _, op := range ops {
		if err := op.Validate(); err != nil {
			return nil, &volume.Error{Kind: volume.ErrInvalid, Message: err.Error(), Cause: err}
		}
		some, err := fromMesos(op, principal)
		if err != nil {
			return nil, err
		}
		if op.ID != "" {
			some = []volume.Operation{volume.Identified{
				ID: op.ID, Type: op.Type, Digest: digest(op), Principal: principal, Operations: some,
			}}
		}
		all = append(all, some...)
	}
	return all, nil
}

// digest names all that a valid operation asks for.
func digest(op resource.Operation) string {
	data, err := json.Marshal(op)
	if err != nil {
		panic(err) // cannot happen: it is valid
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// fromMesos needs a valid operation.
func fromMesos(op resource.Operation, principal string) (ops []volume.Operation, err error) {
	switch op.Type {
	case resource.OpReserve:
		return []volume.Operation{volume.Reserve{Resources: op.Reserve.Resources, Source: op.Reserve.Source, Principal: principal}}, nil
	case resource.OpUnreserve:
		return []volume.Operation{volume.Unreserve{Resources: op.Unreserve.Resources}}, nil
	case resource.OpCreate:
		for _, r := range op.Create.Volumes {
			ops = append(ops, volume.Create{Volume: r, Owner: defaultOwner, Principal: principal})
		}
	case resource.OpDestroy:
		for _, r := range op.Destroy.Volumes {
			ops = append(ops, volume.Destroy{Volume: r})
		}
	case resource.OpGrowVolume:
		return []volume.Operation{volume.Grow{Volume: op.GrowVolume.Volume, Addition: op.GrowVolume.Addition}}, nil
	case resource.OpShrinkVolume:
		return []volume.Operation{volume.Shrink{Volume: op.ShrinkVolume.Volume, Subtract: op.ShrinkVolume.Subtract}}, nil
	case resource.OpLaunch:
		return launches(op.Launch.Tasks)
	case resource.OpLaunchGroup:
		if e := op.LaunchGroup.Executor; e != nil {
			if err := checkExecutor(*e); err != nil {
				return nil, err
			}
		}
		return launches(op.LaunchGroup.Tasks)
	}
	return ops, nil
}

func launches(tasks []resource.TaskInfo) (ops []volume.Operation, err error) {
	for _, t := range tasks {
		if t.Executor != nil {
			if err := checkExecutor(*t.Executor); err != nil {
				return nil, err
			}
		}
		ops = append(ops, volume.Launch{Task: t.ID, Resources: t.Resources})
	}
	return ops, nil
}

// checkExecutor refuses shared volumes that would outlive the tasks that they are counted
// by (spec.md 3.10).
func checkExecutor(e resource.ExecutorInfo) error {
	for _, r := range e.Resources {
		if r.Shared {
			return refuse("Executor resources %s should not contain any shared resources", r)
		}
	}
	return nil
}
