package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/urfave/cli/v2"
)

// buildVersion is set by the linker: -ldflags "-X main.buildVersion=v1.2.3".
var buildVersion string

// version is that of the build: as the linker was told, or as Go knows it.
func version() string {
	if buildVersion != "" {
		return buildVersion
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}

func versionCommand() *cli.Command {
	return &cli.Command{
		Name:        "version",
		Usage:       "print the version of this program",
		Description: "The agent may be of another one: tenon status.\n\nEXAMPLES:\n   tenon version",
		Action: func(c *cli.Context) error {
			object := map[string]string{"version": version(), "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH}
			return show(c, object, func(p *page) {
				fmt.Fprintf(p, "tenon %s (%s, %s)\n", object["version"], object["go"], object["platform"])
			})
		},
	}
}
