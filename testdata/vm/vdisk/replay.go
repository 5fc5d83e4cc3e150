package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"math/rand"
	"os"
	"os/exec"
	"sort"
	"time"
)

// history is a log on its way through time: the image as of the last flush, and the
// marks that came before it.
type history struct {
	ops   []op
	done  int // entries that the image and the marks have in them
	image *os.File
	acked *os.File
}

// replay is the command of that name.
func replay(args []string) {
	fs := flag.NewFlagSet("replay", flag.ExitOnError)
	image := fs.String("image", "", "image file as it was before the log; it is changed")
	logName := fs.String("log", "", "log that serve wrote")
	n := fs.Int("n", 100, "number of power cuts")
	cut := fs.String("cut", "random", "lose, keep or random")
	atom := fs.Int("atom", sector, "bytes that are never torn: the physical sector")
	seed := fs.Int64("seed", 1, "of the random choices")
	work := fs.String("work", "", "where to put the crash image (default: IMAGE.crash)")
	_ = fs.Parse(args) // ends the program on an error
	if *work == "" {
		*work = *image + ".crash"
	}
	rnd := rand.New(rand.NewSource(*seed))
	h := openHistory(*image, *logName, *work+".acked")
	start, lost := time.Now(), 0
	for i, p := range cutPoints(*n, len(h.ops), rnd) {
		check(h.flushedBefore(p))
		pending, marks, err := h.unflushed(p)
		check(err)
		kept := survivors(pending, *cut, *atom, rnd)
		check(crashImage(*image, *work, kept))
		if out, err := try(fs.Args(), *work, h.acked.Name()); err != nil {
			lost++
			fmt.Printf("cut %d at entry %d of %d, %d of %d unflushed writes kept: %v: %s", i, p, len(h.ops), len(kept), len(pending), err, out)
		}
		check(h.forget(marks))
	}
	fmt.Printf("vdisk: %d power cuts over %d log entries in %.1fs, %d failed (seed %d)\n", *n, len(h.ops), time.Since(start).Seconds(), lost, *seed)
	if lost > 0 {
		os.Exit(1)
	}
}

func openHistory(image, logName, acked string) *history {
	ops, err := readLog(logName)
	check(err)
	f, err := os.OpenFile(image, os.O_RDWR, 0)
	check(err)
	a, err := os.Create(acked)
	check(err)
	return &history{ops: ops, image: f, acked: a}
}

// cutPoints are n places among so many entries, in order.
func cutPoints(n, entries int, rnd *rand.Rand) []int {
	points := make([]int, n)
	for i := range points {
		points[i] = rnd.Intn(entries + 1)
	}
	sort.Ints(points)
	return points
}

// flushedBefore brings the image and the marks up to the last flush before entry p.
func (h *history) flushedBefore(p int) error {
	for j := p - 1; j >= h.done; j-- {
		if h.ops[j].kind != 'F' {
			continue
		}
		past := h.ops[h.done:j]
		h.done = j + 1
		if err := apply(h.image, past); err != nil {
			return err
		}
		_, err := h.writeMarks(past)
		return err
	}
	return nil
}

// unflushed returns the writes between that flush and entry p, and adds the marks
// there for the time of one try; forget takes them back to size marks.
func (h *history) unflushed(p int) (pending []op, marks int64, err error) {
	for _, o := range h.ops[h.done:p] {
		if o.kind == 'W' {
			pending = append(pending, o)
		}
	}
	marks, err = h.writeMarks(h.ops[h.done:p])
	return pending, marks, err
}

// writeMarks adds the marks among ops to the file; before is its size until then.
func (h *history) writeMarks(ops []op) (before int64, err error) {
	if before, err = h.acked.Seek(0, io.SeekCurrent); err != nil {
		return 0, err
	}
	for _, o := range ops {
		if o.kind == 'M' {
			if _, err := fmt.Fprintf(h.acked, "%s\n", o.data); err != nil {
				return 0, err
			}
		}
	}
	return before, nil
}

// forget cuts the marks off that the image has not reached yet.
func (h *history) forget(size int64) error {
	if err := h.acked.Truncate(size); err != nil {
		return err
	}
	_, err := h.acked.Seek(size, io.SeekStart)
	return err
}

// crashImage makes a copy of the image with the writes that survive.
func crashImage(image, work string, kept []op) error {
	if out, err := exec.Command("cp", "--sparse=always", "--reflink=auto", image, work).CombinedOutput(); err != nil {
		log.Fatalf("cp: %v: %s", err, out)
	}
	crash, err := os.OpenFile(work, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err := apply(crash, kept); err != nil {
		return err
	}
	return crash.Close()
}

// try runs the command on one crash image.
func try(command []string, image, acked string) (out []byte, err error) {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = append(os.Environ(), "POWERCUT_IMAGE="+image, "POWERCUT_ACKED="+acked)
	return cmd.CombinedOutput()
}
