package mounttest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// inventory is what a process must not leave behind.
type inventory struct {
	mounts []string // lines of mountinfo
	files  []string // "descriptor path"
}

// takeInventory lists the open descriptors, and the mounts of this namespace.
func takeInventory(mounts bool) (i inventory) {
	wakePoller()
	if mounts {
		i.mounts = listMounts()
	}
	i.files = listFiles()
	return i
}

// since lists what is in i and was not in before.
func (i inventory) since(before inventory) []string {
	var left []string
	for _, m := range i.mounts {
		if !slices.Contains(before.mounts, m) {
			left = append(left, "mount "+m)
		}
	}
	for _, f := range i.files {
		if !slices.Contains(before.files, f) {
			left = append(left, "descriptor "+f)
		}
	}
	return left
}

// wakePoller makes the runtime open the descriptors of its poller, which stay.
func wakePoller() {
	r, w, err := os.Pipe()
	if err != nil {
		panic(fmt.Sprintf("cannot happen: no pipe: %v", err))
	}
	r.Close()
	w.Close()
}

func listMounts() []string {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return []string{err.Error()}
	}
	return strings.Split(strings.TrimSpace(string(table)), "\n")
}

func listFiles() []string {
	const dir = "/proc/self/fd"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return []string{err.Error()}
	}
	var files []string
	for _, e := range entries {
		// The descriptor of the listing itself is gone by now.
		if path, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil {
			files = append(files, e.Name()+" "+path)
		}
	}
	return files
}
