package main

import (
	"fmt"
	"strings"

	"tenon/agent/resource"
)

// describeOperation says in one line what an operation does.
func describeOperation(op resource.Operation) string {
	switch {
	case op.Reserve != nil && len(op.Reserve.Source) > 0:
		return describeMove(*op.Reserve)
	case op.GrowVolume != nil:
		o := op.GrowVolume
		to, _ := o.Volume.Scalar.Add(o.Addition.Scalar) // what is too much the agent refuses
		return "grow " + describeResize(o.Volume, o.Addition.Scalar, to)
	case op.ShrinkVolume != nil:
		o := op.ShrinkVolume
		to, _ := o.Volume.Scalar.Sub(o.Subtract) // as above
		return "shrink " + describeResize(o.Volume, o.Subtract, to)
	case op.Launch != nil:
		return "launch " + describeTasks(op.Launch.Tasks)
	case op.LaunchGroup != nil:
		return "launch as a group " + describeTasks(op.LaunchGroup.Tasks)
	}
	return strings.ToLower(op.Type) + " " + describeAll(op.Resources())
}

func describeAll(list []resource.Resource) string {
	var texts []string
	for _, r := range list {
		texts = append(texts, describeResource(r))
	}
	return strings.Join(texts, ", ")
}

// describeMove says what goes from one reservation to another.
func describeMove(o resource.Reserve) string {
	return fmt.Sprintf("reserve %s, of what is reserved for role %s", describeAll(o.Resources), clean(o.Source[0].Role()))
}

func describeResource(r resource.Resource) string {
	if r.IsVolume() {
		text := fmt.Sprintf("volume %s (%s", volumeName(r), sizeText(r.Scalar.Bytes()))
		if r.Shared {
			text += ", shared"
		}
		return text + ") on disk " + diskName(r)
	}
	text := fmt.Sprintf("%s of disk %s", sizeText(r.Scalar.Bytes()), diskName(r))
	if r.IsReserved() {
		text += " for role " + clean(r.Role())
	}
	return text
}

func describeResize(volume resource.Resource, by, to resource.Scalar) string {
	name := "what is no volume"
	if volume.IsVolume() {
		name = "volume " + volumeName(volume)
	}
	return fmt.Sprintf("%s by %s to %s on disk %s", name, sizeText(by.Bytes()), sizeText(to.Bytes()), diskName(volume))
}

func describeTasks(tasks []resource.TaskInfo) string {
	var texts []string
	for _, t := range tasks {
		text := "task " + clean(t.ID)
		sep := " with "
		for _, r := range t.Resources {
			if r.IsVolume() && r.Disk.Volume != nil {
				use := r.Disk.Volume
				text += fmt.Sprintf("%svolume %s %s at %s", sep, volumeName(r), modeWord(use.Mode), clean(use.ContainerPath))
				sep = ", "
			}
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, "; ")
}

// volumeName is role/id of the volume that a resource is.
func volumeName(r resource.Resource) string {
	return clean(r.Role() + "/" + r.Disk.Persistence.ID)
}

// diskName is what the agent calls the disk that a resource is part of.
func diskName(r resource.Resource) string {
	if r.Disk == nil || r.Disk.Source == nil {
		return rootDisk
	}
	return clean(r.Disk.Source.Key())
}
