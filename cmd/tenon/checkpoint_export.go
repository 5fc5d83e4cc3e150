package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"tenon/agent/config"
	"tenon/checkpoint"
)

func checkpointExportCommand() *cli.Command {
	return &cli.Command{
		Name:      "export",
		Usage:     "write every record that is intact as JSON, also of a damaged journal",
		ArgsUsage: "[DIR]",
		Description: "Of a sound journal it is what show has. Of a damaged one it is what can be read before and behind the\n" +
			"damage, with where that is and which transactions are missing: enough to tell which directory was which\n" +
			"volume, and no state that an agent could go on with. Only reads. DIR is TENON_STATE_DIR, or " + config.Default().StateDir + ",\n" +
			"unless given.\n\n" +
			"EXAMPLES:\n   tenon checkpoint export /var/lib/tenon/state > journal.json\n" +
			"   tenon checkpoint export | jq '.records[].record.volume | select(.) | {uuid, role, id, phase}'",
		Action: checkpointExport,
	}
}

// exported is what comes after the records.
type exported struct {
	Dir          string        `json:"dir"`
	Sound        bool          `json:"sound"`
	Damage       *damage       `json:"damage,omitempty"`
	SnapshotLost bool          `json:"snapshot_damaged,omitempty"`
	Missing      []missingSpan `json:"missing,omitempty"`
}

// damage is where a journal is damaged.
type damage struct {
	File   string `json:"file"`
	Offset int64  `json:"offset"`
	Reason string `json:"reason"`
}

// missingSpan is a row of transactions that are gone.
type missingSpan struct {
	From checkpoint.Position `json:"from"`
	To   checkpoint.Position `json:"to"`
}

// checkpointExport writes as it reads: first the records, then what is to be said of them.
func checkpointExport(c *cli.Context) error {
	dir := stateDir(c)
	w := bufio.NewWriter(c.App.Writer)
	n := 0
	fmt.Fprint(w, "{\"records\": [\n")
	out, err := checkpoint.Salvage(dir, func(e checkpoint.Entry) error {
		n++
		return writeEntry(w, n, e)
	})
	if err != nil {
		return journalError(c, err)
	}
	end := exported{Dir: dir, Sound: out.Damage == nil, SnapshotLost: out.Snapshot}
	if d := out.Damage; d != nil {
		end.Damage = &damage{d.File, d.Offset, d.Reason}
		hint(c, "the journal is damaged: %s", survivors(out))
	}
	for _, hole := range out.Holes {
		end.Missing = append(end.Missing, missingSpan(hole))
	}
	rest, err := json.Marshal(end)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "\n],\n%s\n", strings.TrimPrefix(string(rest), "{"))
	return w.Flush()
}

// surviving advises on what could be exported of a damaged journal.
func surviving(dir string) []string {
	out, err := checkpoint.Salvage(dir, func(checkpoint.Entry) error { return nil })
	if err != nil {
		return nil
	}
	return []string{survivors(out) + "; look at them with: tenon checkpoint export " + dir}
}

// survivors says in a sentence what is intact of a damaged journal.
func survivors(out checkpoint.Salvaged) string {
	text := count(out.Records, "record is intact", "records are intact")
	if out.Snapshot {
		text += ", part of the snapshot is lost"
	}
	var spans []string
	for _, h := range out.Holes {
		span := fmt.Sprint(h.From)
		if h.To > h.From {
			span += fmt.Sprintf("–%d", h.To)
		}
		spans = append(spans, span)
	}
	if len(spans) > 0 {
		text += ", transactions " + strings.Join(spans, ", ") + " are missing"
	}
	return text
}
