package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"tenon/agent/host"
	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/agent/wire"
	"tenon/mount/mounttest"
)

// The second disk of a soak, and what stays on it from the beginning to the end.
const (
	diskMiB       = 200
	keptVolumes   = 20
	keptTasks     = 100 // each with one attachment by path
	imageBytes    = 320 << 20
	roleOfKept    = "kept"
	roleOfCrew    = "crew"
	roleOfOrders  = "fleet"
	crewMiB       = 100
	keptVolumeMiB = 1
)

// place is a site with all that an agent can have: a second disk with limits, a CSI socket
// and a master.
type place struct {
	*site
	master *master
	device *os.File // loop device beneath the second disk
}

// newPlace makes a place that no agent was in.
func newPlace(o options) (p *place, err error) {
	dir := o.dir
	if dir == "" {
		if dir, err = os.MkdirTemp("", "tenon-soak-"); err != nil {
			return nil, err
		}
	}
	p = &place{}
	if p.site, err = newSite(o.tenon, dir); err != nil {
		return nil, err
	}
	for _, name := range []string{"disk", "kubelet/pods", "agents"} {
		if err := os.MkdirAll(p.path(name), 0o755); err != nil {
			return nil, err
		}
	}
	if err := p.mountDisk(); err != nil {
		return nil, err
	}
	if p.master, err = newMaster(p.site); err != nil {
		return nil, errors.Join(err, p.remove())
	}
	p.total += diskMiB
	return p, p.configure()
}

// configure adds to the site's configuration what a place has besides.
func (p *place) configure() error {
	text, err := os.ReadFile(p.path("tenon.toml"))
	if err != nil {
		return err
	}
	more := fmt.Sprintf("log_level = \"warn\"\naudit_log = %q\ncsi_socket = %q\ncsi_roots = [%q]\ncsi_node_expansion = true\n\n[[disk]]\npath = %q\nsize = \"%dMiB\"\n\n"+
		"[[master]]\nname = %q\nurl = %q\nsecret_file = %q\ninterval = \"50ms\"\nheartbeat = \"200ms\"\n",
		p.path("audit.log"), p.csi(), p.path("kubelet"), p.path("disk"), diskMiB, roleOfOrders, "http://"+p.master.address+"/", p.master.secret)
	whole := strings.Replace(string(text), "audit_log = \"\"\n", more, 1)
	return os.WriteFile(p.path("tenon.toml"), []byte(whole), 0o600)
}

func (p *place) csi() string { return p.path("kubelet", "csi.sock") }

// mountDisk makes a file system with limits in a file and mounts it: a btrfs, whose limits
// every kernel can have.
func (p *place) mountDisk() error {
	f := mounttest.BtrfsSimple
	image, err := os.Create(p.path("image"))
	if err != nil {
		return err
	}
	defer image.Close()
	if err := image.Truncate(imageBytes); err != nil {
		return err
	}
	if out, err := exec.Command("mkfs."+f.Type, "-q", image.Name()).CombinedOutput(); err != nil {
		return fmt.Errorf("mkfs.%s: %w %s", f.Type, err, out)
	}
	d := mounttest.Disk{Filesystem: f, Dir: p.path("disk")}
	if d.Device, err = mounttest.AttachLoop(image); err != nil {
		return err
	}
	p.device = d.Device
	if err := d.Mount(); err != nil {
		return &os.PathError{Op: "mount", Path: d.Dir, Err: err}
	}
	return d.SwitchQuotas(true)
}

// remove unmounts and removes all that was there. The device frees itself.
func (p *place) remove() error {
	if err := syscall.Unmount(p.path("disk"), 0); err != nil {
		return &os.PathError{Op: "umount", Path: p.path("disk"), Err: err}
	}
	return errors.Join(p.device.Close(), host.Remove(host.Options{
		Disks:        map[string]string{"": p.path("pool")},
		SandboxRoots: []string{p.path("sandboxes"), p.path("kubelet")}, CgroupParent: p.cgroups(),
	}, p.dir))
}

// reserve reserves some of the second disk.
func (p *place) reserve(ctx context.Context, role string, mib int) error {
	dir := p.path("disk")
	r := reserved(role, int64(mib)*int64(resource.One))
	r[0].Disk = &resource.Disk{Source: &resource.Source{Type: resource.SourcePath, Path: &resource.Root{Root: &dir}}}
	_, err := p.Apply(ctx, resource.Operation{Type: resource.OpReserve, Reserve: &resource.Reserve{Resources: r}})
	return err
}

// kept is the name of a volume that stays.
func kept(n int) string { return fmt.Sprintf("%s/v%d", roleOfKept, n) }

// setUp makes what stays.
func (p *place) setUp(ctx context.Context) error {
	if err := errors.Join(p.reserve(ctx, roleOfKept, keptVolumes*keptVolumeMiB), p.reserve(ctx, roleOfCrew, crewMiB)); err != nil {
		return err
	}
	for n := range keptVolumes {
		if _, err := p.Create(ctx, wire.CreateVolume{Role: roleOfKept, ID: fmt.Sprint("v", n), Size: keptVolumeMiB * resource.MiB,
			Shared: true, Disk: p.path("disk")}); err != nil {
			return err
		}
	}
	for n := range keptTasks {
		use := wire.Use{Volume: kept(n % keptVolumes), Path: "data", Mode: resource.RO}
		if _, err := p.Attach(ctx, fmt.Sprint("kept-", n), wire.Attach{Use: use}); err != nil {
			return err
		}
	}
	return nil
}

// clear lets go of what stays.
func (p *place) clear(ctx context.Context) error {
	for n := range keptTasks {
		if err := p.Release(ctx, fmt.Sprint("kept-", n), false); err != nil {
			return err
		}
	}
	for n := range keptVolumes {
		if _, err := p.Destroy(ctx, kept(n), true); err != nil {
			return err
		}
	}
	return nil
}

// master is testdata/master/receiver, which keeps what it is told in files and orders what it
// finds in others.
type master struct {
	program, dir, secret, address string
	process                       *exec.Cmd // nil while it is away
	losses                        int
}

func newMaster(s *site) (*master, error) {
	m := &master{program: s.path("receiver"), dir: s.path("agents"), secret: s.path("secret")}
	if out, err := exec.Command("go", "build", "-o", m.program, "tenon/testdata/master/receiver").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build of the master: %w\n%s", err, out)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	m.address = ln.Addr().String()
	return m, errors.Join(ln.Close(), os.WriteFile(m.secret, []byte("a secret of thirty-two bytes, yes\n"), 0o600))
}

func (m *master) start() error {
	m.process = exec.Command(m.program, "-listen", m.address, "-dir", m.dir, "-secret", m.secret)
	m.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return m.process.Start()
}

// end kills the master, as far as it runs.
func (m *master) end() error {
	if m.process == nil {
		return nil
	}
	err := m.process.Process.Kill()
	_ = m.process.Wait() // it was killed
	m.process, m.losses = nil, m.losses+1
	return err
}

// order has the agent do an operation, and waits for what came of it.
func (m *master) order(id, operations string) error {
	reports, err := filepath.Glob(filepath.Join(m.dir, "*.json"))
	if err != nil || len(reports) != 1 {
		return fmt.Errorf("the master has reports of %d agents, not one: %w", len(reports), errors.Join(err))
	}
	dir := strings.TrimSuffix(reports[0], ".json")
	file := filepath.Join(dir, id)
	if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(file+".new", []byte(operations), 0o600), os.Rename(file+".new", file+".json")); err != nil {
		return err
	}
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		result, err := os.ReadFile(file + ".result")
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err == nil && !strings.Contains(string(result), string(volume.OperationFinished)) {
			err = fmt.Errorf("order %s has ended so: %s", id, result)
		}
		return errors.Join(err, os.Remove(file+".result"))
	}
	return fmt.Errorf("order %s never ended", id)
}
