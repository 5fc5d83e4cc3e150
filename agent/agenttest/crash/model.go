package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// object is what the model knows of one volume, one role's reservation or one operation
// with an id. Its zero value is what there is before anything is asked.
type object struct {
	there   bool
	uuid    string // empty until an answer tells it
	shared  bool
	size    int64
	holders string // as in Answer
}

// step tells what an object may be after a call that was answered so; nothing, if the call
// cannot have been answered so.
func step(o object, ask Ask, answer Answer) []object {
	if answer.Kind == kindUnknown {
		return append([]object{o}, effect(o, ask, answer)...)
	}
	if answer.Kind == kindOK || answer.Kind == kindNotFound && ask.Do == doCreate { // made, and destroyed before the answer
		return effect(o, ask, answer)
	}
	var next []object
	if mayRefuse(o, ask, answer.Kind) {
		next = append(next, o)
	}
	if answer.Kind == kindNotFound && ask.Do == doResize { // it was destroyed before the answer was made
		next = append(next, effect(o, ask, answer)...)
	}
	return next
}

// effect is what a call does if it is done; nothing, if it could not be done.
func effect(o object, ask Ask, answer Answer) []object {
	held := o.has(ask.Task)
	switch ask.Do {
	case markCut:
		o.holders = ""
		return []object{o}
	case doReserve, doOnce:
		return effectOnSpace(o, ask.Do, ask.Size)
	case doUnreserve:
		return effectOnSpace(o, ask.Do, -ask.Size)
	case doCreate:
		return when(!o.there, object{there: true, uuid: answer.UUID, shared: ask.Shared, size: ask.Size})
	case doDestroy:
		return when(o.holders == "", object{}) // also by somebody else, who was first
	case doResize:
		may := o.there && (ask.Size >= o.size || o.holders == "")
		o.size = ask.Size
		return when(may, o)
	case doAttach, doClaim:
		return when(o.there && (o.shared || held || o.holders == ""), o.with(ask.Task))
	case doDetach, doRelease:
		return when(held, o.without(ask.Task))
	case doLook:
		return looked(o, answer)
	}
	return nil
}

// effectOnSpace changes what is reserved; an operation with an id is done at most once.
func effectOnSpace(o object, do string, more int64) []object {
	if do == doOnce {
		return []object{{there: true}}
	}
	o.size += more
	return when(o.size >= 0, o)
}

// looked compares an object with what somebody saw of it.
func looked(o object, seen Answer) []object {
	if o.uuid == "" && o.there {
		o.uuid = seen.UUID
	}
	same := object{there: seen.UUID != "", uuid: seen.UUID, shared: seen.Shared, size: seen.Size, holders: seen.Holders} == o
	if o.uuid == "" { // no volume: of a reservation all is in its size
		return when(same, o)
	}
	return when(same && (seen.State == "ready" || seen.State == "creating"), o)
}

// mayRefuse says whether a call may be refused with that kind, and then nothing changes.
// Whether there is space enough depends on other objects, too.
func mayRefuse(o object, ask Ask, kind string) bool {
	others := o.holders != "" && !o.has(ask.Task)
	switch kind {
	case kindNobody, "insufficient", "pending":
		return true
	case "exists":
		return ask.Do == doCreate && o.there
	case kindNotFound:
		return !o.there || (ask.Do == doDetach || ask.Do == doRelease) && !o.has(ask.Task)
	case "in_use":
		switch ask.Do {
		case doAttach, doClaim:
			return o.there && !o.shared && others
		case doDestroy, doResize:
			return o.there && o.holders != ""
		}
	}
	return false
}

func when(possible bool, o object) []object {
	if !possible {
		return nil
	}
	return []object{o}
}

func (o object) has(task string) bool {
	return slices.Contains(strings.Split(o.holders, ","), task) && task != ""
}

func (o object) with(task string) object {
	if !o.has(task) {
		o.holders = joined(append(strings.Split(o.holders, ","), task))
	}
	return o
}

func (o object) without(task string) object {
	o.holders = joined(slices.DeleteFunc(strings.Split(o.holders, ","), func(t string) bool { return t == task }))
	return o
}

// joined is a list of tasks as Answer has it.
func joined(tasks []string) string {
	slices.Sort(tasks)
	list := strings.Join(slices.DeleteFunc(slices.Compact(tasks), func(t string) bool { return t == "" }), ",")
	if list == "" {
		return ""
	}
	return list + ","
}

// model is the same for porcupine.
func model() porcupine.Model {
	m := porcupine.NondeterministicModel{
		Init: func() []any { return []any{object{}} },
		Step: func(state, input, output any) (next []any) {
			for _, o := range step(state.(object), input.(Ask), output.(Answer)) {
				next = append(next, o)
			}
			return next
		},
		Equal: func(a, b any) bool { return a == b },
	}
	return m.ToModel()
}

// perObject sorts the calls by what they are about. Time is the place in the history, twice,
// so that there is room between two places: what has no answer was done or not, but before the
// next mark.
func perObject(events []Event) map[string][]porcupine.Operation {
	answers, objects := map[int]int{}, map[string][]porcupine.Operation{}
	for i, e := range events {
		if e.Answer != nil {
			answers[e.Call] = i
		}
	}
	end := 2*len(events) + 1 // of what has no answer
	var cuts []int
	for i, e := range slices.Backward(events) {
		switch {
		case e.Mark != "":
			end = 2*i - 1
			if e.Mark == markCut {
				cuts = append(cuts, 2*i)
			}
		case e.Ask != nil && e.Ask.Do != doWrite:
			op := porcupine.Operation{Input: *e.Ask, Call: int64(2 * i), Output: Answer{Kind: kindUnknown}, Return: int64(end)}
			if at, answered := answers[e.Call]; answered && events[at].Answer.Kind != kindUnknown {
				op.Output, op.Return = *events[at].Answer, int64(2*at)
			} else if e.Ask.Do == doLook {
				continue
			}
			objects[e.Ask.On] = append(objects[e.Ask.On], op)
		}
	}
	for on := range objects {
		for _, at := range cuts {
			objects[on] = append(objects[on], porcupine.Operation{
				Input: Ask{Do: markCut, On: on}, Call: int64(at), Output: Answer{Kind: kindOK}, Return: int64(at + 1)})
		}
	}
	return objects
}

// longest is how long one object's history may be looked at.
const longest = 5 * time.Minute

// linearizable says what is wrong with a history, if anything is.
func linearizable(events []Event) error {
	objects, m := perObject(events), model()
	var errs []error
	for _, on := range slices.Sorted(maps.Keys(objects)) {
		switch porcupine.CheckOperationsTimeout(m, objects[on], longest) {
		case porcupine.Unknown:
			errs = append(errs, fmt.Errorf("%s: no order was found in %v", on, longest))
		case porcupine.Illegal:
			errs = append(errs, fmt.Errorf("%s: there is no order of these calls that explains their answers, of which the last cannot be right:\n%s",
				on, tell(m, objects[on])))
		}
	}
	return errors.Join(errs...)
}

// tell shows the end of the shortest beginning of a history that is wrong already.
func tell(m porcupine.Model, ops []porcupine.Operation) string {
	slices.SortFunc(ops, func(a, b porcupine.Operation) int { return cmp.Compare(a.Return, b.Return) })
	n, _ := slices.BinarySearchFunc(ops, true, func(o porcupine.Operation, _ bool) int {
		if porcupine.CheckOperations(m, until(ops, o.Return)) {
			return -1
		}
		return 0
	})
	wrong := until(ops, ops[min(n, len(ops)-1)].Return)
	slices.SortFunc(wrong, func(a, b porcupine.Operation) int { return cmp.Compare(a.Return, b.Return) })
	var b strings.Builder
	const last = 16
	for _, o := range wrong[max(0, len(wrong)-last):] {
		fmt.Fprintf(&b, "  asked at %d, answered at %d: %+v: %+v\n", o.Call/2, o.Return/2, o.Input, o.Output)
	}
	return b.String()
}

// until is what was known of a history at a time: later answers have not come yet.
func until(ops []porcupine.Operation, at int64) (known []porcupine.Operation) {
	for _, o := range ops {
		switch {
		case o.Call > at:
			continue
		case o.Return > at && o.Input.(Ask).Do == doLook:
			continue
		case o.Return > at:
			o.Output, o.Return = Answer{Kind: kindUnknown}, at+1
		}
		known = append(known, o)
	}
	return known
}
