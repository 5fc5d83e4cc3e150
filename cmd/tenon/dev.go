package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// checkDev makes sure that a throw-away agent can mount before it tells how to use it.
func checkDev(c *cli.Context) error {
	if !c.Bool("dev") {
		return nil
	}
	able, err := mayMount()
	if err == nil && !able {
		err = errors.New("agent --dev: this user may not mount anything; run it as root")
	}
	return err
}

// leftBehind is why the directory of a throw-away agent could not be removed, with the
// commands that remove what is left, for when its tasks have ended.
func leftBehind(dir string, why error) error {
	table, err := os.ReadFile("/proc/self/mountinfo")
	lines := []string{"when its tasks have ended, this removes it:"}
	for _, point := range pointsBeneath(string(table), dir) {
		lines = append(lines, "   umount "+clean(point))
	}
	for _, group := range cgroupsNamed(filepath.Base(dir)) {
		lines = append(lines, fmt.Sprintf("   find %s -depth -type d -exec rmdir {} +", group))
	}
	lines = append(lines, "   rm -r "+clean(dir))
	return advice{fmt.Errorf("%s is left: %w", dir, errors.Join(why, err)), lines}
}

// pointsBeneath lists the mounts beneath a directory of a table (proc_pid_mountinfo(5)), in
// the order in which they can be unmounted.
func pointsBeneath(table, dir string) (points []string) {
	const pointAt = 4
	for line := range strings.Lines(table) {
		if fields := strings.Fields(line); len(fields) > pointAt && strings.HasPrefix(fields[pointAt], dir+"/") {
			points = append(points, fields[pointAt])
		}
	}
	slices.Reverse(points)
	return points
}

// cgroupsNamed lists the groups of a name at the root of every hierarchy.
func cgroupsNamed(name string) (groups []string) {
	for _, root := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/*/"} {
		found, _ := filepath.Glob(root + name) // the pattern is well formed
		groups = append(groups, found...)
	}
	return groups
}
