package resource

func (o Operation) grows(Set) ([]conversion, error) {
	v, addition := o.GrowVolume.Volume, o.GrowVolume.Addition
	disk := v.StripVolume()
	grown := v
	sum, ok := v.Scalar.Add(addition.Scalar)
	grown.Scalar = sum
	switch {
	case !v.IsVolume():
		return nil, v.refused("Invalid persistent volume in the 'GrowVolume.volume' field: Not a persistent volume: %s", v)
	case addition.IsEmpty():
		return nil, addition.refused("The size of 'GrowVolume.addition' field must be greater than zero")
	case v.Provider != "":
		return nil, v.refused("Growing a volume from a resource provider is not supported")
	case v.Shared:
		return nil, v.refused("Growing a shared persistent volume is not supported")
	case !Addable(disk, addition) || v.Type != TypeScalar:
		return nil, v.refused("Incompatible resources in the 'GrowVolume.volume' and 'GrowVolume.addition' fields: %s and %s", v, addition)
	case !ok:
		return nil, v.refused("volume %s and %s are more than %s together", v, addition, MaxScalar)
	}
	return []conversion{{consumed: SetOf(v, addition), converted: SetOf(grown)}}, nil
}

func (o Operation) shrinks(Set) ([]conversion, error) {
	v, subtract := o.ShrinkVolume.Volume, o.ShrinkVolume.Subtract
	shrunk, freed := v, v.StripVolume()
	shrunk.Scalar, freed.Scalar = v.Scalar-subtract, subtract
	switch {
	case subtract <= 0:
		return nil, v.refused("Value of 'ShrinkVolume.subtract' must be greater than zero")
	case subtract >= v.Scalar:
		return nil, v.refused("Value of 'ShrinkVolume.subtract' must be smaller than the size of 'ShrinkVolume.volume'")
	case v.Provider != "":
		return nil, v.refused("Shrinking a volume from a resource provider is not supported")
	case v.indivisible():
		return nil, v.refused("Shrinking a volume on a %s disk is not supported", v.Disk.Source.Type)
	case !v.IsVolume():
		return nil, v.refused("Invalid persistent volume in the 'ShrinkVolume.volume' field: Not a persistent volume: %s", v)
	case v.Shared:
		return nil, v.refused("Shrinking a shared persistent volume is not supported")
	}
	return []conversion{{consumed: SetOf(v), converted: SetOf(shrunk, freed)}}, nil
}

// launches gives each task its copy of the shared volumes that it names. One copy in s is
// enough for any number of tasks (spec.md 3.10), in a group as in single ones.
func (o Operation) launches(s Set) ([]conversion, error) {
	if err := o.validateExecutors(); err != nil {
		return nil, err
	}
	var offered, needed Set
	tasks, _ := o.tasks()
	for _, task := range tasks {
		for _, r := range SetOf(task.Resources...).Shared().Resources() {
			needed = needed.Add(r)
			if offered.Count(r) == 0 {
				offered = offered.Add(r)
			}
		}
	}
	if !s.ContainsSet(offered) {
		return nil, invalidf("%s does not contain %s", s, offered)
	}
	return []conversion{{converted: needed.SubtractSet(s)}}, nil
}

// validateExecutors refuses executors that hold shared volumes: they outlive the tasks
// whose copies they would count as.
func (o Operation) validateExecutors() error {
	executors := []*ExecutorInfo{}
	if o.LaunchGroup != nil {
		executors = append(executors, o.LaunchGroup.Executor)
	}
	tasks, _ := o.tasks()
	for _, task := range tasks {
		executors = append(executors, task.Executor)
	}
	for _, e := range executors {
		if e == nil {
			continue
		}
		if shared := SetOf(e.Resources...).Shared(); shared.Len() > 0 {
			return invalidf("Executor resources %s should not contain any shared resources", SetOf(e.Resources...))
		}
	}
	return nil
}
