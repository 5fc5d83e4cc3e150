package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/agent/wire"
)

// Tests that make an app run one after the other: the library keeps its help flag, and
// what was parsed of it, in a variable.

// leaves are all commands that do something, by their full names.
func leaves(prefix string, commands []*cli.Command) map[string]*cli.Command {
	all := map[string]*cli.Command{}
	for _, c := range commands {
		name := strings.TrimSpace(prefix + " " + c.Name)
		if len(c.Subcommands) == 0 {
			all[name] = c
		}
		for sub, cmd := range leaves(name, c.Subcommands) {
			all[sub] = cmd
		}
	}
	return all
}

func TestEveryCommandSaysWhatItDoesAndShowsHow(t *testing.T) {
	a := app(&strings.Builder{}, &strings.Builder{})
	for name, c := range leaves("", a.Commands) {
		if c.Usage == "" || strings.HasSuffix(c.Usage, ".") || strings.ToLower(c.Usage[:1]) != c.Usage[:1] {
			t.Errorf("%s: usage %q is not a phrase in lower case", name, c.Usage)
		}
		if !c.Hidden && !strings.Contains(c.Description, "EXAMPLES:\n   tenon ") && !strings.Contains(c.Description, "EXAMPLES:\n   source ") {
			t.Errorf("%s: no examples", name)
		}
		if !strings.HasPrefix(c.UsageText, "tenon "+name+" ") {
			t.Errorf("%s: usage text %q", name, c.UsageText)
		}
		for _, f := range globalFlags() {
			if !hasFlag(c.Flags, f.Names()[0]) {
				t.Errorf("%s: no flag --%s", name, f.Names()[0])
			}
		}
	}
}

func TestTheExamplesOfEveryCommandAreRight(t *testing.T) {
	ran, examples := "", 0
	a := &cli.App{Name: "tenon", Commands: commands(), HideHelpCommand: true, ExitErrHandler: func(*cli.Context, error) {}}
	all := leaves("", a.Commands)
	for name, c := range all {
		c.Action = func(*cli.Context) error { ran = name; return nil }
	}
	for _, c := range a.Commands {
		prepare("tenon "+c.Name, c)
	}
	for name, c := range all {
		_, text, _ := strings.Cut(c.Description, "EXAMPLES:\n")
		for line := range strings.Lines(text) {
			words := strings.Fields(strings.TrimRight(strings.Split(line, " | ")[0], ")\n"))
			if len(words) > 1 && words[0] == "source" {
				words = append([]string{"tenon"}, words[2:]...) // source <(tenon …)
			}
			if redirected := slices.IndexFunc(words, func(w string) bool { return w == ">" || w == "<" }); redirected >= 0 && name != "run" {
				words = words[:redirected]
			}
			if len(words) == 0 {
				continue
			}
			examples++
			if err := a.Run(words); err != nil || ran != name {
				t.Errorf("%q ran %q: %v", line, ran, err)
			}
		}
	}
	if examples < len(all) {
		t.Errorf("%d examples of %d commands", examples, len(all))
	}
}

func TestGlobalFlagsStandAnywhereAndTheNearestWins(t *testing.T) {
	t.Setenv("TENON_SOCKET", "/env")
	for line, want := range map[string]string{
		"tenon try":                              "/env table",
		"tenon --socket /a try":                  "/a table",
		"tenon try --socket /b x":                "/b table",
		"tenon try x --socket /b":                "/b table",
		"tenon --socket /a try x --socket /b":    "/b table",
		"tenon --output json try":                "/env json",
		"tenon --output json try --output table": "/env table",
	} {
		a := app(&strings.Builder{}, &strings.Builder{})
		got := ""
		try := &cli.Command{Name: "try", ArgsUsage: "[X]", Action: func(c *cli.Context) error {
			got = global(c, "socket") + " " + global(c, "output")
			return nil
		}}
		prepare("tenon try", try)
		a.Commands = append(a.Commands, try)
		if err := a.Run(strings.Fields(line)); err != nil || got != want {
			t.Errorf("%s: got %q, %v; want %q", line, got, err, want)
		}
	}
}

func TestRunKeepsWhatIsBehindItsFlagsAsItIs(t *testing.T) {
	for line, want := range map[string]string{
		"tenon run --task t -- sh -c x --task y -- z":                     "sh -c x --task y -- z",
		"tenon run --task t sh --output json --volume a":                  "sh --output json --volume a",
		"tenon run --task t -- --help":                                    "--help",
		"tenon run --task t --volume a:b:ro -- cat --socket --frobnicate": "cat --socket --frobnicate",
	} {
		a := app(&strings.Builder{}, &strings.Builder{})
		got := ""
		a.Command("run").Action = func(c *cli.Context) error {
			got = strings.Join(c.Args().Slice(), " ")
			return nil
		}
		if err := a.Run(strings.Fields(line)); err != nil || got != want {
			t.Errorf("%s: got %q, %v; want %q", line, got, err, want)
		}
	}
}

func TestSpecsOfDisk(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]resource.Scalar{
		"disk:2048": 2048 * resource.One, "disk:2GiB": 2048 * resource.One, "disk: 1.5G": 1536 * resource.One,
		"disk:512K": resource.One / 2, "disk:1B": 1,
	} {
		if got, all, err := parseSpec(in); err != nil || got != want || all {
			t.Errorf("parseSpec(%q) = %v, %v; want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"", "disk", "disk:", "2048", "cpus:2", "disk:x", "disk:-1", "disk:1:2", "disk(web):1", "Disk:1"} {
		if got, _, err := parseSpec(in); err == nil {
			t.Errorf("parseSpec(%q) = %v, want an error", in, got)
		}
	}
	if _, all, err := parseSpec("disk:all"); err != nil || !all {
		t.Errorf("disk:all is %v, %v; want all", all, err)
	}
}

func TestReservationsOfOneRoleAreToldApart(t *testing.T) {
	t.Parallel()
	ops, value := "ops", "x"
	for want, stack := range map[string][]resource.Reservation{
		"dynamic":                 {{Type: resource.Dynamic, Role: "web"}},
		"static":                  {{Type: resource.Static, Role: "web"}},
		"dynamic, by ops, k=x, l": {{Type: resource.Dynamic, Role: "web", Principal: &ops, Labels: []resource.Label{{Key: "k", Value: &value}, {Key: "l"}}}},
		"dynamic, within a/b by ops, within a (static)": {
			{Type: resource.Static, Role: "a"}, {Type: resource.Dynamic, Role: "a/b", Principal: &ops}, {Type: resource.Dynamic, Role: "a/b/c"}},
		"dynamic, within eng/web, within eng": {{Role: "eng"}, {Role: "eng/web"}, {Type: resource.Dynamic, Role: "eng/web/x"}},
	} {
		if got := describeStack(stack); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestWhatToDoNextFollowsFromTheVolume(t *testing.T) {
	t.Parallel()
	holders := func(n int) (list []wire.Holder) {
		for range n {
			list = append(list, wire.Holder{Task: "alice"})
		}
		return list
	}
	busy := &wire.Fault{Reason: "in use by process 7 (sh)"}
	tasks := map[string]wire.Task{
		"ends":  {ID: "ends", Releasing: true, Attachments: []wire.Attachment{{UUID: "u", Detaching: true, Fault: busy}}},
		"goes":  {ID: "goes", Releasing: true},
		"lets":  {ID: "lets", Attachments: []wire.Attachment{{UUID: "u", Detaching: true, Fault: busy}, {UUID: "other"}}},
		"keeps": {ID: "keeps", Attachments: []wire.Attachment{{UUID: "u", Detaching: true, Fault: busy}, {UUID: "u"}}},
	}
	find := func(task string) (wire.Task, []int) {
		if task == "left" {
			return wire.Task{}, []int{1}
		}
		return tasks[task], nil
	}
	by := func(task string) wire.Volume {
		return wire.Volume{Name: "web/x", UUID: "u", Holders: []wire.Holder{{Task: task}}}
	}
	for want, v := range map[string]wire.Volume{
		"nothing needs to be done":                      {Phase: volume.Destroying},
		"to destroy it: tenon volume destroy web/x":     {Name: "web/x", CanDestroy: true},
		"bring its disk back":                           {State: "unavailable"},
		"when task alice has ended: tenon task rel":     {Holders: holders(1)},
		"is released when it ends: wait for proc":       {Holders: []wire.Holder{{Task: "t", PID: 1}}},
		"task gone has ended; nothing needs to be done": {Holders: []wire.Holder{{Task: "gone", PID: 1 << 30}}},
		"that it left in its cgroup: 1 (":               {Holders: []wire.Holder{{Task: "left", PID: 1 << 30}}},
		"and so on for 5 more":                          {Holders: holders(15)},
		"task ends is releasing: in use by process 7 (sh)\n   at once: tenon task release ends --lazy":                    by("ends"),
		"task goes is releasing; nothing needs to be done":                                                                by("goes"),
		"task lets is detaching it: in use by process 7 (sh)\n   at once: tenon detach --task lets --volume web/x --lazy": by("lets"),
		"when task keeps has ended: ": by("keeps"),
	} {
		if got := strings.Join(stepsFor(v, find), "\n"); !strings.Contains(got, want) {
			t.Errorf("got %q, want %q in it", got, want)
		}
	}
}

func TestEveryChangeOfTheJournalIsDescribed(t *testing.T) {
	t.Parallel()
	for want, c := range map[string]volume.Change{
		"agent       a": {Agent: "a"},
		"boot        b": {Boot: "b"},
		"disk        root creating 1 MiB, pool p":           {Disk: &volume.Disk{Total: resource.One, Pool: "p", Phase: volume.Creating}},
		"reservation (DYNAMIC,web) 1 MiB free on disk root": {Account: &volume.Account{Reservations: []resource.Reservation{{Type: resource.Dynamic, Role: "web"}}, Free: resource.One}},
		"volume      web/x ready 1 MiB, u":                  {Volume: &volume.Volume{UUID: "u", Name: volume.Name{Role: "web", ID: "x"}, Size: resource.One, Phase: volume.Ready}},
		"task        t (releasing) in /s":                   {Task: &volume.Task{ID: "t", Sandbox: "/s", Releasing: true}},
		"attachment  t of u at data, ro by claim":           {Attachment: &volume.Attachment{Volume: "u", Task: "t", Path: "data", Mode: resource.RO, Via: volume.Claimed}},
		"operation   o create pending":                      {Operation: &volume.OperationStatus{ID: "o", Type: "CREATE", State: volume.OperationPending}},
		"operation   o create finished, acknowledged":       {Operation: &volume.OperationStatus{ID: "o", Type: "CREATE", State: volume.OperationFinished, Acknowledged: true}},
		"drop        operation o":                           {Drop: &volume.Drop{Operation: "o"}},
		"drop        volume u":                              {Drop: &volume.Drop{Volume: "u"}},
		"drop        task t":                                {Drop: &volume.Drop{Task: "t"}},
		"drop        attachment t of u at data":             {Drop: &volume.Drop{Volume: "u", Task: "t", Path: "data"}},
	} {
		if got := describeChange(c); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
