package etcd

import (
	"encoding/json"
	"fmt"
	"iter"
	"strings"

	"tenon/agent/master"
	"tenon/agent/resource"
	"tenon/agent/wire"
)

// What a value has at most. etcd takes 1.5 MiB in a request, keys and all, unless it is
// configured otherwise.
const (
	maxValue   = 1 << 20 // bytes
	maxHolders = 500     // of a volume
	maxText    = 4 << 10 // bytes of the message of a result that is too large
)

// Status is the value of status. One that is truncated has no reservations, and where that is not
// enough no disks and no faults either, whatever there are.
type Status struct {
	wire.Status
	Truncated bool `json:"truncated,omitempty"`
}

// Volume is the value of volumes/<uuid>. One that is truncated has the first 500 of its holders, and
// where that is not enough no resource, and then no holders; References says how many there are.
type Volume struct {
	wire.Volume
	Resource  *resource.Resource `json:"resource,omitempty"` // in place of that of wire.Volume
	Truncated bool               `json:"truncated,omitempty"`
}

// Task is the value of tasks/<id>. One that is truncated has no attachments, whatever there are.
type Task struct {
	wire.Task
	Truncated bool `json:"truncated,omitempty"`
}

// Result is the value of results/<id>. One that is truncated has the beginning of its message.
type Result struct {
	master.Result
	Truncated bool `json:"truncated,omitempty"`
}

// form is one of the ways in which a value can be written, and what it is without.
type form struct {
	value   any
	without string // words for people; nothing is left out where there are none
}

// whole is the one form of a value that is never too large.
func whole(value any) iter.Seq[form] {
	return func(yield func(form) bool) { yield(form{value: value}) }
}

// statusForms yields a status whole, and then less and less of it.
func statusForms(s wire.Status) iter.Seq[form] {
	return func(yield func(form) bool) {
		if !yield(form{value: Status{Status: s}}) {
			return
		}
		s.Reservations = []wire.Reservation{}
		if !yield(form{Status{s, true}, "reservations"}) {
			return
		}
		s.Disks, s.Faults = []wire.Disk{}, []wire.UnitFault{}
		yield(form{Status{s, true}, "reservations, disks and faults"})
	}
}

// volumeForms yields a volume, and then less and less of it.
func volumeForms(v wire.Volume) iter.Seq[form] {
	return func(yield func(form) bool) {
		w, without := Volume{Volume: v, Resource: &v.Resource}, ""
		if len(v.Holders) > maxHolders {
			w.Holders, w.Truncated = v.Holders[:maxHolders], true
			without = fmt.Sprintf("holders after the first %d", maxHolders)
		}
		if !yield(form{w, without}) {
			return
		}
		w.Resource, w.Truncated = nil, true
		if !yield(form{w, strings.TrimPrefix(without+" and resource", " and ")}) {
			return
		}
		w.Holders = []wire.Holder{}
		yield(form{w, "holders and resource"})
	}
}

// taskForms yields a task, and then one without attachments.
func taskForms(t wire.Task) iter.Seq[form] {
	return func(yield func(form) bool) {
		if yield(form{value: Task{Task: t}}) {
			t.Attachments = []wire.Attachment{}
			yield(form{Task{t, true}, "attachments"})
		}
	}
}

// resultForms yields a result, and then one with a shorter message.
func resultForms(r master.Result) iter.Seq[form] {
	return func(yield func(form) bool) {
		if yield(form{value: Result{Result: r}}) {
			r.Message = strings.ToValidUTF8(r.Message[:min(maxText, len(r.Message))], "")
			yield(form{Result{r, true}, "message"})
		}
	}
}

// fit is the first form that a key can hold, or else the last; lacks says why it is not the whole.
func fit(key string, forms iter.Seq[form]) (data []byte, lacks string, err error) {
	before := ""
	for f := range forms {
		if data, err = json.Marshal(f.value); err != nil {
			return nil, "", err
		}
		if lacks = ""; f.without != "" {
			lacks = fmt.Sprintf("%s is without its %s%s", key, f.without, before)
		}
		if len(data) <= maxValue {
			break
		}
		before = fmt.Sprintf(": with them it has %d bytes, and %d are allowed", len(data), maxValue)
	}
	return data, lacks, nil
}
