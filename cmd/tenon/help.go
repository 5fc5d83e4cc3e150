package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

func helpCommand() *cli.Command {
	return &cli.Command{
		Name:        "help",
		Usage:       "tell all about a command",
		ArgsUsage:   "[COMMAND]...",
		Description: "EXAMPLES:\n   tenon help volume create\n   tenon help exit-codes",
		Action:      func(c *cli.Context) error { return showHelp(c, c.Args().Slice()) },
	}
}

// showHelp is what --help behind a command does.
func showHelp(c *cli.Context, command []string) error {
	return c.App.RunContext(c.Context, slices.Concat([]string{c.App.Name}, command, []string{"--help"}))
}

// showOwnHelp is for --help beside arguments, which the library takes for topics.
func showOwnHelp(c *cli.Context, _ string) { _ = cli.ShowSubcommandHelp(c) }

// helpText is the help of a command that has no subcommands.
func helpText(path string, cmd *cli.Command) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s - %s\n\nUSAGE:\n   %s\n", path, cmd.Usage, cmd.UsageText)
	description, examples, _ := strings.Cut(cmd.Description, "EXAMPLES:")
	section(&b, "DESCRIPTION", description)
	section(&b, "EXAMPLES", strings.ReplaceAll(examples, "\n   ", "\n"))
	var own, everywhere []cli.Flag
	for _, f := range cmd.Flags {
		if hasFlag(globalFlags(), f.Names()[0]) {
			everywhere = append(everywhere, f)
		} else {
			own = append(own, f)
		}
	}
	section(&b, "OPTIONS", flagLines(own))
	section(&b, "OPTIONS OF EVERY COMMAND", flagLines(append(everywhere, cli.HelpFlag)))
	return strings.ReplaceAll(b.String(), "{{", `{{"{{"}}`) // it serves as a template
}

// section prints a title and an indented text, or nothing where there is none.
func section(b *strings.Builder, title, text string) {
	text = strings.TrimRight(strings.TrimLeft(text, "\n"), "\n")
	if text != "" {
		indented := strings.ReplaceAll(text, "\n", "\n   ")
		fmt.Fprintf(b, "\n%s:\n   %s\n", title, strings.ReplaceAll(indented, "   \n", "\n"))
	}
}

// flagLines has a line for each flag, in two columns.
func flagLines(flags []cli.Flag) string {
	var heads, tails []string
	width := 0
	for _, f := range flags {
		head, tail := flagLine(f)
		heads, tails = append(heads, head), append(tails, tail)
		width = max(width, len(head))
	}
	var b strings.Builder
	for i, head := range heads {
		fmt.Fprintf(&b, "%-*s  %s\n", width, head, tails[i])
	}
	return b.String()
}

func flagLine(f cli.Flag) (head, tail string) {
	for _, name := range f.Names() {
		dashes := "--"
		if len(name) == 1 {
			dashes = "-"
		}
		head += ", " + dashes + name
	}
	head = strings.TrimPrefix(head, ", ")
	value, tail := splitUsage(f)
	doc, ok := f.(cli.DocGenerationFlag)
	if !ok || !doc.TakesValue() {
		return head, tail
	}
	if text := strings.Trim(doc.GetDefaultText(), `"`); text != "" && text != "0" {
		tail += " (default: " + text + ")"
	}
	return head + " " + value, tail
}

var quoted = regexp.MustCompile("`([^`]*)`")

// splitUsage gives what help calls the value of a flag, and its text without quotes.
func splitUsage(f cli.Flag) (value, text string) {
	if doc, ok := f.(cli.DocGenerationFlag); ok {
		text = doc.GetUsage()
	}
	value = "VALUE"
	if m := quoted.FindStringSubmatch(text); m != nil {
		value = m[1]
	}
	return value, strings.ReplaceAll(text, "`", "")
}
