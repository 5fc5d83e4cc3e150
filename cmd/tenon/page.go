package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/urfave/cli/v2"
	"golang.org/x/term"
)

// show prints a result: for programs the object itself, for people what they make of it.
func show(c *cli.Context, object any, people func(*page)) error {
	if wantsJSON(c) {
		return writeJSON(c.App.Writer, object)
	}
	p := &page{color: wantsColor(c.App.Writer), now: time.Now()}
	people(p)
	_, err := io.WriteString(c.App.Writer, p.String())
	return err
}

func wantsJSON(c *cli.Context) bool { return global(c, "output") == outputJSON }

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// hint tells people, not programs, what they may want to know besides.
func hint(c *cli.Context, format string, args ...any) {
	if !wantsJSON(c) {
		fmt.Fprintf(c.App.ErrWriter, format+"\n", args...)
	}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// wantsColor keeps to no-color.org.
func wantsColor(w io.Writer) bool {
	return os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && isTerminal(w)
}

// page is a result as people read it.
type page struct {
	strings.Builder
	color bool
	now   time.Time
}

// style is how a terminal shows a text (ECMA-48, SGR).
type style string

const (
	bold   style = "1"
	dim    style = "2"
	red    style = "31"
	green  style = "32"
	yellow style = "33"
)

func (p *page) paint(s style, text string) string {
	if !p.color || s == "" || text == "" {
		return text
	}
	return "\x1b[" + string(s) + "m" + text + "\x1b[0m"
}

// stateStyles are how states and kinds of faults look.
var stateStyles = map[string]style{
	"ready": green, "running": green,
	"creating": yellow, "destroying": yellow, "releasing": yellow, "detaching": yellow, "busy": yellow,
	"lost": red, "unavailable": red, "failed": red,
}

func (p *page) state(word string) string { return p.paint(stateStyles[word], word) }

func (p *page) line(format string, args ...any) { fmt.Fprintf(p, format+"\n", args...) }

// wouldHave tells what a dry run has found to be possible.
func (p *page) wouldHave(format string, args ...any) {
	p.line("would "+format+"; nothing was changed", args...)
}

// age is how long ago something was, in one unit.
func (p *page) age(t time.Time) string { return age(p.now.Sub(t)) }

func age(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < time.Second:
		return "0s"
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 2*day:
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return fmt.Sprintf("%dd", d/day)
}

// column is the head of a column; numbers stand at its right edge.
type column struct {
	name  string
	right bool
}

// table prints rows beneath columns, without borders.
func (p *page) table(columns []column, rows [][]string) {
	t := table.NewWriter()
	t.SetStyle(table.Style{
		Box:     table.BoxStyle{PaddingRight: "   "},
		Format:  table.FormatOptions{},
		Options: table.OptionsNoBordersAndSeparators,
	})
	t.SuppressTrailingSpaces()
	var head table.Row
	var configs []table.ColumnConfig
	for i, c := range columns {
		head = append(head, p.paint(bold, strings.ToUpper(c.name)))
		if c.right {
			configs = append(configs, table.ColumnConfig{Number: i + 1, Align: text.AlignRight, AlignHeader: text.AlignRight})
		}
	}
	t.AppendHeader(head)
	t.SetColumnConfigs(configs)
	for _, row := range rows {
		var cells table.Row
		for _, cell := range row {
			cells = append(cells, cell)
		}
		t.AppendRow(cells)
	}
	p.line("%s", t.Render())
}

// field is one line of a description.
type field struct{ name, value string }

// fields prints names and values in two columns; those without a value are left out.
func (p *page) fields(list []field) {
	width := 0
	for _, f := range list {
		if f.value != "" {
			width = max(width, len(f.name))
		}
	}
	for _, f := range list {
		if f.value != "" {
			p.line("%s%*s  %s", p.paint(dim, f.name), width-len(f.name), "", f.value)
		}
	}
}

// clean makes a name that others chose safe for a terminal.
func clean(s string) string {
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// count is a number with its noun.
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

// progress tells on a terminal what is being waited for, and how long, once it takes more
// than a second. done takes that line away; it must be called.
func progress(c *cli.Context, what string) (done func()) {
	w := c.App.ErrWriter
	if !isTerminal(w) {
		return func() {}
	}
	end := make(chan struct{})
	var work sync.WaitGroup
	work.Go(func() { tick(w, what, end) })
	return func() { close(end); work.Wait() }
}

func tick(w io.Writer, what string, end <-chan struct{}) {
	const clearLine = "\r\x1b[K"
	start, shown := time.Now(), ""
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for {
		select {
		case <-end:
			fmt.Fprint(w, shown)
			return
		case now := <-second.C:
			fmt.Fprintf(w, clearLine+"%s (%s)", what, age(now.Sub(start)))
			shown = clearLine
		}
	}
}
