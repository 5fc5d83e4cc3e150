package master_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"tenon/agent/master"

	"tenon/mount/mounttest"
)

func TestMain(m *testing.M) { mounttest.MainInPlace(m) }

// clientFunc is a client that is a function.
type clientFunc func(ctx context.Context, n master.Node) error

func (f clientFunc) Run(ctx context.Context, n master.Node) error { return f(ctx, n) }

func kinds(err error) master.Kinds {
	return master.Kinds{"test": func(master.Config) (master.Client, error) {
		return clientFunc(func(ctx context.Context, _ master.Node) error { <-ctx.Done(); return ctx.Err() }), err
	}}
}

func TestAMemberShowsNothingOfItsURLThatMayBeSecret(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"test://host/path":              "test://host/path",
		"test://host/path?token=hidden": "test://host/path",
		"test://host?token=hidden":      "test://host",
		"test://host/path#hidden":       "test://host/path",
		"test://a:1,b:2,[::1]:3/prefix": "test://a:1,b:2,[::1]:3/prefix",
		"test://user:hidden@host/path":  "",
		"test://hidden@host":            "",
		"test://ho\x01hidden/path":      "",
		"test:///hidden":                "",
		"test://":                       "",
		"test":                          "",
		"other://host/hidden":           "",
	} {
		m, err := kinds(nil).New(master.Config{Name: "m", URL: url})
		if m.URL != want || (err == nil) != (want != "") {
			t.Errorf("%q is shown as %q, %v; want %q", url, m.URL, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "hidden") {
			t.Errorf("%q has a secret in it", err)
		}
	}
}

func TestAMemberHasAPrincipalOfItsOwnUnlessItIsConfigured(t *testing.T) {
	t.Parallel()
	for configured, want := range map[string]string{"": "master:m", "ops": "ops"} {
		m, err := kinds(nil).New(master.Config{Name: "m", URL: "test://host", Principal: configured})
		if err != nil || m.Principal != want || m.Kind != "test" || m.Name != "m" || m.Client == nil {
			t.Errorf("%q becomes %+v, %v", configured, m, err)
		}
	}
}

func TestConfigurationsThatCannotWorkAreRefused(t *testing.T) {
	t.Parallel()
	bad := errors.New("bad")
	for want, c := range map[string]master.Config{
		"the name must be":           {Name: "", URL: "test://host"},
		"master \"a:b\": the name":   {Name: "a:b", URL: "test://host"},
		"the name must be 1 to 32":   {Name: strings.Repeat("x", 33), URL: "test://host"},
		"with the scheme \"other\"":  {Name: "m", URL: "other://host"},
		"must not be negative":       {Name: "m", URL: "test://host", Interval: -1},
		"heartbeat must not be nega": {Name: "m", URL: "test://host", Heartbeat: -time.Second},
		"principal":                  {Name: "m", URL: "test://host", Principal: "ANY"},
	} {
		if m, err := kinds(nil).New(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v becomes %+v, %v; want %q", c, m, err, want)
		}
	}
	if _, err := kinds(bad).New(master.Config{Name: "m", URL: "test://host"}); !errors.Is(err, bad) {
		t.Errorf("the kind's own refusal becomes %v", err)
	}
}
