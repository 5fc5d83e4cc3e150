package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"tenon/agent/config"
	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/checkpoint"
)

func checkpointCommand() *cli.Command {
	return &cli.Command{
		Name:        "checkpoint",
		Usage:       "read, verify and salvage the agent's journal, without the agent",
		Subcommands: []*cli.Command{checkpointShowCommand(), checkpointVerifyCommand(), checkpointExportCommand()},
	}
}

func checkpointShowCommand() *cli.Command {
	return &cli.Command{
		Name:      "show",
		Usage:     "print every record of a journal",
		ArgsUsage: "[DIR]",
		Description: "Only reads, and works while an agent runs. DIR is TENON_STATE_DIR, or " + config.Default().StateDir + ", unless given.\n\n" +
			"EXAMPLES:\n   tenon checkpoint show\n   tenon checkpoint show --output json | jq '.[].record.volume'",
		Action: checkpointShow,
	}
}

func checkpointVerifyCommand() *cli.Command {
	return &cli.Command{
		Name:      "verify",
		Usage:     "check every checksum of a journal, and that nothing is missing",
		ArgsUsage: "[DIR]",
		Description: "Only reads, and works while an agent runs. DIR is TENON_STATE_DIR, or " + config.Default().StateDir + ", unless given.\n\n" +
			"EXAMPLES:\n   tenon checkpoint verify",
		Action: checkpointVerify,
	}
}

// stateDir is the directory that the command line names, or else the one where an agent
// with this environment has its journal.
func stateDir(c *cli.Context) string {
	return firstOf(c.Args().First(), firstOf(os.Getenv("TENON_STATE_DIR"), config.Default().StateDir))
}

// shownEntry is a record as programs get it.
type shownEntry struct {
	Position checkpoint.Position `json:"position"`
	File     string              `json:"file"`
	Offset   int64               `json:"offset"`
	Record   json.RawMessage     `json:"record"`
}

// checkpointShow prints as it reads: a journal may be large. A record that this version
// does not understand is shown as it is.
func checkpointShow(c *cli.Context) error {
	w := bufio.NewWriter(c.App.Writer)
	write, begin, end := writeText, "", ""
	if wantsJSON(c) {
		write, begin, end = writeEntry, "[\n", "\n]\n"
	}
	n := 0
	err := checkpoint.Show(stateDir(c), func(e checkpoint.Entry) error {
		if n++; n == 1 {
			fmt.Fprint(w, begin)
		}
		return write(w, n, e)
	})
	if n == 0 && err == nil {
		hint(c, "the journal is empty")
	}
	if n == 0 && end != "" {
		end = "[]\n"
	}
	fmt.Fprint(w, end)
	return errors.Join(journalError(c, err), w.Flush())
}

func writeEntry(w *bufio.Writer, n int, e checkpoint.Entry) error {
	record := json.RawMessage(e.Record)
	if !json.Valid(record) {
		var err error
		if record, err = json.Marshal(string(e.Record)); err != nil {
			return err
		}
	}
	data, err := json.Marshal(shownEntry{e.Position, e.File, e.Offset, record})
	if err != nil {
		return err
	}
	if n > 1 {
		fmt.Fprint(w, ",\n")
	}
	_, err = fmt.Fprintf(w, "  %s", data)
	return err
}

func writeText(w *bufio.Writer, _ int, e checkpoint.Entry) error {
	text := clean(string(e.Record))
	if change, err := volume.Decode(e.Record); err == nil {
		text = describeChange(change)
	}
	_, err := fmt.Fprintf(w, "%6d  %s+%-8d  %s\n", e.Position, filepath.Base(e.File), e.Offset, text)
	return err
}

// describeChange says in one line what a record of the journal sets.
func describeChange(c volume.Change) string {
	switch {
	case c.Agent != "":
		return "agent       " + clean(c.Agent)
	case c.Boot != "":
		return "boot        " + clean(c.Boot)
	case c.Disk != nil:
		return fmt.Sprintf("disk        %s %s %s, pool %s", clean(volume.DiskName(c.Disk.Key)), c.Disk.Phase, sizeText(c.Disk.Total.Bytes()), clean(c.Disk.Pool))
	case c.Account != nil:
		var stack []string
		for _, r := range c.Account.Reservations {
			stack = append(stack, r.String())
		}
		return fmt.Sprintf("reservation %s %s free on disk %s", clean(strings.Join(stack, "")), sizeText(c.Account.Free.Bytes()), clean(volume.DiskName(c.Account.Disk)))
	case c.Volume != nil:
		return fmt.Sprintf("volume      %s %s %s, %s", clean(c.Volume.Name.String()), c.Volume.Phase, sizeText(c.Volume.Size.Bytes()), c.Volume.UUID)
	case c.Task != nil:
		return fmt.Sprintf("task        %s%s in %s", clean(c.Task.ID), wordIf(c.Task.Releasing, "releasing"), orDash(clean(c.Task.Sandbox)))
	case c.Attachment != nil:
		a := c.Attachment
		return fmt.Sprintf("attachment  %s%s of %s at %s, %s by %s", clean(a.Task), wordIf(a.Gone, "detaching"), a.Volume, clean(a.Path), optionWords(a.Mode, a.NoExec, a.As), a.Via)
	case c.Operation != nil:
		o := c.Operation
		return fmt.Sprintf("operation   %s %s %s", clean(o.ID), strings.ToLower(o.Type), stateWord(o.State, o.Acknowledged))
	}
	return "drop        " + describeDrop(c.Drop)
}

func wordIf(is bool, word string) string {
	if is {
		return " (" + word + ")"
	}
	return ""
}

func describeDrop(d *volume.Drop) string {
	switch {
	case d.Path != "":
		return fmt.Sprintf("attachment %s of %s at %s", clean(d.Task), d.Volume, clean(d.Path))
	case d.Task != "":
		return "task " + clean(d.Task)
	case d.Operation != "":
		return "operation " + clean(d.Operation)
	}
	return "volume " + string(d.Volume)
}

// verified is a report as programs get it.
type verified struct {
	Dir           string              `json:"dir"`
	Snapshot      uint64              `json:"snapshot"` // generation; 0 is none
	SnapshotBytes resource.Bytes      `json:"snapshot_bytes"`
	Segments      int                 `json:"segments"`
	LogBytes      resource.Bytes      `json:"log_bytes"`
	Transactions  int                 `json:"transactions"`
	Records       int                 `json:"records"`
	Last          checkpoint.Position `json:"last"`
	Proven        checkpoint.Position `json:"proven"`
	TornFile      string              `json:"torn_file,omitempty"`
	TornBytes     int64               `json:"torn_bytes"`
}

func checkpointVerify(c *cli.Context) error {
	dir := stateDir(c)
	r, err := checkpoint.Verify(dir)
	if err != nil {
		return journalError(c, err)
	}
	if r.Segments == 0 && r.SnapshotBytes == 0 {
		return &volume.Error{Kind: volume.ErrNotFound, Message: "there is no journal in " + dir}
	}
	object := verified{
		dir, r.Snapshot, resource.Bytes(r.SnapshotBytes), r.Segments, resource.Bytes(r.LogBytes), r.Transactions,
		r.Records, r.Last, r.Proven, r.TornFile, r.TornBytes,
	}
	return show(c, object, func(p *page) { p.verified(object) })
}

func (p *page) verified(r verified) {
	p.line("%s: %s", clean(r.Dir), p.paint(green, "the journal is sound"))
	snapshot := "none"
	if r.Snapshot != 0 {
		snapshot = fmt.Sprintf("generation %d, %s", r.Snapshot, r.SnapshotBytes)
	}
	list := []field{
		{"snapshot", snapshot},
		{"log", fmt.Sprintf("%s, %s", count(r.Segments, "segment", "segments"), r.LogBytes)},
		{"records", fmt.Sprint(r.Records)},
		{"last transaction", fmt.Sprint(r.Last)},
	}
	if r.TornBytes > 0 {
		list = append(list, field{"torn tail", fmt.Sprintf("%d bytes at the end of %s, which the next start cuts; nobody was told that they are safe",
			r.TornBytes, clean(r.TornFile))})
	}
	p.fields(list)
}

// journalError adds what can be done about a journal that can't be read.
func journalError(c *cli.Context, err error) error {
	damage := (*checkpoint.DamageError)(nil)
	switch {
	case errors.As(err, &damage):
		return advice{err, append(surviving(filepath.Dir(damage.File)), "the agent does not start on it; put the journal back from a copy, and mend nothing by hand")}
	case errors.Is(err, fs.ErrNotExist):
		return advice{err, []string{"name the state_dir of the agent's configuration: " + c.Command.HelpName + " DIR"}}
	}
	return err
}

// adviseOnStart advises on why an agent has not started.
func adviseOnStart(err error) error {
	if errors.Is(err, checkpoint.ErrLocked) {
		return advice{err, []string{"another agent runs with this state_dir: ask that one (tenon status), or end it first"}}
	}
	return err
}
