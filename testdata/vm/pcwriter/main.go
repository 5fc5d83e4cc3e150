// Command pcwriter is a payload that tries run-in-vm's power-cut mode: it replaces a
// state file over and over (write, rename) and acknowledges each new state. With
// -sync=none or -sync=file it leaves out what makes the replacement durable.
package main

import (
	"bufio"
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

var (
	dir   = flag.String("dir", "/mnt/d0", "folder for the state file")
	mode  = flag.String("sync", "full", "full, file (not the folder) or none")
	pause = flag.Duration("pause", 0, "between two states")
	count = flag.Int("count", 1<<30, "number of states to write")
)

func fatal(format string, a ...any) {
	fmt.Printf(format+"\n", a...)
	os.Exit(1)
}

func content(n int) string {
	body := fmt.Sprintf("%d %s", n, strings.Repeat("x", n*37%9000))
	return fmt.Sprintf("%x %s", sha256.Sum256([]byte(body)), body)
}

// load returns the number in the state file, 0 if there is no state file.
func load() int {
	b, err := os.ReadFile(filepath.Join(*dir, "state"))
	if os.IsNotExist(err) {
		return 0
	} else if err != nil {
		fatal("read: %v", err)
	}
	var n int
	if f := strings.Fields(string(b)); len(f) > 1 {
		fmt.Sscan(f[1], &n)
	}
	if string(b) != content(n) {
		fatal("DAMAGED: state file of %d bytes", len(b))
	}
	return n
}

func store(n int) error {
	tmp := filepath.Join(*dir, "state.tmp")
	f, err := os.Create(tmp)
	if err != nil {
		return err
	}
	if _, err := f.WriteString(content(n)); err != nil {
		return err
	}
	if *mode != "none" {
		if err := f.Sync(); err != nil {
			return err
		}
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(tmp, filepath.Join(*dir, "state")); err != nil {
		return err
	}
	if *mode == "full" {
		d, err := os.Open(*dir)
		if err != nil {
			return err
		}
		defer d.Close()
		return d.Sync()
	}
	return nil
}

func main() {
	flag.Parse()
	n := load()
	if os.Getenv("POWERCUT_PHASE") == "verify" {
		last := 0
		if f, err := os.Open(os.Getenv("POWERCUT_ACKED")); err == nil {
			for s := bufio.NewScanner(f); s.Scan(); {
				fmt.Sscanf(s.Text(), "ACK %d", &last)
			}
		}
		if n < last {
			fatal("LOST: state is %d, acknowledged was %d", n, last)
		}
		fmt.Printf("ok: state is %d, acknowledged was %d\n", n, last)
		return
	}
	for range *count {
		n++
		if err := store(n); err != nil {
			fatal("write: %v", err)
		}
		fmt.Println("ACK", n)
		time.Sleep(*pause)
	}
}
