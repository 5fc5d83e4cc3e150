package systemd

import (
	"embed"
	"os"
	"slices"
	"strings"
	"testing"
)

//go:embed tenon.service tenon.socket sysusers.d/tenon.conf tmpfiles.d/tenon.conf
var files embed.FS

// roles are what the test binary can be beside the tests, by the value of
// TENON_TEST_ROLE.
var roles = map[string]func() int{
	"listen": roleListen,
	"agent":  roleAgent,
	"task":   roleTask,
}

func TestMain(m *testing.M) {
	if role, ok := roles[os.Getenv("TENON_TEST_ROLE")]; ok {
		os.Exit(role())
	}
	os.Exit(m.Run())
}

// mustRead returns one of the files that are installed.
func mustRead(t testing.TB, name string) string {
	t.Helper()
	b, err := files.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// requireThing skips the test where thing is not there, unless the environment
// variable TENON_TEST_REQUIRE, a list with commas, says that it must be.
func requireThing(t testing.TB, thing string, there bool) {
	t.Helper()
	switch {
	case there:
	case slices.Contains(strings.Split(os.Getenv("TENON_TEST_REQUIRE"), ","), thing):
		t.Fatalf("%s is not there, but TENON_TEST_REQUIRE=%s says that it is", thing, os.Getenv("TENON_TEST_REQUIRE"))
	default:
		t.Skipf("needs %s", thing)
	}
}
