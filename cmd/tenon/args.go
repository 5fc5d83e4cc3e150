package main

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// anyOrder is an action whose command takes its flags behind its arguments as well.
func anyOrder(action cli.ActionFunc) cli.ActionFunc {
	return func(c *cli.Context) error {
		cmd := *c.Command
		cmd.SkipFlagParsing, cmd.Action = false, action
		c.Command = &cmd
		return cmd.Run(c, append([]string{cmd.Name}, flagsFirst(cmd.Flags, c.Args().Slice())...)...)
	}
}

// flagsFirst puts the flags, with their values, before the arguments. What is behind a
// "--" is an argument.
func flagsFirst(flags []cli.Flag, args []string) []string {
	var first, rest []string
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		switch {
		case arg == "--":
			rest = append(rest, args...)
			args = nil
		case arg == "-" || !strings.HasPrefix(arg, "-"):
			rest = append(rest, arg)
		default:
			first = append(first, arg)
			if !takesNext(flags, arg) {
				continue
			}
			if len(args) == 0 { // its value is missing, as the parser will say
				return first
			}
			first, args = append(first, args[0]), args[1:]
		}
	}
	return slices.Concat(first, []string{"--"}, rest)
}

// takesNext says whether the word after a flag is its value. An unknown flag is left to
// the parser.
func takesNext(flags []cli.Flag, arg string) bool {
	name := strings.TrimLeft(arg, "-")
	if strings.Contains(name, "=") {
		return false
	}
	for _, f := range flags {
		if _, isBool := f.(*cli.BoolFlag); slices.Contains(f.Names(), name) {
			return !isBool
		}
	}
	return false
}

// neededFlag is a flag that must be given, and what help calls its value.
type neededFlag struct{ name, value string }

// takeRequired gives the flags that are required, and makes them optional to the
// library, which would print a page of help where a sentence does.
func takeRequired(flags []cli.Flag) (needed []neededFlag) {
	for _, f := range flags {
		required := false
		switch f := f.(type) {
		case *cli.StringFlag:
			required, f.Required = f.Required, false
		case *cli.StringSliceFlag:
			required, f.Required = f.Required, false
		}
		if required {
			value, _ := splitUsage(f)
			needed = append(needed, neededFlag{f.Names()[0], value})
		}
	}
	return needed
}

// usageText is a command's usage line.
func usageText(path string, needed []neededFlag, arguments string) string {
	words := []string{path}
	command, own := strings.CutPrefix(arguments, "--")
	if !own && arguments != "" {
		words = append(words, arguments)
	}
	for _, f := range needed {
		words = append(words, "--"+f.name, f.value)
	}
	words = append(words, "[options]")
	if own {
		words = append(words, "--"+command)
	}
	return strings.Join(words, " ")
}

// checkArguments holds the number of arguments to what ArgsUsage says: each word is one,
// in brackets it may be left out, with dots it may be repeated. What begins with -- is
// the command's own business.
func checkArguments(c *cli.Context) error {
	if strings.HasPrefix(c.Command.ArgsUsage, "--") {
		return nil
	}
	wanted := strings.Fields(c.Command.ArgsUsage)
	for i, name := range wanted {
		if i >= c.NArg() && !strings.HasPrefix(name, "[") {
			return misused(c, "%s is missing", name)
		}
	}
	more := c.NArg() > len(wanted)
	if repeated := strings.HasSuffix(c.Command.ArgsUsage, "..."); more && !repeated {
		return misused(c, "%q is one argument too many", c.Args().Get(len(wanted)))
	}
	return nil
}

// misused is a command line that can't be right: one sentence, and how it would be.
func misused(c *cli.Context, format string, args ...any) error {
	text := fmt.Sprintf(format, args...)
	if path := strings.Join(words(c), " "); path != "" {
		text = path + ": " + text
	}
	if c.Command.UsageText != "" {
		text += "\nusage: " + c.Command.UsageText
	}
	return usageError{errors.New(text)}
}

var (
	unknownFlag  = regexp.MustCompile(`^flag provided but not defined: -+(.+)$`)
	missingValue = regexp.MustCompile(`^flag needs an argument: -+(.+)$`)
	invalidValue = regexp.MustCompile(`^invalid (?:boolean )?value ("[^"]*") for (?:flag )?-+([^:]+): `)
)

// badFlag words the library's errors about flags.
func badFlag(c *cli.Context, err error, _ bool) error {
	text := err.Error()
	if m := unknownFlag.FindStringSubmatch(text); m != nil {
		var names []string
		for _, f := range c.Command.Flags {
			names = append(names, f.Names()...)
		}
		if near := closest(m[1], names); near != "" {
			return misused(c, "unknown flag --%s; did you mean --%s?", m[1], near)
		}
		return misused(c, "unknown flag --%s", m[1])
	}
	if m := missingValue.FindStringSubmatch(text); m != nil {
		return misused(c, "--%s has no value", m[1])
	}
	if m := invalidValue.FindStringSubmatch(text); m != nil {
		return misused(c, "%s is not a value for --%s", m[1], m[2])
	}
	return misused(c, "%s", text)
}

// closest is the name that somebody who typed word most likely meant, or "".
func closest(word string, names []string) string {
	const longest = 32
	best, least := "", 3 // letters that may be wrong, less one
	if len(word) > longest {
		return ""
	}
	least = min(least, (len(word)+3)/2)
	for _, name := range names {
		if d := distance(word, name); d < least {
			best, least = name, d
		}
	}
	return best
}

// distance is the number of bytes to insert, remove or replace, or of neighbours to
// swap, to make b of a.
func distance(a, b string) int {
	var before, last []int
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before, last, row = last, row, make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			replaced := last[j]
			if a[i] != b[j] {
				replaced++
			}
			row[j+1] = min(replaced, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
	}
	return row[len(b)]
}
