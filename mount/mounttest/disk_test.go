package mounttest_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tenon/mount/mounttest"
)

func TestADiskIsAFilesystemOfItsOwnAndNothingIsLeftOfIt(t *testing.T) {
	for _, f := range append(mounttest.Limiting(), mounttest.Plain()...) {
		var device string
		t.Run(f.Name, func(t *testing.T) {
			d := mounttest.NewDisk(t, f)
			device = d.Device.Name()
			file := filepath.Join(d.Dir, "file")
			if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
			d.Remount(t)
			if text, err := os.ReadFile(file); err != nil || string(text) != "x" {
				t.Errorf("after a remount the file has %q, %v", text, err)
			}
			var above, here unix.Stat_t
			if err := unix.Stat(filepath.Dir(d.Dir), &above); err != nil {
				t.Fatal(err)
			}
			if err := unix.Stat(d.Dir, &here); err != nil || here.Dev == above.Dev {
				t.Errorf("it is on the device of the directory above it, %v", err)
			}
		})
		table, err := os.ReadFile("/proc/self/mountinfo")
		if err != nil || device != "" && strings.Contains(string(table), " "+device+" ") {
			t.Errorf("%s is still mounted, %v", device, err)
		}
	}
}
