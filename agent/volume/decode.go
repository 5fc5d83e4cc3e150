package volume

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"tenon/agent/resource"
)

// Decode reads what Encode wrote. Unknown fields and values, records that hold nothing
// or lack what names their object, and anything behind them are errors: they come from
// a newer version or from damage, and guessing would lose something.
func Decode(data []byte) (Change, error) {
	var c Change
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	err := d.Decode(&c)
	if err == nil {
		err = c.check()
	}
	if _, more := d.Token(); err == nil && more != io.EOF {
		err = errors.New("it goes on behind its end")
	}
	if err != nil {
		return Change{}, fmt.Errorf("record %.80q: %w", data, err)
	}
	return c, nil
}

// check says whether exactly one field is set, to an object that a state may hold.
func (c Change) check() error {
	set := 0
	for _, is := range []bool{c.Agent != "", c.Boot != "", c.Disk != nil, c.Account != nil,
		c.Volume != nil, c.Task != nil, c.Attachment != nil, c.Drop != nil, c.Operation != nil} {
		if is {
			set++
		}
	}
	sound := true
	switch {
	case set != 1:
		return fmt.Errorf("it holds %d changes, not one", set)
	case c.Disk != nil:
		sound = c.Disk.sound()
	case c.Account != nil:
		sound = c.Account.stored()
	case c.Volume != nil:
		sound = c.Volume.sound()
	case c.Task != nil:
		sound = c.Task.sound()
	case c.Attachment != nil:
		sound = c.Attachment.sound()
	case c.Drop != nil:
		sound = c.Drop.sound()
	case c.Operation != nil:
		sound = c.Operation.sound()
	}
	if !sound {
		return errors.New("what it holds is not whole, or not known to this version")
	}
	return nil
}

func (d *Disk) sound() bool {
	return d.Pool != "" && (d.Phase == Creating || d.Phase == Ready)
}

func (v *Volume) sound() bool {
	known := v.Phase == Creating || v.Phase == Ready || v.Phase == Destroying
	return known && v.UUID != "" && v.ID != "" && v.Size > 0 && len(v.Reservations) > 0 &&
		v.Role == v.Reservations[len(v.Reservations)-1].Role && v.soundBack() && v.OnExceed.sound()
}

func (o OnExceed) sound() bool { return o == "" || slices.Contains(OnExceeds(), o) }

// soundBack says whether all of a tombstone's space, and no more, comes back.
func (v *Volume) soundBack() bool {
	left := v.Size
	for _, p := range v.Back {
		if p.Size <= 0 || p.Size > left || v.Phase != Destroying {
			return false
		}
		left -= p.Size
	}
	return len(v.Back) == 0 || left == 0
}

// sound says whether it has an id, and a sandbox unless a process is all that it has.
func (t *Task) sound() bool {
	bare := !t.Own && (t.Lease.PID != 0 || t.Releasing)
	return t.ID != "" && (t.Sandbox != "" || bare)
}

func (a *Attachment) sound() bool {
	known := a.Via == Claimed || a.Via == ByPath || a.Via == ByDescriptor || a.Via == ByNamespace
	inside := a.PID != 0 && a.Start != 0
	known = known && (a.Via == ByNamespace && inside || a.Via == Claimed || a.Via != ByNamespace && !inside)
	return known && (a.Mode == resource.RW || a.Mode == resource.RO) && a.Volume != "" && a.Task != "" && a.Path != ""
}

func (o *OperationStatus) sound() bool {
	known := o.State == OperationPending || o.State == OperationFinished || o.State == OperationFailed
	return known && o.ID != "" && o.Type != "" && o.Digest != ""
}

// sound says whether it names a volume, a task, an attachment, or an operation.
func (d *Drop) sound() bool {
	if d.Operation != "" {
		return *d == Drop{Operation: d.Operation}
	}
	if d.Path != "" {
		return d.Volume != "" && d.Task != ""
	}
	return (d.Volume == "") != (d.Task == "")
}
