// Command tenon is the whole program: the daemon of a worker host (tenon agent), the
// commands that talk to it, and the small stage that turns a process into a task (tenon
// run). It holds no policy: everything is decided by the agent.
package main

import (
	"context"
	"os"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == stageName {
		runStage(os.Args[2:])
	}
	err := app(os.Stdout, os.Stderr).RunContext(context.Background(), os.Args)
	if err != nil {
		tellError(os.Stderr, err)
	}
	os.Exit(exitCode(err))
}
