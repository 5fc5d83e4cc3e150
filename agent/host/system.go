package host

import (
	"context"
	"errors"
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

// Look sees what file system the directory of a disk is on, or that of the root disk will be,
// and which pool is there. What can't be seen, or does not answer in time, is empty.
func Look(dir string, root bool) volume.FileSystem {
	on, _ := ask(context.Background(), &disk{dir: dir}, func() (volume.FileSystem, error) { return look(dir, root) })
	return on
}

func look(dir string, root bool) (on volume.FileSystem, err error) {
	f, err := mount.OpenDir(dir)
	for at := dir; errors.Is(err, fs.ErrNotExist) && root && at != "/"; {
		at = filepath.Dir(at)
		f, err = mount.OpenDir(at)
	}
	if err != nil {
		return on, err
	}
	defer f.Close()
	p, err := pool.Open(f)
	if err != nil {
		return on, err
	}
	defer p.Close()
	space, err := p.Space()
	device, err2 := deviceOf(f)
	if err := errors.Join(err, err2); err != nil {
		return on, err
	}
	on = volume.FileSystem{ID: strconv.FormatUint(device, 10), Size: space.Total}
	if found, err := p.Identify(); err == nil {
		on.Pool = found.UUID
	}
	return on, nil
}

// offered is how much of a file system is offered where the configuration does not say: all
// but 5 GB, or half of one below 10 GB (spec.md 1.10).
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
