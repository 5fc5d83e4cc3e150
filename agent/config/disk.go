package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"tenon/agent/resource"
)

const diskDoc = `
# Further disks. All of one of type "mount", a file system that is mounted at the path,
# becomes one volume; one of type "path", the default, is divided. Without size, or with
# "0B", the agent takes what the file system has. A role reserves the disk to it; "*" to
# nobody, whatever default_role is.
`

const diskExample = `#
# [[disk]]
# path = "/mnt/disk1"
# size = "500GiB"
#
# [[disk]]
# path = "/mnt/disk2"
# type = "mount"
# role = "eng"
`

// diskTable is a disk in the file.
type diskTable struct {
	Path string `toml:"path"`
	Size any    `toml:"size,omitempty"`
	Type string `toml:"type,omitempty"`
	Role string `toml:"role,omitempty"`
}

// The types of a disk. Without one it is the first.
const (
	pathType  = "path"
	mountType = "mount"
)

// applyDisks replaces the disks by the document's, if it has any.
func applyDisks(c *Config, file string, d document) error {
	if d.Disk == nil {
		return nil
	}
	var errs []error
	c.Disks = nil
	for i, table := range d.Disk {
		disk, err := table.disk(fmt.Sprintf("%s: disk %d: ", file, i+1))
		errs = append(errs, err)
		c.Disks = append(c.Disks, disk)
	}
	return errors.Join(errs...)
}

// disk is what a table says; what of it cannot be read is left out. where says which
// table it is.
func (t diskTable) disk(where string) (Disk, error) {
	disk := Disk{Path: t.Path, Role: t.Role, Mount: t.Type == mountType}
	var errs []error
	if t.Type != "" && t.Type != pathType && !disk.Mount {
		errs = append(errs, fmt.Errorf("%stype: %q is neither path nor mount", where, t.Type))
	}
	if t.Size == nil {
		return disk, errors.Join(errs...)
	}
	words, err := scalars([]any{t.Size})
	if err == nil {
		disk.Size, err = resource.ParseBytes(words[0])
	}
	if err != nil {
		errs = append(errs, fmt.Errorf("%ssize: %w", where, err))
	}
	return disk, errors.Join(errs...)
}

// writeDisks writes what applyDisks reads back, or an example.
func writeDisks(b *strings.Builder, disks []Disk) error {
	b.WriteString(diskDoc)
	if len(disks) == 0 {
		b.WriteString(diskExample)
	}
	for _, d := range disks {
		table := diskTable{Path: d.Path, Size: exactly(d.Size), Role: d.Role}
		if d.Mount {
			table.Type = mountType
		}
		entry, err := toml.Marshal(table)
		if err != nil {
			return fmt.Errorf("write disk %s: %w", d.Path, err)
		}
		fmt.Fprintf(b, "\n[[disk]]\n%s", entry)
	}
	return nil
}
