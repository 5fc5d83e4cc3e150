package access

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"tenon/agent/resource"
	"tenon/agent/volume"
)

// Bounds of an entry, so that no request makes a line of any length.
const (
	maxText       = 512 // bytes of each text
	maxOperations = 20
	maxNames      = 10 // of an operation's objects
)

// Entry is one call that may change something: who asked for what, and what came of it.
// Texts that are too long are cut when it is written.
type Entry struct {
	Time       time.Time `json:"time"`                // when the call was answered
	Principal  string    `json:"principal,omitempty"` // as the rules know whoever asks
	UID        *int      `json:"uid,omitempty"`       // of a process on this host
	PID        int       `json:"pid,omitempty"`       // of the same, when it connected
	Subject    string    `json:"subject,omitempty"`   // of the certificate, for one elsewhere
	Remote     string    `json:"remote,omitempty"`    // address
	Operations []string  `json:"operations"`          // from Describe
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

// line is the entry as JSON that ends in a newline.
func (e Entry) line() ([]byte, error) {
	e.Time = e.Time.UTC()
	for _, text := range []*string{&e.Principal, &e.Subject, &e.Remote, &e.Outcome, &e.Reason} {
		*text = bounded(*text)
	}
	e.Operations = boundedList(e.Operations)
	var line bytes.Buffer
	enc := json.NewEncoder(&line)
	enc.SetEscapeHTML(false)
	err := enc.Encode(e)
	return line.Bytes(), err
}

// bounded cuts a text at the end of a character, and takes out what a terminal might obey.
func bounded(s string) string {
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "") + "…"
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

func boundedList(list []string) []string {
	short := []string{} // null would be one kind of value more for readers
	for _, s := range list[:min(len(list), maxOperations)] {
		short = append(short, bounded(s))
	}
	if more := len(list) - maxOperations; more > 0 {
		short = append(short, fmt.Sprintf("and %d more", more))
	}
	return short
}

// Describe names operations for an Entry: the verb, then the roles, volumes or the task
// that it is about. Labels and paths are left out.
func Describe(ops []volume.Operation) []string {
	var list []string
	for _, op := range ops {
		if group, is := op.(volume.Identified); is {
			list = append(list, bounded("operation "+group.ID+": "+strings.Join(Describe(group.Operations), "; ")))
			continue
		}
		names := slices.Compact(namesOf(op))
		if more := len(names) - maxNames; more > 0 {
			names = append(names[:maxNames], fmt.Sprintf("and %d more", more))
		}
		list = append(list, bounded(strings.TrimSpace(op.Name()+" "+strings.Join(names, ", "))))
	}
	return list
}

// namesOf is what an operation is about.
func namesOf(op volume.Operation) []string {
	switch o := op.(type) {
	case volume.Reserve:
		return roleNames(o.Resources)
	case volume.Unreserve:
		return roleNames(o.Resources)
	case volume.Create:
		name, _ := volumeName(o.Volume)
		if o.Role != "" && !o.Volume.IsReserved() {
			name.Role = o.Role
		}
		return []string{"volume " + name.String()}
	case volume.Destroy:
		return []string{"volume " + refOrName(o.Ref, o.Volume)}
	case volume.Grow:
		return []string{"volume " + refOrName("", o.Volume)}
	case volume.Shrink:
		return []string{"volume " + refOrName("", o.Volume)}
	case volume.Resize:
		return []string{"volume " + o.Ref}
	case volume.Launch:
		return launchNames(o)
	case volume.Claim:
		names := []string{"task " + o.Task}
		for _, u := range o.Uses {
			names = append(names, "volume "+u.Volume)
		}
		return names
	case volume.Attach:
		return []string{"task " + o.Task, "volume " + o.Volume}
	case volume.SetMode:
		return []string{"task " + o.Task, "volume " + o.Volume, string(o.Mode)}
	case volume.Detach:
		return []string{"task " + o.Task, "volume " + o.Volume}
	case volume.Release:
		return []string{"task " + o.Task}
	case volume.Acknowledge:
		return []string{"operation " + o.ID}
	}
	return nil
}

func launchNames(o volume.Launch) []string {
	names := []string{"task " + o.Task}
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
