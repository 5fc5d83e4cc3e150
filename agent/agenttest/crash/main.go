// Command crash shows with the real agent that what was acknowledged is kept: a workload
// drives `tenon agent` by its socket and records what it asked and what it was answered; a
// checker holds that history against itself and against what is there afterwards. Neither
// knows how the other works.
//
//	crash kill -tenon FILE -n N [-seed S] [-dir DIR]
//
// kills the agent N times at random moments under load (SIGKILL), starts it again each time
// and checks. Without a mount namespace of its own it leaves nothing mounted but what the
// agent itself would leave if it could not be stopped.
//
//	crash cut -tenon FILE -dir DIR
//
// is a payload of testdata/vm/run-in-vm -P, which cuts the power: the phase is told by
// POWERCUT_PHASE, the agent has state and pool in DIR.
//
//	crash soak -tenon FILE -minutes N [-seed S] [-dir DIR]
//
// lets everything happen at once for so long: clients, tasks whose processes are killed, CSI,
// a master that orders and is lost, thousands of readers, and in the first quarter kills of the
// agent. Each second agent and host are compared (soak_eye.go), each twentieth exactly, and what
// the agent takes is noted; at the end there is a table, and an error if anything has grown.
//
//	crash check FILE
//
// checks a recorded history once more.
//
// What is checked, after every kill and every cut:
//
//   - all that was asked and answered about a volume (create, destroy, resize, attach,
//     detach, claim, release, look), about a role's reservation and about an operation with
//     an id is linearizable, across kills and cuts; a call without an answer has been done
//     or not, but before the agent was there again (model.go);
//   - the agent, the disk and the mount table say the same: live/ has the volumes and
//     nothing else, incoming/ and trash/ come to be empty, there is a sandbox for each task
//     and a mount for each attachment by path, and no fault (look.go);
//   - what tasks have written and synced in a volume is there as long as the volume;
//   - all accounts and volumes add up to the total; each operation with an id has taken its
//     space once; the journal verifies.
//
// It is for tests alone, and is no part of Tenon.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"time"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stdout, "crash:", err)
		os.Exit(1)
	}
}

// options are the flags of all commands.
type options struct {
	tenon, dir, history string
	kills, clients      int
	seed                uint64

	looks int           // of a soak
	every time.Duration // time between two of them
}

// run is the program.
func run(args []string, out io.Writer) error {
	if len(args) == 0 {
		return fmt.Errorf("kill, cut, soak or check? see go doc ./agent/agenttest/crash")
	}
	var o options
	flags := flag.NewFlagSet("crash", flag.ContinueOnError)
	flags.StringVar(&o.tenon, "tenon", "bin/tenon", "program under test")
	flags.StringVar(&o.dir, "dir", "", "directory for all that the agent has; kill makes one of its own")
	flags.StringVar(&o.history, "history", "", "file that kill records to, for check")
	flags.IntVar(&o.kills, "n", 20, "number of kills")
	flags.IntVar(&o.clients, "clients", 8, "number of clients at once")
	flags.Uint64Var(&o.seed, "seed", uint64(time.Now().UnixNano()), "of all random choices")
	minutes := flags.Float64("minutes", 10, "how long to soak")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	o.looks, o.every = int(*minutes*looksPerRow), time.Second
	switch args[0] {
	case "soak":
		return soak(o, out)
	case "kill":
		return kill(o, out)
	case "cut":
		return cut(o, out)
	case "check":
		return checkFile(flags.Arg(0), out)
	}
	return fmt.Errorf("there is no %q", args[0])
}

// checkFile checks a recorded history.
func checkFile(name string, out io.Writer) error {
	events, err := readEvents(name)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, tally(events))
	return linearizable(events)
}
