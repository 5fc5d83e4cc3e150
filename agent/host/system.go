package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"tenon/agent/pool"
	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/isolator/cgroup"
	"tenon/mount"
)

// Boot identifies the running boot of the kernel (random(4)).
func Boot() (string, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(id)), err
}

// OfferedSize is how much of a file system is offered where the configuration does not
// say: all but 5 GB, or half of one below 10 GB (spec.md 1.10). The directory, or the
// nearest one above it that exists, says which file system.
func OfferedSize(dir string) (resource.Bytes, error) {
	f, err := mount.OpenDir(dir)
	if errors.Is(err, fs.ErrNotExist) && dir != "/" {
		return OfferedSize(filepath.Dir(dir))
	}
	if err != nil {
		return 0, fmt.Errorf("size of the disk: %w", err)
	}
	defer f.Close()
	total, err := sizeOf(f)
	return offered(total), err
}

// WholeSize is the size of the file system that is mounted at dir: what a MOUNT disk
// offers, all of it to one volume. Where nothing is mounted it is an error.
func WholeSize(dir string) (resource.Bytes, error) {
	f, err := mount.OpenDir(dir)
	if err != nil {
		return 0, fmt.Errorf("size of the disk: %w", err)
	}
	defer f.Close()
	if err := (&disk{dir: dir, mount: true}).checkMount(f); err != nil {
		return 0, err
	}
	return sizeOf(f)
}

// sizeOf is the size of the file system that a directory is on.
func sizeOf(dir *os.File) (resource.Bytes, error) {
	p, err := pool.Open(dir)
	if err != nil {
		return 0, err
	}
	defer p.Close()
	space, err := p.Space()
	return space.Total, err
}

// Look sees what file system the directory of a disk is on, or that of the root disk will be,
// and which pool is there. What can't be seen is empty.
func Look(dir string, root bool) volume.FileSystem {
	f, err := mount.OpenDir(dir)
	for at := dir; errors.Is(err, fs.ErrNotExist) && root && at != "/"; {
		at = filepath.Dir(at)
		f, err = mount.OpenDir(at)
	}
	if err != nil {
		return volume.FileSystem{}
	}
	defer f.Close()
	size, err := sizeOf(f)
	device, err2 := deviceOf(f)
	if errors.Join(err, err2) != nil {
		return volume.FileSystem{}
	}
	on := volume.FileSystem{ID: strconv.FormatUint(device, 10), Size: size}
	if p, err := pool.Open(f); err == nil {
		defer p.Close()
		if found, err := p.Identify(); err == nil {
			on.Pool = found.UUID
		}
	}
	return on
}

func offered(total resource.Bytes) resource.Bytes {
	const gib = 1024 * resource.MiB
	if total >= 10*gib {
		return total - 5*gib
	}
	return total / 2
}

// Remove removes all that hosts opened with these options have made, and the directory
// that it all lies in: for an agent that was only tried out. It refuses while a task's
// mount or cgroup is left.
func Remove(o Options, dir string) error {
	if groups, err := cgroup.Open(cgroup.Options{Parent: o.CgroupParent}); err == nil {
		if err := groups.RemoveParent(); err != nil {
			return err
		}
	}
	own := slices.Clone(o.SandboxRoots)
	for _, pool := range o.Disks {
		own = append(own, pool) // a mount of its own on older kernels
	}
	for _, path := range own {
		if err := mount.SelfUnmount(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	parent, err := mount.OpenDir(filepath.Dir(dir))
	if err != nil {
		return err
	}
	defer parent.Close()
	return mount.RemoveTree(context.Background(), parent, filepath.Base(dir))
}
