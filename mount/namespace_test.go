package mount

import (
	"testing"

	"golang.org/x/sys/unix"
)

// inPrivateNamespace runs f on a thread that has called MakePrivateNamespace and
// ends afterwards.
func inPrivateNamespace(t *testing.T, f func()) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		err := MakePrivateNamespace()
		if err == nil {
			f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestAPrivateNamespaceKeepsItsMountsToItself(t *testing.T) {
	t.Parallel()
	v := newVolume(t)
	if err := unix.Mount("", v.dir, "", unix.MS_SHARED, ""); err != nil {
		t.Fatal(err)
	}
	tree(t, v.dir, "sandbox/host/")
	mustMount(t, v.dir+"/volume", v.dir+"/sandbox/host", "", unix.MS_BIND)
	inPrivateNamespace(t, func() {
		if err := unix.Mount(v.dir+"/volume", v.targetPath, "", unix.MS_BIND, ""); err != nil {
			t.Error(err)
		}
		if !exists(v.targetPath + "/precious") {
			t.Error("the mount is not there")
		}
		done := make(chan struct{})
		go func() { // on another thread, in the namespace of the test
			defer close(done)
			if exists(v.targetPath + "/precious") {
				t.Error("the mount came out")
			}
			if err := Detach(v.sandbox, "host", false); err != nil {
				t.Error(err)
			}
		}()
		<-done
		if exists(v.dir + "/sandbox/host/precious") {
			t.Error("what the host unmounted is still mounted inside")
		}
	})
}
