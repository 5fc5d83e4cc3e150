package access

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"time"
	"unicode"

	"tenon/agent/resource"
	"tenon/agent/volume"
)

// Bounds of an entry, so that no line is of any length. What a call is about is divided over
// as many lines as it needs: nothing of it is left out.
const (
	maxText       = 512         // bytes of each text, and of each name in one
	maxDescribed  = 4 * maxText // of an operation, but for a single name that is longer
	maxOperations = 20          // of one line
)

// Entry is one call that may change something: who asked for what, and what came of it.
// Texts that are too long are cut when it is written. One of many operations is several
// lines, one after the other, which are equal but for Part and Operations.
type Entry struct {
	Time       time.Time `json:"time"`                // when the call was answered
	Principal  string    `json:"principal,omitempty"` // as the rules know whoever asks
	UID        *int      `json:"uid,omitempty"`       // of a process on this host
	PID        int       `json:"pid,omitempty"`       // of the same, when it connected
	Subject    string    `json:"subject,omitempty"`   // of the certificate, for one elsewhere
	Remote     string    `json:"remote,omitempty"`    // address
	Operations []string  `json:"operations"`          // from Describe
	Part       int       `json:"part,omitempty"`      // of a call that has several lines, counted from 1
	Parts      int       `json:"parts,omitempty"`     // how many they are
	DryRun     bool      `json:"dry_run,omitempty"`   // nothing was to be changed
	Outcome    string    `json:"outcome"`             // from Outcome
	Reason     string    `json:"reason,omitempty"`    // from Outcome
}

// Outcome is what an error comes to in an Entry: "ok", or its kind ("failed" where it
// has none) and its sentence.
func Outcome(err error) (outcome, reason string) {
	if err == nil {
		return "ok", ""
	}
	kind := volume.Kind(err)
	if kind == nil {
		kind = volume.ErrFailed
	}
	return kind.Error(), err.Error()
}

// lines is the entry as JSON, each line with a newline at its end.
func (e Entry) lines() ([]byte, error) {
	e.Time = e.Time.UTC()
	for _, text := range []*string{&e.Principal, &e.Subject, &e.Remote, &e.Outcome, &e.Reason} {
		*text = bounded(*text, maxText)
	}
	all := []string{} // null would be one kind of value more for readers
	for _, s := range e.Operations {
		all = append(all, bounded(s, 2*maxDescribed))
	}
	parts := slices.Collect(slices.Chunk(all, maxOperations))
	if len(parts) == 0 {
		parts = [][]string{all}
	}
	var lines bytes.Buffer
	enc := json.NewEncoder(&lines)
	enc.SetEscapeHTML(false)
	for i, part := range parts {
		e.Operations = part
		if len(parts) > 1 {
			e.Part, e.Parts = i+1, len(parts)
		}
		if err := enc.Encode(e); err != nil {
			return nil, err
		}
	}
	return lines.Bytes(), nil
}

// bounded cuts a text at the end of a character, and takes out what a terminal might obey.
func bounded(s string, most int) string {
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// Describe names operations for an Entry: the verb, then the roles, volumes or the task
// that it is about, all of them. One that is about many has several texts, each of which begins
// alike. Labels and paths are left out.
func Describe(ops []volume.Operation) []string {
	var list []string
	for _, op := range ops {
		if group, is := op.(volume.Identified); is {
			list = append(list, pack("operation "+bounded(group.ID, maxText)+":", " ", Describe(group.Operations), "; ")...)
			continue
		}
		about, names := namesOf(op)
		head, behind := op.Name(), " "
		if about != "" {
			head, behind = head+" "+bounded(about, maxText), ", "
		}
		names = slices.Compact(names)
		for i, name := range names {
			names[i] = bounded(name, maxText)
		}
		list = append(list, pack(head, behind, names, ", ")...)
	}
	return list
}

// pack puts items behind a head, in as few texts of maxDescribed bytes as they go into. An item
// that is too long has a text of its own.
func pack(head, behind string, items []string, between string) (texts []string) {
	text := head
	for i, item := range items {
		switch {
		case i == 0:
			text += behind + item
		case len(text)+len(between)+len(item) > maxDescribed:
			texts, text = append(texts, text), head+behind+item
		default:
			text += between + item
		}
	}
	return append(texts, text)
}

// namesOf is what an operation is about: the task, if it is one's, and what else.
func namesOf(op volume.Operation) (about string, names []string) {
	switch o := op.(type) {
	case volume.Reserve:
		return "", roleNames(o.Resources)
	case volume.Unreserve:
		return "", roleNames(o.Resources)
	case volume.Create:
		name, _ := volumeName(o.Volume)
		if o.Role != "" && !o.Volume.IsReserved() {
			name.Role = o.Role
		}
		return "volume " + name.String(), nil
	case volume.Destroy:
		return "volume " + refOrName(o.Ref, o.Volume), nil
	case volume.Grow:
		return "volume " + refOrName("", o.Volume), nil
	case volume.Shrink:
		return "volume " + refOrName("", o.Volume), nil
	case volume.Resize:
		return "volume " + o.Ref, nil
	case volume.Launch:
		return "task " + o.Task, launchNames(o)
	case volume.Claim:
		for _, u := range o.Uses {
			names = append(names, "volume "+u.Volume)
		}
		return "task " + o.Task, names
	case volume.Attach:
		return "task " + o.Task, []string{"volume " + o.Volume}
	case volume.SetMode:
		return "task " + o.Task, []string{"volume " + o.Volume, string(o.Mode)}
	case volume.Detach:
		return "task " + o.Task, []string{"volume " + o.Volume}
	case volume.Release:
		return "task " + o.Task, nil
	case volume.Renew:
		return "task " + o.Task, nil
	case volume.Kill:
		return "task " + o.Task, nil
	case volume.Acknowledge:
		return "operation " + o.ID, nil
	}
	return "", nil
}

func launchNames(o volume.Launch) (names []string) {
	for _, r := range o.Resources {
		if name, is := volumeName(r); is {
			names = append(names, "volume "+name.String())
		}
	}
	return names
}

func roleNames(rs []resource.Resource) []string {
	var names []string
	for _, r := range rs {
		names = append(names, "role "+r.Role())
	}
	return names
}

func refOrName(ref string, r resource.Resource) string {
	if ref != "" {
		return ref
	}
	name, _ := volumeName(r)
	return name.String()
}
