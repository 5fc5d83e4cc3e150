package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/cgroups/v3/cgroup1"
	"github.com/containerd/cgroups/v3/cgroup2"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Device is a block device as the kernel numbers it.
type Device struct{ Major, Minor uint32 }

// IOLimit bounds what a group reads from one device and writes to it. Zero is no bound. On the
// unified hierarchy writes through the page cache count; on v1 only those that a process waits
// for do (O_DIRECT, O_SYNC), because the kernel does not know there whose page it writes back.
type IOLimit struct {
	Device
	Read, Write       uint64 // bytes a second
	ReadOps, WriteOps uint64 // operations a second
}

// DeviceOf finds the device that the file system of a directory is on: the whole one where it
// is a partition, since limits are for those. It returns ErrUnsupported where there is none of
// its own: btrfs, overlayfs, tmpfs and network file systems have none that the kernel tells.
func DeviceOf(dir *os.File) (Device, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &st); err != nil {
		return Device{}, &os.PathError{Op: "fstat", Path: dir.Name(), Err: err}
	}
	d := Device{unix.Major(st.Dev), unix.Minor(st.Dev)}
	sys, err := filepath.EvalSymlinks(fmt.Sprintf("/sys/dev/block/%d:%d", d.Major, d.Minor))
	if err != nil {
		return Device{}, fmt.Errorf("%w: the file system at %s is on no block device that limits could be for", ErrUnsupported, dir.Name())
	}
	if _, err := os.Stat(filepath.Join(sys, "partition")); err != nil {
		return d, nil
	}
	text, err := os.ReadFile(filepath.Join(filepath.Dir(sys), "dev"))
	if err != nil {
		return Device{}, err
	}
	return parseDevice(strings.TrimSpace(string(text)))
}

func parseDevice(text string) (d Device, err error) {
	if _, err := fmt.Sscanf(text, "%d:%d", &d.Major, &d.Minor); err != nil {
		return d, fmt.Errorf("%q is no device: %w", text, err)
	}
	return d, nil
}

// LimitsIO is nil where groups can have limits of their input and output, and ErrUnsupported
// with what is missing where not.
func (m *Manager) LimitsIO() error { return m.hierarchy.limitsIO() }

func (h hierarchy) limitsIO() error {
	if !h.alone() {
		if _, err := os.Stat(blkioRoot + "/blkio.throttle.write_bps_device"); err != nil {
			return fmt.Errorf("%w for limits of input and output: at %s is no hierarchy of the blkio controller with throttling", ErrUnsupported, blkioRoot)
		}
		return nil
	}
	text, err := os.ReadFile(filepath.Join(h.mount, "cgroup.controllers"))
	if err != nil {
		return err
	}
	if !slices.Contains(strings.Fields(string(text)), "io") {
		return fmt.Errorf("%w for limits of input and output: the kernel's io controller is not among those of %s (%s)",
			ErrUnsupported, h.mount, strings.TrimSpace(string(text)))
	}
	return nil
}

// blkioRoot is where v1 has the controller of input and output.
const blkioRoot = hostRoot + "/blkio"

// alone says whether the hierarchy has the controllers of the host, too.
func (h hierarchy) alone() bool { return h.v2() && h.mount == hostRoot }

// IOPath is the full path of the group in which the limits are: the group itself, or, where the
// controllers are those of v1, one of the same name that whoever joins has to join as well.
func (g *Group) IOPath() string {
	if g.hierarchy.alone() {
		return g.Path()
	}
	return filepath.Join(blkioRoot, g.group)
}

// LimitIO bounds what the group reads and writes, each device once; bounds of it that are zero are
// lifted. Limits of other devices stay. It returns fs.ErrNotExist if the group does not exist; the
// one at IOPath is made if it is missing, and goes with it. It returns ErrUnsupported where the host
// has no controller for it.
func (g *Group) LimitIO(limits ...IOLimit) error {
	if err := g.hierarchy.limitsIO(); err != nil {
		return err
	}
	there, err := Exists(g.Path())
	switch {
	case err == nil && !there:
		err = fs.ErrNotExist
	case err != nil:
	case g.hierarchy.alone():
		err = g.limitV2(limits)
	default:
		_, err = cgroup1.New(cgroup1.StaticPath(g.group), throttles(limits), blkioOnly())
	}
	if err != nil {
		return explain(g.IOPath(), fmt.Errorf("limit input and output of cgroup %s: %w", g.IOPath(), err))
	}
	return nil
}

func (g *Group) limitV2(limits []IOLimit) error {
	m, err := cgroup2.Load(g.group, cgroup2.WithMountpoint(g.hierarchy.mount))
	if err != nil {
		return err
	}
	if err := m.ToggleControllers([]string{"io"}, cgroup2.Enable); err != nil {
		return err
	}
	io := &cgroup2.IO{}
	for _, l := range limits {
		for _, b := range l.bounds() {
			if b.rate == 0 {
				b.rate = math.MaxUint64 // which is no bound
			}
			io.Max = append(io.Max, cgroup2.Entry{Type: b.v2, Major: int64(l.Major), Minor: int64(l.Minor), Rate: b.rate})
		}
	}
	return m.Update(&cgroup2.Resources{IO: io})
}

// bound is one number of a limit, with what it is called.
type bound struct {
	rate uint64
	v2   cgroup2.IOType
	v1   string
}

func (l IOLimit) bounds() []bound {
	return []bound{
		{l.Read, cgroup2.ReadBPS, "read_bps"}, {l.Write, cgroup2.WriteBPS, "write_bps"},
		{l.ReadOps, cgroup2.ReadIOPS, "read_iops"}, {l.WriteOps, cgroup2.WriteIOPS, "write_iops"},
	}
}

// throttles are limits as v1 has them.
func throttles(limits []IOLimit) *specs.LinuxResources {
	io := &specs.LinuxBlockIO{}
	lists := []*[]specs.LinuxThrottleDevice{&io.ThrottleReadBpsDevice, &io.ThrottleWriteBpsDevice, &io.ThrottleReadIOPSDevice, &io.ThrottleWriteIOPSDevice}
	for _, l := range limits {
		for i, b := range l.bounds() {
			d := specs.LinuxThrottleDevice{Rate: b.rate} // 0 is no bound
			d.Major, d.Minor = int64(l.Major), int64(l.Minor)
			*lists[i] = append(*lists[i], d)
		}
	}
	return &specs.LinuxResources{BlockIO: io}
}

// blkioOnly restricts package cgroup1 to the one controller.
func blkioOnly() cgroup1.InitOpts {
	return cgroup1.WithHierarchy(func() ([]cgroup1.Subsystem, error) {
		return []cgroup1.Subsystem{cgroup1.NewBlkio(hostRoot)}, nil
	})
}

// IOLimits returns the limits that the kernel has for the group, in no order; none where it, or
// the controller, is missing.
func (g *Group) IOLimits() ([]IOLimit, error) {
	all := map[Device]*IOLimit{}
	at := func(d Device) *IOLimit {
		if all[d] == nil {
			all[d] = &IOLimit{Device: d}
		}
		return all[d]
	}
	var err error
	if g.hierarchy.alone() {
		err = g.readMax(at)
	} else {
		err = g.readThrottles(at)
	}
	var limits []IOLimit
	for _, l := range all {
		limits = append(limits, *l)
	}
	return limits, err
}

// readMax reads lines such as "8:0 rbps=1048576 wbps=max riops=max wiops=max".
func (g *Group) readMax(at func(Device) *IOLimit) error {
	return eachLine(filepath.Join(g.Path(), "io.max"), func(d Device, rest []string) error {
		for _, field := range rest {
			name, value, _ := strings.Cut(field, "=")
			if err := at(d).set(name, value); err != nil {
				return err
			}
		}
		return nil
	})
}

func (l *IOLimit) set(name, value string) error {
	if value == "max" {
		return nil
	}
	rate, err := strconv.ParseUint(value, 10, 64)
	if err != nil || rate == math.MaxUint64 {
		return err
	}
	switch cgroup2.IOType(name) {
	case cgroup2.ReadBPS:
		l.Read = rate
	case cgroup2.WriteBPS:
		l.Write = rate
	case cgroup2.ReadIOPS:
		l.ReadOps = rate
	case cgroup2.WriteIOPS:
		l.WriteOps = rate
	}
	return nil
}

// readThrottles reads four files with lines such as "8:0 1048576".
func (g *Group) readThrottles(at func(Device) *IOLimit) error {
	var errs []error
	for _, b := range (IOLimit{}).bounds() {
		path := filepath.Join(g.IOPath(), "blkio.throttle."+b.v1+"_device")
		errs = append(errs, eachLine(path, func(d Device, rest []string) error {
			return at(d).set(string(b.v2), strings.Join(rest, ""))
		}))
	}
	return errors.Join(errs...)
}

// eachLine calls read with the device and the fields of each line of a file of the kernel. One
// that is missing has none.
func eachLine(path string, read func(Device, []string) error) error {
	text, err := os.ReadFile(path)
	if gone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		d, err := parseDevice(fields[0])
		if err == nil {
			err = read(d, fields[1:])
		}
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

// joinIO moves a process into the group at IOPath, if that is another one and is there.
func (g *Group) joinIO(pid uint64) error {
	if g.hierarchy.alone() {
		return nil
	}
	if _, err := os.Lstat(g.IOPath()); gone(err) {
		return nil
	}
	c, err := cgroup1.Load(cgroup1.StaticPath(g.group), blkioOnly())
	if err != nil {
		return err
	}
	return c.AddProc(pid)
}

// deleteIO removes the group at IOPath, if that is another one.
func (g *Group) deleteIO() error {
	if g.hierarchy.alone() {
		return nil
	}
	return remove(g.IOPath())
}
