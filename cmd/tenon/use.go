package main

import (
	"fmt"
	"strings"

	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/agent/wire"
)

const useForm = "write NAME[:PATH][:OPTIONS]"

// noExecWord is the option for a volume on which nothing can be run.
const noExecWord = "noexec"

// parseUse reads NAME[:PATH][:OPTIONS], where the options are rw or ro, and noexec, with commas.
// It is read from the right, so that an id may hold colons where a path and options follow.
func parseUse(spec string) (wire.Use, error) {
	fields := strings.Split(spec, ":")
	use := wire.Use{}
	if last := len(fields) - 1; last > 1 || last > 0 && hasOption(fields[last]) {
		if err := readOptions(&use, fields[last]); err != nil {
			return use, fmt.Errorf("volume %q: %w; %s", spec, err, useForm)
		}
		fields = fields[:last]
	}
	if last := len(fields) - 1; last > 0 {
		if use.Path = fields[last]; use.Path == "" {
			return use, fmt.Errorf("volume %q: the path is empty; %s", spec, useForm)
		}
		fields = fields[:last]
	}
	if use.Volume = strings.Join(fields, ":"); use.Volume == "" {
		return use, fmt.Errorf("volume %q: the name is missing; %s", spec, useForm)
	}
	return use, nil
}

// hasOption says whether any word of a list is an option, so that the list is no path.
func hasOption(list string) bool {
	for word := range strings.SplitSeq(list, ",") {
		if isMode(word) || strings.EqualFold(word, noExecWord) {
			return true
		}
	}
	return false
}

// readOptions reads a list of options, each of which may be there once.
func readOptions(use *wire.Use, list string) error {
	for word := range strings.SplitSeq(list, ",") {
		switch {
		case isMode(word) && use.Mode == "":
			use.Mode = resource.Mode(strings.ToUpper(word))
		case isMode(word):
			return fmt.Errorf("%q has more than one of rw and ro", list)
		case strings.EqualFold(word, noExecWord) && !use.NoExec:
			use.NoExec = true
		case strings.EqualFold(word, noExecWord):
			return fmt.Errorf("%q has noexec twice", list)
		default:
			return fmt.Errorf("%q is neither rw nor ro nor noexec", word)
		}
	}
	return nil
}

func isMode(s string) bool {
	mode := resource.Mode(strings.ToUpper(s))
	return mode == resource.RW || mode == resource.RO
}

// modeWord is a mode as people type it; none is read-write.
func modeWord(m resource.Mode) string {
	if m == resource.RO {
		return "ro"
	}
	return "rw"
}

// optionWords are options as people type them, and as whose the files are seen.
func optionWords(m resource.Mode, noExec bool, as *volume.ID) string {
	text := modeWord(m)
	if noExec {
		text += "," + noExecWord
	}
	if as != nil {
		text += ",as " + as.String()
	}
	return text
}

// holderOptions are those of all uses that a holder has: the most that it may do.
func holderOptions(h wire.Holder) string {
	text := optionWords(h.Mode, h.NoExec, nil)
	for _, id := range h.As {
		text += ",as " + id.String()
	}
	return text
}

func optionsOf(a wire.Attachment) string { return optionWords(a.Mode, a.NoExec, a.As) }

// useOf asks for just what is attached.
func useOf(a wire.Attachment) wire.Use {
	return wire.Use{Volume: a.Volume, Path: a.Path, Mode: a.Mode, NoExec: a.NoExec, As: a.As}
}
