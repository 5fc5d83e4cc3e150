package access

import (
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
)

func number(n int) *int { return &n }

func TestTheFirstMappingThatFitsNamesThePrincipal(t *testing.T) {
	t.Parallel()
	p := Principals{
		{Name: "root", UID: number(0)},
		{Name: "deployer", UID: number(1000), GID: number(50)},
		{Name: "alice", UID: number(1000)},
		{Name: "ops", GID: number(50)},
		{Name: "never", GID: number(50)},
		{Name: "nobody's"},
	}
	for _, c := range []struct {
		uid  int
		gids []int
		want string
	}{
		{0, []int{0}, "root"}, {0, []int{50}, "root"}, {1000, []int{7, 50}, "deployer"}, {1000, []int{7}, "alice"},
		{1000, nil, "alice"}, {1001, []int{50}, "ops"}, {1001, []int{51}, ""}, {-1, nil, ""}, {50, []int{1000}, ""},
	} {
		if got := p.Of(c.uid, c.gids); got != c.want {
			t.Errorf("Of(%d, %v) = %q, want %q", c.uid, c.gids, got, c.want)
		}
	}
	if got := Principals(nil).Of(0, []int{0}); got != "" {
		t.Errorf("without mappings, root is %q", got)
	}
}

func TestMappingsAreReadFromTOMLAndValidated(t *testing.T) {
	t.Parallel()
	var c struct{ Principals Principals }
	const text = "[[principals]]\nname = \"root\"\nuid = 0\n[[principals]]\nname = \"ops\"\ngid = 4294967294\n"
	if err := toml.Unmarshal([]byte(text), &c); err != nil || len(c.Principals) != 2 {
		t.Fatalf("%+v, %v", c, err)
	}
	if err := c.Principals.Validate(); err != nil {
		t.Error(err)
	}
	if got := c.Principals.Of(0, nil); got != "root" {
		t.Errorf("Of(0) = %q", got)
	}
}

func TestAllThatIsWrongWithMappingsIsSaid(t *testing.T) {
	t.Parallel()
	err := Principals{
		{Name: "", UID: number(1)},
		{Name: "a\tb", UID: number(1)},
		{Name: "c"},
		{Name: "d", UID: number(-1)},
		{Name: "e", GID: number(1<<32 - 1)},
		{Name: "f", UID: number(0), GID: number(0)},
		{Name: "ANY", UID: number(1)},
	}.Validate()
	if err == nil {
		t.Fatal("nothing is wrong")
	}
	want := []string{"principals[0]: a principal's name is empty", `principals[1]: the principal's name "a\tb" holds control`,
		"principals[2]: neither uid nor gid is set", "principals[3]: uid -1 is not between 0 and 4294967294",
		"principals[4]: gid 4294967295 is not between", `principals[6]: "ANY" is not a principal's name`}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != len(want) {
		t.Fatalf("got %d lines, want %d:\n%v", len(lines), len(want), err)
	}
	for i, line := range lines {
		if !strings.HasPrefix(line, want[i]) {
			t.Errorf("line %d is %q, want %q", i, line, want[i])
		}
	}
}
