package resource

import (
	"encoding/json"
	"fmt"
)

// MarshalJSON writes o with its resources in the new reservation format. An operation
// that Validate refuses is an error.
func (o Operation) MarshalJSON() ([]byte, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	w := wireOperation{Type: o.Type}
	if o.ID != "" {
		w.ID = &wireValue{Value: o.ID}
	}
	switch o.Type {
	case OpReserve:
		w.Reserve = &wireReserve{Resources: wireList(o.Reserve.Resources), Source: wireList(o.Reserve.Source)}
	case OpUnreserve:
		w.Unreserve = &wireResources{Resources: wireList(o.Unreserve.Resources)}
	case OpCreate:
		w.Create = &wireVolumes{Volumes: wireList(o.Create.Volumes)}
	case OpDestroy:
		w.Destroy = &wireVolumes{Volumes: wireList(o.Destroy.Volumes)}
	case OpGrowVolume:
		w.Grow = &wireGrow{Volume: *o.GrowVolume.Volume.wire(), Addition: *o.GrowVolume.Addition.wire()}
	case OpShrinkVolume:
		subtract := json.RawMessage(o.ShrinkVolume.Subtract.String())
		w.Shrink = &wireShrink{Volume: *o.ShrinkVolume.Volume.wire(), Subtract: wireScalar{Value: subtract}}
	case OpLaunch:
		w.Launch = &wireLaunch{Tasks: wireTasks(o.Launch.Tasks)}
	case OpLaunchGroup:
		w.LaunchGroup = &wireLaunchGroup{Executor: *o.LaunchGroup.Executor.wire(), TaskGroup: wireTaskGroup{wireTasks(o.LaunchGroup.Tasks)}}
	}
	return json.Marshal(w)
}

func wireList(list []Resource) []wireResource {
	var wires []wireResource
	for _, r := range list {
		wires = append(wires, *r.wire())
	}
	return wires
}

// operation converts whatever bodies are there, and leaves it to Validate to say
// whether they are the right ones.
func (w *wireOperation) operation() (o Operation, err error) {
	o.Type = w.Type
	if w.ID != nil {
		o.ID = w.ID.Value
	}
	reads := []func(*Operation) error{w.readLists, w.readGrow, w.readShrink, w.readLaunch, w.readLaunchGroup}
	for _, read := range reads {
		if err := read(&o); err != nil {
			return Operation{}, err
		}
	}
	if err := o.Validate(); err != nil {
		return Operation{}, err
	}
	return o, nil
}

func (w *wireOperation) readLists(o *Operation) (err error) {
	if b := w.Reserve; b != nil {
		o.Reserve = &Reserve{}
		if o.Reserve.Resources, err = resourcesOf("reserve.resources", b.Resources); err != nil {
			return err
		}
		if o.Reserve.Source, err = resourcesOf("reserve.source", b.Source); err != nil {
			return err
		}
	}
	if b := w.Unreserve; b != nil {
		o.Unreserve = &Unreserve{}
		if o.Unreserve.Resources, err = resourcesOf("unreserve.resources", b.Resources); err != nil {
			return err
		}
	}
	if b := w.Create; b != nil {
		o.Create = &Create{}
		if o.Create.Volumes, err = resourcesOf("create.volumes", b.Volumes); err != nil {
			return err
		}
	}
	if b := w.Destroy; b != nil {
		o.Destroy = &Destroy{}
		o.Destroy.Volumes, err = resourcesOf("destroy.volumes", b.Volumes)
	}
	return err
}

func (w *wireOperation) readGrow(o *Operation) (err error) {
	if w.Grow == nil {
		return nil
	}
	o.GrowVolume = &GrowVolume{}
	if o.GrowVolume.Volume, err = w.Grow.Volume.resource(); err != nil {
		return fmt.Errorf("grow_volume.volume: %w", err)
	}
	if o.GrowVolume.Addition, err = w.Grow.Addition.resource(); err != nil {
		return fmt.Errorf("grow_volume.addition: %w", err)
	}
	return nil
}

func (w *wireOperation) readShrink(o *Operation) (err error) {
	if w.Shrink == nil {
		return nil
	}
	o.ShrinkVolume = &ShrinkVolume{}
	if o.ShrinkVolume.Volume, err = w.Shrink.Volume.resource(); err != nil {
		return fmt.Errorf("shrink_volume.volume: %w", err)
	}
	if o.ShrinkVolume.Subtract, err = ParseScalar(string(w.Shrink.Subtract.Value)); err != nil {
		return fmt.Errorf("shrink_volume.subtract: %w", err)
	}
	return nil
}

// resourcesOf upgrades a list entry by entry, since lists of mixed formats exist.
func resourcesOf(where string, wires []wireResource) ([]Resource, error) {
	var list []Resource
	for i := range wires {
		r, err := wires[i].resource()
		if err != nil {
			return nil, fmt.Errorf("%s[%d]: %w", where, i, err)
		}
		list = append(list, r)
	}
	return list, nil
}
