package config

import (
	"fmt"
	"strings"
)

// Setting describes one thing that can be set, for the command line.
type Setting struct {
	Name    string // as in the file, and in Sources.Flags
	Flag    string // as on the command line, without the dashes
	Doc     string // without line breaks
	Default string
}

// Settings are all but the tables, which only the file can have.
func Settings() []Setting {
	c := Default()
	var all []Setting
	for _, s := range settings {
		all = append(all, Setting{
			Name:    s.name,
			Flag:    strings.ReplaceAll(s.name, "_", "-"),
			Doc:     strings.ReplaceAll(s.doc, "\n", " "),
			Default: flagText(s.get(c)),
		})
	}
	return all
}

// flagText is a value as the command line takes it: a list without its brackets.
func flagText(value any) string {
	if list, is := value.([]string); is {
		return strings.Join(list, ",")
	}
	return fmt.Sprint(value)
}
