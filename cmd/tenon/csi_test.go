package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tenon/agent"
	"tenon/agent/access"
	"tenon/agent/agenttest"
	"tenon/agent/config"
	"tenon/agent/volume"
)

// shortTemp is a temporary directory whose path leaves room for a socket's name.
func shortTemp(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "tenon")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestEveryKindOfMasterIsMadeByItsScheme(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"http://h/a", "https://h/a", "etcd://h:1,i:2/p", "etcds://h:1/p"} {
		cfg := config.Config{Masters: []config.Master{{Name: "m", URL: url, SecretFile: "/etc/secret"}}}
		members, err := membersOf(cfg)
		if err != nil || len(members) != 1 || members[0].Client == nil || members[0].Kind != strings.Split(url, ":")[0] || members[0].Principal != "master:m" {
			t.Errorf("%s: got %+v, %v", url, members, err)
		}
	}
}

func TestASocketThatIsHandedOverForCSIIsServedAndClosedWhereThereIsNone(t *testing.T) {
	t.Parallel()
	dir := shortTemp(t)
	for name, cfg := range map[string]config.CSI{
		"served": {Socket: filepath.Join(dir, "s"), Roots: []string{dir}, Node: "n"},
		"closed": {},
	} {
		passed, err := net.Listen("unix", filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		p, err := newPlugin(daemon{Agent: agenttest.Start(t, agenttest.NewKernel()), cfg: config.Config{CSI: cfg}, log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		p.passed = passed
		ctx, stop := context.WithCancel(t.Context())
		var work sync.WaitGroup
		p.start(ctx, &work)
		conn, err := net.Dial("unix", filepath.Join(dir, name))
		if (err == nil) != (name == "served") {
			t.Errorf("%s: connecting ends with %v", name, err)
		}
		if err == nil {
			_ = conn.Close()
		}
		if _, err := os.Stat(filepath.Join(dir, "s")); err == nil {
			t.Errorf("%s: the plugin has made a socket besides", name)
		}
		stop()
		p.shutdown(context.Background())
		work.Wait()
	}
}

func TestANodeThatCannotBeIsAnErrorAtTheStart(t *testing.T) {
	t.Parallel()
	a := agenttest.Start(t, agenttest.NewKernel())
	cfg := config.Config{CSI: config.CSI{Socket: "/run/csi", Roots: []string{"/r"}, Node: "a node"}}
	if _, err := newPlugin(daemon{Agent: a, cfg: cfg, log: slog.New(slog.DiscardHandler)}); err == nil || !strings.Contains(err.Error(), `node "a node"`) {
		t.Errorf("got %v", err)
	}
	cfg.CSI.Node = ""
	if _, err := newPlugin(daemon{Agent: a, cfg: cfg, log: slog.New(slog.DiscardHandler)}); err != nil {
		t.Errorf("with the host's name: %v", err)
	}
}

func TestWhatAnOrchestratorAsksForIsAudited(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "audit.log")
	audit, err := access.OpenAudit(file)
	if err != nil {
		t.Fatal(err)
	}
	a := agenttest.Start(t, agenttest.NewKernel())
	asked := agent.Request{Operations: []volume.Operation{volume.Destroy{Ref: "web/none"}}}
	for _, as := range []audited{{a, audit, slog.New(slog.DiscardHandler)}, {a, nil, nil}} {
		if _, err := as.Ask(t.Context(), asked); err == nil {
			t.Error("a volume that is not there was destroyed")
		}
	}
	if err := audit.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var e access.Entry
	if err := json.Unmarshal(text, &e); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	if diff := cmp.Diff([]any{"tenon.dev", []string{"destroy volume web/none"}, "not found"}, []any{e.Principal, e.Operations, e.Outcome}); diff != "" {
		t.Errorf("entry (-want +got):\n%s", diff)
	}
}
