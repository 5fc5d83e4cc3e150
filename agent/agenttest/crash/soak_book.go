package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// sample is what an agent takes at one moment.
type sample struct {
	rss, heap               float64 // MiB
	descriptors, goroutines float64
	journal                 float64 // KiB on the disk
	volumes, attachments    float64
	operations              float64 // since the agent started
}

// book keeps all samples.
type book struct {
	samples  []sample
	restarts []int // of how many samples each had been taken before
}

func (b *book) add(s sample) { b.samples = append(b.samples, s) }

func (b *book) restarted() { b.restarts = append(b.restarts, len(b.samples)) }

// sample asks the kernel and the agent.
func (k *soaker) sample(ctx context.Context) (s sample, err error) {
	m, err := k.crowd.metrics(ctx)
	if err != nil {
		return s, err
	}
	for name, at := range map[string]*float64{
		"go_goroutines": &s.goroutines, "go_memstats_heap_inuse_bytes": &s.heap,
		`tenon_volumes{phase="ready"}`: &s.volumes, "tenon_attachments": &s.attachments,
	} {
		v, found := m[name]
		if !found {
			return s, fmt.Errorf("metrics: there is no %s", name)
		}
		*at = v
	}
	for name, v := range m {
		if strings.HasPrefix(name, "tenon_operation_duration_seconds_count{") {
			s.operations += v
		}
	}
	s.heap /= 1 << 20
	process := fmt.Sprint("/proc/", k.site.process.Process.Pid)
	if s.rss, err = memoryOf(process+"/status", "VmRSS:"); err != nil {
		return s, err
	}
	open, err := os.ReadDir(process + "/fd")
	if err != nil {
		return s, err
	}
	s.descriptors, s.journal = float64(len(open)), filesKiB(k.site.path("state"))
	return s, nil
}

// memoryOf reads a size from the status of a process, in MiB (proc_pid_status(5)).
func memoryOf(status, name string) (float64, error) {
	text, err := os.ReadFile(status)
	if err != nil {
		return 0, err
	}
	_, after, found := strings.Cut(string(text), name)
	fields := strings.Fields(after)
	if !found || len(fields) == 0 {
		return 0, fmt.Errorf("%s has no %s", status, name)
	}
	kib, err := strconv.ParseFloat(fields[0], 64)
	return kib / 1024, err
}

// filesKiB is the length of all files in a directory; one that goes meanwhile has none.
func filesKiB(dir string) (kib float64) {
	names, _ := filepath.Glob(filepath.Join(dir, "*")) // the pattern is right
	for _, name := range names {
		if info, err := os.Stat(name); err == nil {
			kib += float64(info.Size()) / 1024
		}
	}
	return kib
}

// columns are what the table and the drift are about.
var columns = []struct {
	name string
	of   func(s sample) float64
	flat bool // must not grow
}{
	{"RSS MiB", func(s sample) float64 { return s.rss }, true},
	{"heap MiB", func(s sample) float64 { return s.heap }, true},
	{"descriptors", func(s sample) float64 { return s.descriptors }, true},
	{"goroutines", func(s sample) float64 { return s.goroutines }, true},
	{"journal KiB", func(s sample) float64 { return s.journal }, false},
	{"volumes", func(s sample) float64 { return s.volumes }, false},
	{"attachments", func(s sample) float64 { return s.attachments }, false},
}

func median(samples []sample, of func(sample) float64) float64 {
	if len(samples) == 0 {
		return 0
	}
	values := make([]float64, len(samples))
	for i, s := range samples {
		values[i] = of(s)
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// table has a row of medians for each so many samples.
func (b *book) table(perRow int) string {
	var t strings.Builder
	fmt.Fprintf(&t, "%7s", "looks")
	for _, c := range columns {
		fmt.Fprintf(&t, " %12s", c.name)
	}
	fmt.Fprintf(&t, " %12s %9s\n", "operations", "restarts")
	for from := 0; from < len(b.samples); from += perRow {
		row := b.samples[from:min(from+perRow, len(b.samples))]
		fmt.Fprintf(&t, "%7d", from+len(row))
		for _, c := range columns {
			fmt.Fprintf(&t, " %12.1f", median(row, c.of))
		}
		fmt.Fprintf(&t, " %12.0f %9d\n", done(row), b.restartsIn(from, from+len(row)))
	}
	return t.String()
}

// done is how many operations there were between samples; the count begins again with the
// agent.
func done(samples []sample) (sum float64) {
	for i := 1; i < len(samples); i++ {
		if more := samples[i].operations - samples[i-1].operations; more >= 0 {
			sum += more
		} else {
			sum += samples[i].operations
		}
	}
	return sum
}

func (b *book) restartsIn(from, to int) (n int) {
	for _, at := range b.restarts {
		if at > from && at <= to {
			n++
		}
	}
	return n
}

// margin is by how much the last quarter may be above the second: the collector lets the heap
// double before it works, so that the median of a minute moves by some percent by itself; what
// leaks by as little as 100 bytes an operation is above it within minutes.
const margin = 1.10

// drift says what has grown from the second to the last quarter. Samples that are too few to
// tell say nothing.
func (b *book) drift(fewest int) error {
	quarter := len(b.samples) / 4
	if quarter < fewest {
		return nil
	}
	second, last := b.samples[quarter:2*quarter], b.samples[3*quarter:]
	var errs []error
	for _, c := range columns {
		was, is := median(second, c.of), median(last, c.of)
		if c.flat && is > was*margin {
			errs = append(errs, fmt.Errorf("%s has grown from %.1f in the second quarter to %.1f in the last", c.name, was, is))
		}
	}
	return errors.Join(errs...)
}
