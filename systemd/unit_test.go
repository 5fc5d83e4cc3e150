package systemd

import (
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/coreos/go-systemd/v22/unit"
	"github.com/google/go-cmp/cmp"
)

// namespaced are the options of systemd.exec(5) that give a service a mount
// namespace of its own, or cut it off from the host's in another way, as patterns.
var namespaced = []string{
	"Private*", "Protect*", "ProcSubset", "ReadOnly*", "ReadWrite*", "Inaccessible*",
	"ExecPaths", "NoExecPaths", "Bind*", "TemporaryFileSystem", "Root*", "Mount*",
	"Extension*", "DynamicUser", "LogNamespace", "JoinsNamespaceOf",
	"NetworkNamespacePath", "IPCNamespacePath", "UserNamespacePath", "DelegateNamespaces",
	// These do not, but harm all the same: see the comments in tenon.service.
	"StateDirectory", "RuntimeDirectory", "RestrictNamespaces", "RestrictFileSystems",
	"RestrictSUIDSGID", "User", "DeviceAllow", "DevicePolicy",
}

// options returns a unit's options as "Section.Name" → values.
func options(t testing.TB, text string) map[string][]string {
	t.Helper()
	list, err := unit.DeserializeOptions(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	m := map[string][]string{}
	for _, o := range list {
		key := o.Section + "." + o.Name
		m[key] = append(m[key], o.Value)
	}
	return m
}

// forbidden returns the options that must not be in a service, sorted.
func forbidden(opts map[string][]string) (found []string) {
	for key := range opts {
		_, name, _ := strings.Cut(key, ".")
		if slices.ContainsFunc(namespaced, func(p string) bool { ok, _ := path.Match(p, name); return ok }) {
			found = append(found, key)
		}
	}
	slices.Sort(found)
	return found
}

func TestTheServiceKeepsItsPromises(t *testing.T) {
	t.Parallel()
	got := options(t, mustRead(t, "tenon.service"))
	for key, want := range map[string]string{
		"Service.Type":                    "notify",
		"Service.NotifyAccess":            "main",
		"Service.ExecStart":               "/usr/bin/tenon agent",
		"Service.WatchdogSec":             "30",
		"Service.Restart":                 "on-failure",
		"Service.KillMode":                "process",
		"Service.Delegate":                "yes",
		"Service.OOMPolicy":               "continue",
		"Service.NoNewPrivileges":         "yes",
		"Service.RestrictAddressFamilies": "AF_UNIX",
		"Unit.RequiresMountsFor":          "/var/lib/tenon",
	} {
		if diff := cmp.Diff([]string{want}, got[key]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", key, diff)
		}
	}
	if reload := got["Service.ExecReload"]; reload != nil {
		t.Errorf("ExecReload=%q, want none: the agent reads its configuration once", reload)
	}
}

func TestTheServiceStaysInTheHostsMountNamespace(t *testing.T) {
	t.Parallel()
	if found := forbidden(options(t, mustRead(t, "tenon.service"))); found != nil {
		t.Errorf("tenon.service sets %v: the agent's mounts would not reach the host and its tasks", found)
	}
}

func TestAnOptionThatImpliesANamespaceIsFound(t *testing.T) {
	t.Parallel()
	text := "[Unit]\nJoinsNamespaceOf=x.service\n[Service]\nType=notify\nPrivateTmp=yes\nProtectSystem=full\nBindReadOnlyPaths=/a\n"
	want := []string{"Service.BindReadOnlyPaths", "Service.PrivateTmp", "Service.ProtectSystem", "Unit.JoinsNamespaceOf"}
	if diff := cmp.Diff(want, forbidden(options(t, text))); diff != "" {
		t.Errorf("found (-want +got):\n%s", diff)
	}
}

// capabilities are those that tenon.service must name; each has its reason there.
var capabilities = []string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL",
	"CAP_LINUX_IMMUTABLE", "CAP_SETFCAP", "CAP_SETGID", "CAP_SETUID", "CAP_SYS_ADMIN", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE",
}

func TestTheServiceHasTheCapabilitiesItNeedsAndTheReasonForEach(t *testing.T) {
	t.Parallel()
	text := mustRead(t, "tenon.service")
	got := strings.Fields(strings.Join(options(t, text)["Service.CapabilityBoundingSet"], " "))
	slices.Sort(got)
	if diff := cmp.Diff(capabilities, got); diff != "" {
		t.Errorf("CapabilityBoundingSet (-want +got):\n%s", diff)
	}
	for _, c := range got {
		if !strings.Contains(text, "# "+c) && !strings.Contains(text, ", "+c+" ") {
			t.Errorf("no comment in tenon.service says what %s is for", c)
		}
	}
}

func TestTheSocketIsForTheGroupThatIsMade(t *testing.T) {
	t.Parallel()
	got := options(t, mustRead(t, "tenon.socket"))
	for key, want := range map[string]string{
		"Socket.ListenStream":       "/run/tenon/tenon.sock",
		"Socket.FileDescriptorName": "api",
		"Socket.SocketMode":         "0660",
		"Socket.SocketGroup":        "tenon",
		"Socket.RemoveOnStop":       "yes",
	} {
		if diff := cmp.Diff([]string{want}, got[key]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", key, diff)
		}
	}
	if text := mustRead(t, "sysusers.d/tenon.conf"); !strings.Contains(text, "\ng tenon -\n") {
		t.Errorf("sysusers.d/tenon.conf makes no group tenon:\n%s", text)
	}
}

// mustInstall lays the units out beneath a new root as `make install` does, with the
// targets that they depend on, and a program where the service expects it.
func mustInstall(t testing.TB) (root string) {
	t.Helper()
	root = t.TempDir()
	dir := filepath.Join(root, "usr/lib/systemd/system")
	targets, err := filepath.Glob("/usr/lib/systemd/system/*.target")
	if err != nil {
		t.Fatal(err)
	}
	write := func(path, content string, mode os.FileMode) {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, target := range targets {
		b, err := os.ReadFile(target)
		if err != nil {
			t.Fatal(err)
		}
		write(filepath.Join(dir, filepath.Base(target)), string(b), 0o644)
	}
	for _, name := range []string{"tenon.service", "tenon.socket"} {
		write(filepath.Join(dir, name), mustRead(t, name), 0o644)
	}
	write(filepath.Join(root, "usr/bin/tenon"), "#!/bin/sh\n", 0o755)
	return root
}

// verify runs systemd-analyze on the units beneath root. It exits with 0 even when
// it found an unknown option, so what it prints counts too.
func verify(t testing.TB, root string) (complaints string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "systemd-analyze", "verify", "--man=no", "--root="+root, "tenon.service", "tenon.socket")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return err.Error() + "\n" + string(out)
	}
	return string(out)
}

func TestSystemdUnderstandsTheUnits(t *testing.T) {
	t.Parallel()
	_, err := exec.LookPath("systemd-analyze")
	requireThing(t, "systemd-analyze", err == nil)
	root := mustInstall(t)
	if complaints := verify(t, root); complaints != "" {
		t.Errorf("systemd-analyze verify:\n%s", complaints)
	}
	broken := mustRead(t, "tenon.service") + "\n[Service]\nWatchdogSecs=30\n"
	if err := os.WriteFile(filepath.Join(root, "usr/lib/systemd/system/tenon.service"), []byte(broken), 0o644); err != nil {
		t.Fatal(err)
	}
	if complaints := verify(t, root); !strings.Contains(complaints, "WatchdogSecs") {
		t.Errorf("systemd-analyze verify did not see an unknown option; it said:\n%s", complaints)
	}
}
