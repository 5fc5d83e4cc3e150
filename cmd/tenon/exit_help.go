package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"tenon/agent/volume"
	"tenon/agent/wire"
)

func exitCodesCommand() *cli.Command {
	return &cli.Command{
		Name:        "exit-codes",
		Usage:       "list the exit codes of all commands",
		Hidden:      true,
		Description: exitCodeText(),
		Action: func(c *cli.Context) error {
			return show(c, exitMeanings(), func(p *page) { p.line("%s", exitCodeText()) })
		},
	}
}

// exitMeanings says what each code of the table means.
func exitMeanings() map[int]string {
	words := map[int][]string{
		exitOK:     {"all is done"},
		exitFailed: {"anything that has no code of its own"},
		exitUsage:  {"the command line can't be right"},
	}
	for _, kind := range volume.Kinds() {
		code := exitCodes[kind]
		title := wire.NewProblem(kind, "").Title
		words[code] = append(words[code], strings.ToLower(title[:1])+title[1:])
	}
	meanings := map[int]string{
		exitRunSelf: "run: Tenon itself failed",
		exitRunExec: "run: the command can't be run",
		exitRunNone: "run: the command is not found",
	}
	for code, list := range words {
		meanings[code] = strings.Join(list, "; ")
	}
	return meanings
}

func exitCodeText() string {
	var b strings.Builder
	meanings := exitMeanings()
	for _, code := range slices.Sorted(maps.Keys(meanings)) {
		fmt.Fprintf(&b, "%3d  %s\n", code, meanings[code])
	}
	return b.String() + "\nBesides its own three, run exits as its command does."
}
