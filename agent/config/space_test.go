package config_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"tenon/agent/config"
	"tenon/agent/resource"
)

// mustLoad loads a file with this content, on top of the defaults.
func mustLoad(t testing.TB, content string) config.Config {
	t.Helper()
	c, err := config.Load(config.Default(), config.Sources{File: mustWrite(t, content)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// show prints disks, one a line: "SOURCE DIR [ROLE=SIZE …]", or what is left to the file
// system as "SOURCE DIR auto ROLE".
func show(spaces []config.Space) (lines []string) {
	for _, s := range spaces {
		line := strings.TrimSpace(s.Source.String() + " " + s.Dir)
		if len(s.Parts) == 0 {
			lines = append(lines, strings.TrimSpace(line+" auto "+s.Role))
			continue
		}
		line += fmt.Sprint(s.Role)
		for _, p := range s.Parts {
			line += fmt.Sprintf(" %s=%s", p.Role, p.Size)
		}
		lines = append(lines, line)
	}
	return lines
}

// diskJSON is a disk of some size among the resources, with a source; more is what else
// its JSON says.
func diskJSON(size int, kind, root, more string) string {
	return fmt.Sprintf(`{"name":"disk","type":"SCALAR","scalar":{"value":%d},"disk":{"source":{"type":%q,%q:{"root":%q}}}%s}`,
		size, kind, strings.ToLower(kind), root, more)
}

const static = `,"reservations":[{"type":"STATIC","role":"eng"}]`

func TestEachWayToConfigureDisksSaysTheSpaceThatIsOffered(t *testing.T) {
	t.Parallel()
	const pool = "/var/lib/tenon/pool"
	list := func(entries ...string) string { return "resources = '[" + strings.Join(entries, ",") + "]'" }
	for name, c := range map[string]struct {
		file string
		want []string
	}{
		"nothing":          {"", []string{pool + " auto"}},
		"a pool":           {"pool_size = 2048", []string{pool + " =2048"}},
		"a default role":   {"default_role = 'eng'", []string{pool + " auto eng"}},
		"a pool of a role": {"pool_size = 2048\ndefault_role = 'eng'", []string{pool + " eng=2048"}},
		"disks": {"[[disk]]\npath = '/a'\n[[disk]]\npath = '/b'\ntype = 'path'\nsize = 7\n[[disk]]\npath = '/c'\ntype = 'mount'",
			[]string{pool + " auto", "PATH:/a /a auto", "PATH:/b /b =7", "MOUNT:/c /c auto"}},
		"disks with roles": {"default_role = 'web'\n[[disk]]\npath = '/a'\nrole = 'eng'\n[[disk]]\npath = '/b'\nrole = 'eng/x'\nsize = 7\n" +
			"[[disk]]\npath = '/c'\nrole = '*'\n[[disk]]\npath = '/d'\nsize = 1",
			[]string{pool + " auto web", "PATH:/a /a auto eng", "PATH:/b /b eng/x=7", "PATH:/c /c auto", "PATH:/d /d web=1"}},
		"resources without a disk leave it to the others": {"resources = 'cpus:24'\npool_size = 7", []string{pool + " =7"}},
		"an empty list says nothing":                      {"resources = '[]'\npool_size = 7", []string{pool + " =7"}},
		"the root disk in parts":                          {"resources = 'disk:409600;disk(eng):2048'", []string{pool + " =409600 eng=2048"}},
		"entries of one role add up":                      {"resources = 'disk:1.5;disk(eng):1;disk:2;disk(eng):0.25'", []string{pool + " =3.5 eng=1.25"}},
		"an empty root disk":                              {"resources = 'disk:0'", []string{pool + " =0"}},
		"an empty entry beside another":                   {"resources = 'disk:0;disk(eng):4'", []string{pool + " eng=4"}},
		"the role that is nobody's":                       {"resources = 'disk(*):4'", []string{pool + " =4"}},
		"resources of a default role":                     {"default_role = 'web'\nresources = 'disk:4;disk(eng):3;disk(web):2'", []string{pool + " web=6 eng=3"}},
		"other disks alone leave the root disk empty": {list(diskJSON(4, "PATH", "/a", static)),
			[]string{pool + " =0", "PATH:/a /a eng=4"}},
		"all sources": {list(diskJSON(4, "MOUNT", "/m", static), diskJSON(1, "PATH", "/a", static), diskJSON(2, "PATH", "/a", ""),
			diskJSON(3, "PATH", "/a", static), `{"name":"disk","type":"SCALAR","scalar":{"value":9}}`, diskJSON(0, "MOUNT", "/n", "")),
			[]string{pool + " =9", "MOUNT:/m /m eng=4", "PATH:/a /a eng=4 =2", "MOUNT:/n /n =0"}},
		"a role in the old format": {list(diskJSON(4, "PATH", "/a", `,"role":"eng"`)), []string{pool + " =0", "PATH:/a /a eng=4"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := mustLoad(t, c.file).Space()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, show(got)); diff != "" {
				t.Errorf("Space() (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDisksThatCannotBeOfferedAreRefusedByName(t *testing.T) {
	t.Parallel()
	source := func(s string) string {
		return `{"name":"disk","type":"SCALAR","scalar":{"value":8},"disk":{"source":` + s + `}}`
	}
	for name, c := range map[string]struct{ resources, want string }{
		"a block disk":              {source(`{"type":"BLOCK"}`), "resources: disk[BLOCK]:8: a source of type BLOCK cannot be configured: only PATH and MOUNT"},
		"a raw disk":                {source(`{"type":"RAW"}`), "resources: disk[RAW]:8: a source of type RAW cannot be configured: only PATH and MOUNT"},
		"an unknown disk":           {source(`{"type":"UNKNOWN"}`), "Unsupported 'DiskInfo.Source.Type'"},
		"no root":                   {source(`{"type":"PATH","path":{}}`), "resources: disk[PATH]:8: the root of its source is missing"},
		"nothing to mount":          {source(`{"type":"MOUNT"}`), "resources: disk[MOUNT]:8: the root of its source is missing"},
		"another type's root":       {source(`{"type":"PATH","mount":{"root":"/a"}}`), "a source of type PATH cannot have the root of another type"},
		"two roots":                 {source(`{"type":"MOUNT","mount":{"root":"/a"},"path":{"root":"/a"}}`), "a source of type MOUNT cannot have the root of another type"},
		"a relative root":           {diskJSON(8, "PATH", "a/b", ""), "resources: disk[PATH:a/b]:8: root: a/b is not an absolute path"},
		"an unclean root":           {diskJSON(8, "PATH", "/a/", ""), "resources: disk[PATH:/a/]:8: root: /a/ is not a clean path: write /a"},
		"an empty root":             {diskJSON(8, "MOUNT", "", ""), "root: a path is needed"},
		"the whole host":            {diskJSON(8, "PATH", "/", ""), "root: / is the whole host"},
		"one mount twice":           {diskJSON(8, "MOUNT", "/a", "") + "," + diskJSON(9, "MOUNT", "/a", static), "resources: disk(reservations: [(STATIC,eng)])[MOUNT:/a]:9: /a has an entry already, and what is mounted there cannot be divided"},
		"an empty mount twice":      {diskJSON(0, "MOUNT", "/a", "") + "," + diskJSON(0, "MOUNT", "/a", ""), "/a has an entry already"},
		"a provider's id":           {source(`{"type":"PATH","id":"x","path":{"root":"/a"}}`), "its source has the id of a resource provider's disk"},
		"a provider's disk":         {diskJSON(8, "PATH", "/a", `,"provider_id":{"value":"x"}`), "it belongs to a resource provider"},
		"an allocated disk":         {diskJSON(8, "PATH", "/a", `,"allocation_info":{"role":"eng"}`), "it is allocated already"},
		"a static principal":        {diskJSON(8, "PATH", "/a", `,"reservations":[{"type":"STATIC","role":"eng","principal":"ops"}]`), "resources: disk(reservations: [(STATIC,eng,ops)])[PATH:/a]:8: a static reservation of a disk has a role alone, no principal"},
		"static labels":             {diskJSON(8, "PATH", "/a", `,"reservations":[{"type":"STATIC","role":"eng","labels":{"labels":[{"key":"k"}]}}]`), "a static reservation of a disk has a role alone, no labels"},
		"a dynamic reservation":     {diskJSON(8, "PATH", "/a", `,"reservations":[{"type":"DYNAMIC","role":"eng"}]`), "Dynamic reservations cannot be specified in the agent's resources"},
		"a refined reservation":     {diskJSON(8, "PATH", "/a", `,"reservations":[{"type":"STATIC","role":"eng"},{"type":"STATIC","role":"eng/x"}]`), "Invalid refined reservation: A refined reservation cannot be STATIC"},
		"a volume":                  {`{"name":"disk","type":"SCALAR","scalar":{"value":8},"disk":{"persistence":{"id":"x"},"volume":{"mode":"RW","container_path":"p"}}` + static + `}`, "Persistent volumes cannot be specified in the agent's resources"},
		"a volume that is not kept": {`{"name":"disk","type":"SCALAR","scalar":{"value":8},"disk":{"volume":{"mode":"RW","container_path":"p"}}}`, "Non-persistent volume not supported"},
		"a disk that says nothing":  {`{"name":"disk","type":"SCALAR","scalar":{"value":8},"disk":{}}`, "DiskInfo is set but empty"},
		"revocable":                 {`{"name":"disk","type":"SCALAR","scalar":{"value":8},"revocable":{}}`, "Revocable resources cannot be specified in the agent's resources"},
		"no amount":                 {`{"name":"disk","type":"SET","set":{"item":["a"]}}`, "a disk is an amount"},
		"two types":                 {`{"name":"disk","type":"SCALAR","scalar":{"value":8}},{"name":"disk","type":"SET","set":{"item":["a"]}}`, "Resources with the same name ('disk') but different types are not allowed"},
		"too much together":         {`{"name":"disk","type":"SCALAR","scalar":{"value":` + resource.MaxScalar.String() + `}},{"name":"disk","type":"SCALAR","scalar":{"value":1}}`, "with the entries before it, it is above " + resource.MaxScalar.String()},
		"the pool inside":           {diskJSON(8, "PATH", "/var", ""), "pool: /var/lib/tenon/pool is inside resources: PATH:/var: /var"},
		"in the pool":               {diskJSON(8, "MOUNT", "/var/lib/tenon/pool/x", ""), "resources: MOUNT:/var/lib/tenon/pool/x: /var/lib/tenon/pool/x is inside pool: /var/lib/tenon/pool"},
		"the pool itself":           {diskJSON(8, "PATH", "/var/lib/tenon/pool", ""), "pool and resources: PATH:/var/lib/tenon/pool are the same directory /var/lib/tenon/pool"},
		"in a sandbox root":         {diskJSON(8, "PATH", "/var/lib/tenon/sandboxes/x", ""), "resources: PATH:/var/lib/tenon/sandboxes/x: /var/lib/tenon/sandboxes/x is inside sandbox_roots: /var/lib/tenon/sandboxes"},
		"the journal inside":        {diskJSON(8, "PATH", "/var/lib/tenon/state", ""), "state_dir and resources: PATH:/var/lib/tenon/state are the same directory"},
		"a disk in a disk":          {diskJSON(8, "PATH", "/a", "") + "," + diskJSON(8, "MOUNT", "/a/b", ""), "resources: MOUNT:/a/b: /a/b is inside resources: PATH:/a: /a"},
		"one root of two types":     {diskJSON(8, "PATH", "/a", "") + "," + diskJSON(8, "MOUNT", "/a", ""), "resources: PATH:/a and resources: MOUNT:/a are the same directory /a"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := config.Load(config.Default(), config.Sources{File: mustWrite(t, "resources = '''["+c.resources+"]'''")})
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "resources: ") {
				t.Errorf("Load() = %v, want resources: … %s", err, c.want)
			}
			if strings.Count(fmt.Sprint(err), "\n") > 0 && !strings.Contains(name, "pool") {
				t.Errorf("Load() says more than that: %v", err)
			}
		})
	}
}

func TestDisksAreSaidInOneWayOnly(t *testing.T) {
	t.Parallel()
	_, err := config.Load(config.Default(), config.Sources{File: mustWrite(t, "resources = 'disk:0'\npool_size = 7\n[[disk]]\npath = '/a'\nsize = 1\n")})
	want := []string{
		"pool_size: is set, but resources say already what each disk offers",
		"disk: is set, but resources say already what each disk offers",
	}
	if diff := cmp.Diff(want, problems(err)); diff != "" {
		t.Errorf("Load() (-want +got):\n%s", diff)
	}
}

func TestWhatIsNoDiskIsCarriedThroughUnchanged(t *testing.T) {
	t.Parallel()
	c := mustLoad(t, `resources = "cpus(eng):24;disk:7;mem:1024;gpus:0;ports:[21000-24000,9-9];bugs:{a,b}"`)
	want := []resource.Resource{
		{Name: "cpus", Type: resource.TypeScalar, Scalar: 24 * resource.One, Reservations: []resource.Reservation{{Type: resource.Static, Role: "eng"}}},
		{Name: "mem", Type: resource.TypeScalar, Scalar: 1024 * resource.One},
		{Name: "gpus", Type: resource.TypeScalar},
		{Name: "ports", Type: resource.TypeRanges, Ranges: []resource.Range{{Begin: 21000, End: 24000}, {Begin: 9, End: 9}}},
		{Name: "bugs", Type: resource.TypeSet, Set: []string{"a", "b"}},
	}
	if diff := cmp.Diff(want, c.Others()); diff != "" {
		t.Errorf("Others() (-want +got):\n%s", diff)
	}
	if len(c.Resources) != len(want)+1 {
		t.Errorf("Others() changed the configuration: %v", c.Resources)
	}
	if got := config.Default().Others(); len(got) > 0 {
		t.Errorf("Others() of the defaults = %v, want none", got)
	}
}

func TestThePartsAddUpToTheEntriesOfEachRole(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		c := config.Default()
		c.Resources = drawResources(rt)
		want := map[string]resource.Scalar{}
		disks := false
		for _, r := range c.Resources {
			if r.Name != "disk" {
				continue
			}
			disks = true
			if r.Scalar > 0 { // an empty one says nothing more
				var source *resource.Source
				if r.Disk != nil {
					source = r.Disk.Source
				}
				want[source.Key()+" "+strings.TrimPrefix(r.Role(), "*")] += r.Scalar
			}
		}
		spaces, err := c.Space()
		if err != nil {
			rt.Fatal(err)
		}
		got := map[string]resource.Scalar{}
		for i, s := range spaces {
			if (s.Source == nil) != (i == 0) || len(s.Parts) == 0 == disks {
				rt.Fatalf("disk %d is %v", i, show(spaces))
			}
			for _, p := range s.Parts {
				if _, twice := got[s.Source.Key()+" "+p.Role]; twice || p.Size == 0 && len(s.Parts) > 1 {
					rt.Fatalf("a part too many in %v", show(spaces))
				}
				if p.Size > 0 {
					got[s.Source.Key()+" "+p.Role] = p.Size
				}
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			rt.Fatalf("Space() (-want +got):\n%s", diff)
		}
	})
}
