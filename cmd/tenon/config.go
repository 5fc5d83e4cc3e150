package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"tenon/agent/config"
)

func configCommand() *cli.Command {
	return &cli.Command{
		Name:        "config",
		Usage:       "write an example of the agent's configuration, or check one",
		Subcommands: []*cli.Command{configExampleCommand(), configCheckCommand()},
	}
}

func configExampleCommand() *cli.Command {
	return &cli.Command{
		Name:        "example",
		Usage:       "print a configuration with every default, and what it means",
		Description: "EXAMPLES:\n   tenon config example > /etc/tenon/tenon.toml",
		Action:      func(c *cli.Context) error { return config.Write(c.App.Writer, config.Default()) },
	}
}

func configCheckCommand() *cli.Command {
	return &cli.Command{
		Name:        "check",
		Usage:       "tell all that is wrong with a configuration",
		ArgsUsage:   "FILE",
		Description: "Looks at the file alone, not at the environment.\n\nEXAMPLES:\n   tenon config check /etc/tenon/tenon.toml",
		Action: func(c *cli.Context) error {
			file := c.Args().First()
			cfg, err := config.Load(config.Default(), config.Sources{File: file})
			if err == nil {
				_, err = membersOf(cfg)
			}
			if err != nil {
				return usageError{err}
			}
			_, err = fmt.Fprintf(c.App.Writer, "%s: nothing is wrong with it\n", file)
			return err
		},
	}
}
