package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tenon/agent/config"
	"tenon/agent/resource"
)

// mustPlace writes a file that resources may be read from, and returns its path.
func mustPlace(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "resources")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestResourcesAreReadFromAFileInTextOrJSON(t *testing.T) {
	t.Parallel()
	want := []resource.Resource{{Name: "cpus", Type: resource.TypeScalar, Scalar: 2 * resource.One}}
	for _, content := range []string{"cpus:2\n", "\n[{\"name\": \"cpus\", \"type\": \"SCALAR\", \"scalar\": {\"value\": 2}}]\n"} {
		value := "file://" + mustPlace(t, content)
		got, err := config.Load(config.Default(), config.Sources{Environ: []string{"TENON_RESOURCES=" + value}})
		if err != nil {
			t.Errorf("%s: %v", content, err)
		}
		if diff := cmp.Diff(want, got.Resources); diff != "" {
			t.Errorf("%s (-want +got):\n%s", content, diff)
		}
	}
}

func TestAFileOfResourcesThatCannotBeReadIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	bad := mustPlace(t, "cpus")
	for value, want := range map[string]string{
		"file://a/b":           `"a/b" is not an absolute path: write file:///…`,
		"file://" + dir:        dir + " is not a file",
		"file://" + fifo:       fifo + " is not a file",
		"file://" + dir + "/0": "stat " + dir + "/0: no such file or directory",
		"file://" + bad:        bad + ": Bad value for resources, missing or extra ':' in \"cpus\"",
		"file://" + mustPlace(t, strings.Repeat(" ", 1<<20)+"cpus:2"): " has more than 1048576 bytes",
	} {
		_, err := config.Load(config.Default(), config.Sources{Flags: map[string]string{"resources": value}})
		if got := problems(err); len(got) != 1 || !strings.HasPrefix(got[0], "command line: --resources: ") || !strings.HasSuffix(got[0], want) {
			t.Errorf("%s: %q, want … %s", value, got, want)
		}
	}
}

func TestResourcesAndAttributesThatAreWrongNameTheirSourceAndKey(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		from config.Sources
		want string
	}{
		"text": {config.Sources{Flags: map[string]string{"resources": "cpus:1:2"}},
			"command line: --resources: Bad value for resources, missing or extra ':' in "},
		"JSON": {config.Sources{Environ: []string{`TENON_RESOURCES=[{"nam":"x"}]`}},
			"environment: TENON_RESOURCES: resources: "},
		"an object": {config.Sources{File: mustWrite(t, "resources = '{}'")},
			"tenon.toml: resources: resources: a JSON object, want an array of them"},
		"a list": {config.Sources{File: mustWrite(t, "resources = ['cpus:1']")},
			"tenon.toml: resources: [cpus:1] is not what it takes: a list for sandbox_roots and csi_roots, else a text or a number"},
		"two types": {config.Sources{File: mustWrite(t, "resources = 'x:1;x:{a}'")},
			"tenon.toml: resources: "},
		"a role": {config.Sources{File: mustWrite(t, "resources = 'cpus:1'\ndefault_role = '-a'")},
			"default_role: "},
		"no role": {config.Sources{Environ: []string{"TENON_DEFAULT_ROLE="}},
			"default_role: "},
		"an attribute": {config.Sources{File: mustWrite(t, "attributes = 'rack'")},
			"tenon.toml: attributes: Invalid attribute key:value pair \"rack\""},
		"an attribute that is a set": {config.Sources{Environ: []string{"TENON_ATTRIBUTES=a:{b}"}},
			"environment: TENON_ATTRIBUTES: Failed to parse attribute "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := config.Load(config.Default(), c.from)
			if got := problems(err); len(got) != 1 || !strings.HasPrefix(got[0], c.want) {
				t.Errorf("Load() = %q, want one problem that begins with %q", got, c.want)
			}
		})
	}
}

func TestTheDefaultRoleIsAppliedWhicheverSourceSaysIt(t *testing.T) {
	t.Parallel()
	got, err := config.Load(config.Default(), config.Sources{
		File:    mustWrite(t, "resources = 'cpus:1;mem(web):2'"),
		Environ: []string{"TENON_DEFAULT_ROLE=eng"},
	})
	if err != nil {
		t.Fatal(err)
	}
	var roles []string
	for _, r := range got.Resources {
		roles = append(roles, r.Role())
	}
	if diff := cmp.Diff([]string{"eng", "web"}, roles); diff != "" {
		t.Errorf("roles (-want +got):\n%s", diff)
	}
}

func TestAttributesAreRead(t *testing.T) {
	t.Parallel()
	want := []resource.Attribute{
		{Name: "rack", Type: resource.TypeText, Text: "r2"},
		{Name: "level", Type: resource.TypeScalar, Scalar: -500},
		{Name: "keys", Type: resource.TypeRanges, Ranges: []resource.Range{{Begin: 1, End: 9}}},
	}
	c := mustLoad(t, `attributes = "rack:r2;level:-0.5;keys:[1-9]"`)
	if diff := cmp.Diff(want, c.Attributes); diff != "" {
		t.Errorf("Attributes (-want +got):\n%s", diff)
	}
}

func TestAttributesThatTextCannotSayAreInvalid(t *testing.T) {
	t.Parallel()
	c := config.Default()
	c.Attributes = []resource.Attribute{{Name: "a", Type: resource.TypeSet, Set: []string{"b"}}, {Type: resource.TypeText}}
	want := []string{"attributes: a: a set cannot be written as text", "attributes: Empty attribute name"}
	if diff := cmp.Diff(want, problems(c.Validate())); diff != "" {
		t.Errorf("Validate() (-want +got):\n%s", diff)
	}
}
