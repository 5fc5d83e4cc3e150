package volume

// Undo makes the changes that take back what a batch of operations has recorded, when
// its steps could not be done: volumes that were to be made get a tombstone, new
// attachments are detached, raised claims are claims again, new tasks are released.
// before is the version that the batch was applied to, now the newest one. What was
// there before the batch, and what was to be removed, stays as it is.
func Undo(before, now *State, touched []Unit) []Change {
	var changes []Change
	for _, u := range touched {
		switch u.Kind {
		case VolumeUnit:
			changes = append(changes, undoVolume(before, now, u)...)
		case AttachmentUnit:
			changes = append(changes, undoAttachment(before, now, u)...)
		case TaskUnit:
			changes = append(changes, undoTask(before, now, u)...)
		}
	}
	return changes
}

func undoVolume(before, now *State, u Unit) []Change {
	_, old := before.Volume(u.Volume)
	v, ok := now.Volume(u.Volume)
	if old || !ok || v.Phase == Destroying || len(now.Holders(v.UUID)) > 0 {
		return nil
	}
	end := *v
	end.Phase = Destroying
	return []Change{{Volume: &end}}
}

func undoAttachment(before, now *State, u Unit) []Change {
	a, ok := now.Attachment(u)
	if !ok || a.Gone {
		return nil
	}
	if old, had := before.Attachment(u); had {
		if *old == *a {
			return nil
		}
		claim := *old
		return []Change{{Attachment: &claim}}
	}
	end := *a
	end.Gone = true
	return []Change{{Attachment: &end}}
}

// undoTask releases a task that the batch made, and with it whatever came to it since.
func undoTask(before, now *State, u Unit) []Change {
	_, old := before.Task(u.Task)
	t, ok := now.Task(u.Task)
	if old || !ok || t.Releasing {
		return nil
	}
	var changes []Change
	for a := range now.AttachmentsIn(t.ID) {
		if !a.Gone {
			gone := *a
			gone.Gone = true
			changes = append(changes, Change{Attachment: &gone})
		}
	}
	end := *t
	end.Releasing = true
	return append(changes, Change{Task: &end})
}
