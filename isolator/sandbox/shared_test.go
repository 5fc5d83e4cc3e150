package sandbox

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"tenon/mount"
	"tenon/mount/mounttest"
)

// newSharedRoot is a root on a mount that has a peer: what is mounted in the one is seen
// in the other, as containers see what is mounted for them beneath the kubelet's directory.
func newSharedRoot(t *testing.T) (r *Root, peer string) {
	t.Helper()
	mounttest.RequireMounts(t)
	dir := t.TempDir()
	path, peer := filepath.Join(dir, "kubelet"), filepath.Join(dir, "peer")
	must(t, os.Mkdir(path, 0o750))
	must(t, os.Mkdir(peer, 0o750))
	must(t, unix.Mount("kubelet", path, "tmpfs", 0, ""))
	t.Cleanup(func() { must(t, unix.Unmount(path, unix.MNT_DETACH)) })
	must(t, unix.Mount("", path, "", unix.MS_SHARED, ""))
	must(t, unix.Mount(path, peer, "", unix.MS_BIND, ""))
	t.Cleanup(func() { must(t, unix.Unmount(peer, unix.MNT_DETACH)) })
	must(t, os.MkdirAll(filepath.Join(path, "pods", "a", "secret"), 0o750))
	must(t, unix.Mount("secret", filepath.Join(path, "pods", "a", "secret"), "tmpfs", 0, ""))
	must(t, os.WriteFile(filepath.Join(path, "pods", "a", "secret", "token"), nil, 0o600))
	r, err := OpenShared(path)
	must(t, err)
	t.Cleanup(func() { must(t, r.Close()) })
	return r, peer
}

func TestASharedRootIsLeftAsItIsAndWhatIsAttachedThereIsSeenElsewhere(t *testing.T) {
	r, peer := newSharedRoot(t)
	if _, err := os.Stat(filepath.Join(r.Path(), "pods", "a", "secret", "token")); err != nil {
		t.Errorf("what was mounted in the root is out of sight: %v", err)
	}
	s, err := r.Open("pods/a")
	must(t, err)
	defer s.Close()
	v := newVolume(t)
	p, err := s.Prepare("mount")
	must(t, err)
	defer p.Close()
	must(t, v.attach(t, p.Target))
	must(t, p.Verify(v.id))
	seen := filepath.Join(peer, "pods", "a", "mount", "content")
	if text, err := os.ReadFile(seen); err != nil || string(text) != "kept" {
		t.Errorf("elsewhere there is %q, %v", text, err)
	}
	must(t, mount.Detach(p.Parent, p.Name, false))
	if _, err := os.Stat(seen); !os.IsNotExist(err) {
		t.Errorf("after the detach, elsewhere: %v", err)
	}
	must(t, s.Clear("mount"))
	if _, err := os.Stat(filepath.Join(r.Path(), "pods", "a", "mount")); !os.IsNotExist(err) {
		t.Errorf("after Clear: %v", err)
	}
}

func TestASharedRootThatIsMissingIsMade(t *testing.T) {
	t.Parallel()
	mounttest.RequireMounts(t)
	path := filepath.Join(t.TempDir(), "lib", "kubelet")
	r, err := OpenShared(path)
	must(t, err)
	defer r.Close()
	m, err := mount.Lookup(r.dir)
	must(t, err)
	if m.Point == path {
		t.Errorf("the root was mounted: %+v", m)
	}
}
