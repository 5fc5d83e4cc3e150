package api

import (
	"context"
	"net/http"
	"os"
	"strings"
	"testing"

	"tenon/agent"
	"tenon/agent/agenttest"
	"tenon/agent/volume"
	"tenon/agent/wire"
)

// remaking is an agent whose volumes have no luck: somebody destroys each at once, and makes
// another of the same name if remake is set.
type remaking struct {
	Agent
	remake bool
}

func (r remaking) Ask(ctx context.Context, q agent.Request) (*volume.State, error) {
	s, err := r.Agent.Ask(ctx, q)
	made, creates := q.Operations[0].(volume.Create)
	if err != nil || !creates {
		return s, err
	}
	s, err = r.Agent.Ask(ctx, agent.Request{Operations: []volume.Operation{volume.Destroy{Ref: string(made.UUID)}}})
	if err != nil || !r.remake {
		return s, err
	}
	made.UUID, made.Volume.Shared = "", !made.Volume.Shared
	return r.Agent.Ask(ctx, agent.Request{Operations: []volume.Operation{made}})
}

func TestACreationIsNeverAnsweredWithAnothersVolume(t *testing.T) {
	t.Parallel()
	for _, remake := range []bool{false, true} {
		k := agenttest.NewKernel()
		k.Processes[os.Getpid()] = 1
		f := serving(t, remaking{agenttest.Start(t, k), remake}, nil)
		f.must(http.StatusOK, http.MethodPost, "/v1/operations", reserve2G, &wire.Applied{})
		status, _, body := f.do(http.MethodPost, "/v1/volumes", `{"role": "web", "id": "data", "size": 1048576}`)
		if status != http.StatusNotFound || !strings.Contains(string(body), "destroyed by somebody else") {
			t.Errorf("made anew: %v: answered %d %s, want not found", remake, status, body)
		}
	}
}

// shortLived is an agent whose volumes are destroyed as soon as they have been resized.
type shortLived struct{ Agent }

func (a shortLived) Ask(ctx context.Context, q agent.Request) (*volume.State, error) {
	s, err := a.Agent.Ask(ctx, q)
	resized, resizes := q.Operations[0].(volume.Resize)
	if err != nil || !resizes {
		return s, err
	}
	return a.Agent.Ask(ctx, agent.Request{Operations: []volume.Operation{volume.Destroy{Ref: resized.Ref}}})
}

func TestAResizeOfWhatIsDestroyedMeanwhileSaysThatItWasDone(t *testing.T) {
	t.Parallel()
	f := serving(t, shortLived{agenttest.Start(t, agenttest.NewKernel())}, nil)
	f.must(http.StatusOK, http.MethodPost, "/v1/operations", reserve2G, &wire.Applied{})
	f.must(http.StatusCreated, http.MethodPost, "/v1/volumes", `{"role": "web", "id": "data", "size": 1048576}`, &wire.Volume{})
	status, _, body := f.do(http.MethodPatch, "/v1/volumes/web/data", `{"size": 2097152}`)
	if status != http.StatusNotFound || !strings.Contains(string(body), "volume web/data was resized, and destroyed by somebody else") {
		t.Errorf("answered %d %s", status, body)
	}
}
