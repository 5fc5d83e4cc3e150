package main

import (
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tenon/agent/config"
	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/mount/mounttest"
)

// configured is a configuration that a file makes of that of an agent in dir.
func configured(t *testing.T, dir, file string) config.Config {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tenon.toml")
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(config.Dev(dir), config.Sources{File: path})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestTheAgentHasTheDisksThatAreConfigured(t *testing.T) {
	mounttest.RequireMounts(t)
	dir, mounted := t.TempDir(), t.TempDir()
	if err := syscall.Mount("tenon", mounted, "tmpfs", 0, "size=16m"); err != nil {
		t.Fatal(os.NewSyscallError("mount", err))
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(mounted, 0); err != nil {
			t.Error(err)
		}
	})
	static := func(role string, mib resource.Scalar) volume.Part {
		return volume.Part{Size: mib, Reservations: []resource.Reservation{{Type: resource.Static, Role: role}}}
	}
	one := resource.One
	for name, tc := range map[string]struct {
		file string
		want []volume.Disk // Source is left out
	}{
		"nothing":        {"", []volume.Disk{{Auto: true, Parts: []volume.Part{{}}}}},
		"a default role": {"default_role = 'eng'", []volume.Disk{{Auto: true, Parts: []volume.Part{static("eng", 0)}}}},
		"a pool":         {"pool_size = 64", []volume.Disk{{Total: 64 * one, Parts: []volume.Part{{Size: 64 * one}}}}},
		"parts":          {"resources = 'disk:64;disk(eng):32'", []volume.Disk{{Total: 96 * one, Parts: []volume.Part{{Size: 64 * one}, static("eng", 32*one)}}}},
		"nothing at all": {"resources = 'disk:0'", []volume.Disk{{Parts: []volume.Part{{}}}}},
		"a mounted disk, one that is not, and a directory": {
			"pool_size = 64\n[[disk]]\npath = '" + mounted + "'\ntype = 'mount'\nrole = 'eng'\n[[disk]]\npath = '/nowhere'\ntype = 'mount'\n[[disk]]\npath = '/a'\nsize = 32",
			[]volume.Disk{
				{Total: 64 * one, Parts: []volume.Part{{Size: 64 * one}}},
				{Key: "MOUNT:" + mounted, Auto: true, Parts: []volume.Part{static("eng", 0)}},
				{Key: "MOUNT:/nowhere", Auto: true, Parts: []volume.Part{{}}},
				{Key: "PATH:/a", Total: 32 * one, Parts: []volume.Part{{Size: 32 * one}}},
			}},
	} {
		got, dirs, err := disksOf(configured(t, dir, tc.file))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for i := range got {
			if got[i].Source.Key() != got[i].Key || dirs[got[i].Key] == "" {
				t.Errorf("%s: disk %s has source %s and directory %q", name, got[i].Key, got[i].Source, dirs[got[i].Key])
			}
			got[i].Source = nil
			if seen := tc.want[i].Key == "" && !tc.want[i].Auto; (got[i].On.Size > 0) != seen {
				t.Errorf("%s: disk %s is on %+v", name, got[i].Key, got[i].On)
			}
			got[i].On = volume.FileSystem{}
			tc.want[i].OnExceed = volume.Report // what the default is
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestADirectoryForTheAuditFileIsMade(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := config.Dev(dir)
	cfg.AuditLog = filepath.Join(dir, "log", "tenon", "audit.log")
	if err := makeParents(cfg); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Dir(cfg.AuditLog)); err != nil || info.Mode().Perm()&^0o755 != 0 {
		t.Errorf("got %v, %v; want a directory that only its owner may write to", info, err)
	}
	cfg.AuditLog = ""
	if err := makeParents(cfg); err != nil {
		t.Errorf("without an audit file: %v", err)
	}
}

func TestAnAgentThatCannotServeTLSDoesNotStart(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "tenon") // its name leaves room for a socket's
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	cfg := configured(t, dir, "tls_listen = '127.0.0.1:0'\ntls_cert = '/nowhere/cert'\ntls_key = '/nowhere/key'\ntls_client_ca = '/nowhere/ca'")
	lns, err := listeners(cfg, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "serve TLS at 127.0.0.1:0: stat /nowhere/cert") || lns.api != nil {
		t.Errorf("got %v, %v; want an error that names the file", lns, err)
	}
	if conn, err := net.Dial("unix", cfg.Socket); err == nil {
		t.Errorf("the socket is served all the same: %v", conn.Close())
	}
	cfg.TLSListen = ""
	if lns, err = listeners(cfg, nil); err != nil || len(lns.api) != 1 || lns.pollers != nil || lns.csi != nil {
		t.Fatalf("without TLS: %v, %v; want one listener", lns, err)
	}
	if err := lns.close(); err != nil {
		t.Error(err)
	}
}
