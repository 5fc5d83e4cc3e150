package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/urfave/cli/v2"

	"tenon/agent/config"
)

// harmless are the settings that a throw-away agent may have: none says where something is
// that was there before, or is to be there after it.
var harmless = []string{
	"socket", "group", "pool-size", "default-role", "attributes", "project-range", "volume-gid-range", "soft-quota-interval", "on-exceed", "tls-listen", "tls-cert", "tls-key", "tls-client-ca",
	"poll-listen", "poll-token-file", "master", "csi-roots", "csi-node", "csi-registration", "csi-node-expansion",
	"log-level", "log-format", "request-timeout",
}

// configureWith is what the agent makes of its command line, and removes again.
func configureWith(args ...string) (cfg config.Config, err error) {
	agent := agentCommand()
	agent.Action = func(c *cli.Context) error {
		made, clean, err := configure(c)
		if cfg = made; err == nil && c.Bool("dev") { // what tenon check reads
			written := config.Sources{File: filepath.Join(filepath.Dir(made.StateDir), "tenon.toml")}
			if cfg, err = config.Load(config.Default(), written); err == nil && !cmp.Equal(cfg, made) {
				err = errors.New("the file has another configuration: " + cmp.Diff(made, cfg))
			}
		}
		return errors.Join(err, clean())
	}
	a := &cli.App{Name: "tenon", Commands: []*cli.Command{agent}, ErrWriter: io.Discard, ExitErrHandler: func(*cli.Context, error) {}}
	err = a.Run(append([]string{"tenon", "agent"}, args...))
	return cfg, err
}

func TestAThrowAwayAgentHasNothingToDoWithPlacesThatLast(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	may := map[string]bool{}
	for _, name := range harmless {
		may[name] = true
	}
	for _, s := range config.Settings() {
		if may[s.Flag] {
			delete(may, s.Flag)
			continue
		}
		_, err := configureWith("--dev", "--"+s.Flag, s.Default)
		if err == nil || !strings.Contains(err.Error(), "--dev and --"+s.Flag+" do not go together") {
			t.Errorf("--dev with --%s: %v", s.Flag, err)
		}
	}
	for name := range may {
		t.Errorf("%s is no setting", name)
	}
	if _, err := configureWith("--dev", "--resources", "disk(eng):100;[]"); err == nil {
		t.Error("--dev with disks that are named was let through")
	}
	cfg, err := configureWith("--dev", "--default-role", "eng")
	if err != nil || cfg.DefaultRole != "eng" || !strings.HasPrefix(cfg.AuditLog, temp) {
		t.Errorf("--dev alone: %+v, %v", cfg, err)
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
