package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"tenon/agent/client"
	"tenon/agent/config"
)

const (
	outputTable = "table"
	outputJSON  = "json"
)

// app is the whole command line. Results go to out, all else to errOut; errors are
// returned, for main to tell.
func app(out, errOut io.Writer) *cli.App {
	a := &cli.App{
		Name:  "tenon",
		Usage: "persistent volumes that the tasks of a host share",
		Description: "One agent a host (tenon agent) carves volumes from reserved disk, mounts them for tasks, and\n" +
			"knows at all times who uses what. All other commands ask it, over its socket.\n\n" +
			"EXAMPLES:\n" +
			"   tenon agent --dev\n" +
			"   tenon reserve disk:2048 --role web\n" +
			"   tenon volume create web/data --size 1024 --shared\n" +
			"   tenon run --task writer --volume web/data:data:rw -- sh -c 'echo hi > data/greeting'\n" +
			"   tenon explain web/data\n\n" +
			"Exit codes: tenon help exit-codes. Completion: tenon completion bash.",
		Version:                   version(),
		Flags:                     append(globalFlags("TENON_SOCKET"), cli.HelpFlag),
		Commands:                  commands(),
		Reader:                    os.Stdin,
		Writer:                    out,
		ErrWriter:                 errOut,
		ExitErrHandler:            func(*cli.Context, error) {}, // nothing exits but main
		OnUsageError:              badFlag,
		CommandNotFound:           showOwnHelp,
		Action:                    choose,
		HideHelpCommand:           true,
		EnableBashCompletion:      true,
		DisableSliceFlagSeparator: true, // labels and paths may hold commas
	}
	for _, c := range a.Commands {
		prepare(a.Name+" "+c.Name, c)
	}
	return a
}

// commands are all of them, in the order in which help lists them.
func commands() []*cli.Command {
	return []*cli.Command{
		agentCommand(), runCommand(),
		reserveCommand(), unreserveCommand(), volumeCommand(), attachCommand(), detachCommand(), taskCommand(),
		statusCommand(), doctorCommand(), checkCommand(), resourcesCommand(), explainCommand(), opCommand(),
		checkpointCommand(), configCommand(), completionCommand(), versionCommand(), exitCodesCommand(), helpCommand(),
	}
}

// globalFlags are the flags that every command takes, before its name and behind it.
func globalFlags(socketEnv ...string) []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "socket", Usage: "ask the agent at `PATH`", Value: config.Default().Socket, EnvVars: socketEnv},
		&cli.StringFlag{Name: "output", Usage: "`FORMAT` of results: table or json", Value: outputTable},
	}
}

// global is the value of a global flag: the one given nearest to the command, then the
// environment's, then the default.
func global(c *cli.Context, name string) string {
	for _, level := range c.Lineage() {
		if level.IsSet(name) {
			return level.String(name)
		}
	}
	return c.String(name)
}

func newClient(c *cli.Context) *client.Client {
	return client.New(firstOf(global(c, "socket"), config.Default().Socket))
}

// prepare gives a command what all have in common: path is its full name.
func prepare(path string, cmd *cli.Command) {
	cmd.HideHelpCommand = true
	cmd.OnUsageError = badFlag
	for _, sub := range cmd.Subcommands {
		sub.HelpName = path + " " + sub.Name
		prepare(sub.HelpName, sub)
	}
	if len(cmd.Subcommands) > 0 {
		cmd.UsageText = path + " COMMAND [options]"
		cmd.Action = choose
		return
	}
	for _, f := range globalFlags() {
		if !hasFlag(cmd.Flags, f.Names()[0]) {
			cmd.Flags = append(cmd.Flags, f)
		}
	}
	needed := takeRequired(cmd.Flags)
	cmd.UsageText = usageText(path, needed, cmd.ArgsUsage)
	cmd.CustomHelpTemplate = helpText(path, cmd)
	cmd.Action = checked(needed, cmd.Action)
	if cmd.Name != "run" { // whose arguments are another command's
		cmd.SkipFlagParsing, cmd.Action = true, anyOrder(cmd.Action)
	}
}

// checked is an action with its command line checked before, and its error told with
// what to do about it, or as programs read it where they asked for JSON.
func checked(needed []neededFlag, action cli.ActionFunc) cli.ActionFunc {
	return func(c *cli.Context) error {
		err := checkLine(c, needed)
		if err == nil {
			err = action(c)
			if c.Command.Name == "agent" { // advice on others is to ask an agent that runs
				err = adviseOnStart(err)
			} else {
				err = advise(err)
			}
		}
		if err != nil && wantsJSON(c) {
			return problemError{err}
		}
		return err
	}
}

// checkLine finds what is missing or wrong whatever the command.
func checkLine(c *cli.Context, needed []neededFlag) error {
	if err := checkArguments(c); err != nil {
		return err
	}
	for _, f := range needed {
		if !c.IsSet(f.name) {
			return misused(c, "--%s is missing", f.name)
		}
	}
	if o := global(c, "output"); o != outputTable && o != outputJSON {
		return misused(c, "--output is table or json, not %q", o)
	}
	return nil
}

// choose is the action of what has only subcommands: it says which there are.
func choose(c *cli.Context) error {
	name := c.Args().First()
	switch {
	case name == "" && c.Command.HelpName == c.App.Name:
		return cli.ShowAppHelp(c)
	case name == "help":
		return showHelp(c, append(words(c), c.Args().Tail()...))
	}
	names := commandNames(c.Command.Subcommands)
	list := "there are: " + strings.Join(names, ", ")
	if name == "" {
		return usageError{fmt.Errorf("%s: which one? %s", strings.Join(words(c), " "), list)}
	}
	if near := closest(name, names); near != "" {
		list = fmt.Sprintf("did you mean %s?", near)
	}
	return usageError{fmt.Errorf("unknown command %q; %s", strings.Join(append(words(c), name), " "), list)}
}

// words are the command's full name without the program's.
func words(c *cli.Context) []string { return strings.Fields(c.Command.HelpName)[1:] }

func commandNames(commands []*cli.Command) (names []string) {
	for _, c := range commands {
		if !c.Hidden {
			names = append(names, c.Name)
		}
	}
	return names
}

func hasFlag(flags []cli.Flag, name string) bool {
	return slices.ContainsFunc(flags, func(f cli.Flag) bool { return slices.Contains(f.Names(), name) })
}
