package client_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tenon/agent"
	"tenon/agent/agenttest"
	"tenon/agent/api"
	"tenon/agent/client"
	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/agent/wire"

	"tenon/mount/mounttest"
)

func TestMain(m *testing.M) { mounttest.MainInPlace(m) }

// running serves an agent on a fake kernel, in which this process is alive, to a client.
func running(t *testing.T) (*client.Client, *agent.Agent, *agenttest.Kernel) {
	t.Helper()
	k := agenttest.NewKernel("/mnt/d1")
	k.Processes[os.Getpid()] = 1
	a := agenttest.Start(t, k)
	return serve(t, api.Options{Agent: a, Version: "test"}), a, k
}

func serve(t testing.TB, o api.Options) *client.Client {
	t.Helper()
	path := socketPath(t)
	ln, err := api.Listen(path, "")
	if err != nil {
		t.Fatal(err)
	}
	server := api.New(o)
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	c := client.New(path)
	t.Cleanup(func() {
		c.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := errors.Join(server.Shutdown(ctx), <-served); err != nil {
			t.Error(err)
		}
	})
	return c
}

// socketPath is a path that is short enough for a socket.
func socketPath(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "client")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return filepath.Join(dir, "s")
}

func reserve(t *testing.T, c *client.Client, role string, mb resource.Scalar) {
	t.Helper()
	r := resource.Resource{
		Name: "disk", Type: resource.TypeScalar, Scalar: mb * resource.One,
		Reservations: []resource.Reservation{{Type: resource.Dynamic, Role: role}},
	}
	op := resource.Operation{Type: resource.OpReserve, Reserve: &resource.Reserve{Resources: []resource.Resource{r}}}
	if _, err := c.Apply(t.Context(), op); err != nil {
		t.Fatal(err)
	}
}

func create(t *testing.T, c *client.Client, id string, shared bool) wire.Volume {
	t.Helper()
	v, err := c.Create(t.Context(), wire.CreateVolume{Role: "web", ID: id, Size: 1 << 20, Shared: shared})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestEveryCallDoesWhatItSays(t *testing.T) {
	t.Parallel()
	c, a, k := running(t)
	ctx := t.Context()
	reserve(t, c, "web", 64)
	made := create(t, c, "data", true)
	if got, err := c.Volume(ctx, "web/data"); err != nil || got.UUID != made.UUID {
		t.Errorf("Volume: %+v, %v; want %s", got, err, made.UUID)
	}
	task, err := c.Claim(ctx, wire.Claim{Task: "t/1%", Volumes: []wire.Use{{Volume: "web/data", Mode: resource.RO}}})
	if !errors.Is(err, volume.ErrInvalid) {
		t.Errorf("Claim of a bad id: %+v, %v; want ErrInvalid", task, err)
	}
	task, err = c.Claim(ctx, wire.Claim{Task: "t 1%", Volumes: []wire.Use{{Volume: "web/data", Mode: resource.RO}}})
	if err != nil || task.Lease.PID != os.Getpid() {
		t.Errorf("Claim: %+v, %v; want it held by this process", task, err)
	}
	at, err := c.Attach(ctx, "t 1%", wire.Attach{Use: wire.Use{Volume: string(made.UUID), Path: "x/y", Mode: resource.RO}})
	if err != nil || at.Path != "x/y" || at.Volume != "web/data" {
		t.Errorf("Attach: %+v, %v", at, err)
	}
	got, err := c.Task(ctx, "t 1%")
	if err != nil || len(got.Attachments) != 2 {
		t.Errorf("Task: %+v, %v; want two attachments", got, err)
	}
	if err := c.Detach(ctx, "t 1%", "web/data", "x/y", false); err != nil {
		t.Errorf("Detach: %v", err)
	}
	if len(k.Mounts) != 0 {
		t.Errorf("still mounted: %v", k.Mounts)
	}
	if err := c.Release(ctx, "t 1%", true); err != nil {
		t.Errorf("Release: %v", err)
	}
	if done, err := c.Destroy(ctx, "web/data", true); err != nil || !done {
		t.Errorf("Destroy: %v, %v", done, err)
	}
	st, err := c.Status(ctx)
	if err != nil || st.Agent != a.State().Agent || st.Version != "test" || st.Counts != (wire.Counts{}) {
		t.Errorf("Status: %+v, %v", st, err)
	}
	if err := c.Health(ctx); err != nil {
		t.Errorf("Health: %v", err)
	}
	if data, err := c.OpenAPI(ctx); err != nil || !strings.HasPrefix(string(data), "openapi: 3.1") {
		t.Errorf("OpenAPI: %.20q, %v", data, err)
	}
}

func TestADestroyThatIsNotWaitedForGoesOn(t *testing.T) {
	t.Parallel()
	c, a, k := running(t)
	reserve(t, c, "web", 64)
	made := create(t, c, "data", true)
	purge := make(chan struct{})
	k.Lock()
	k.Fail = func(s volume.Step) error {
		if s.Kind == volume.Purge {
			k.Unlock()
			<-purge
			k.Lock()
		}
		return nil
	}
	k.Unlock()
	done, err := c.Destroy(t.Context(), "web/data", false)
	if err != nil || done {
		t.Errorf("Destroy: done %v, %v; want it to go on", done, err)
	}
	v, err := c.Volume(t.Context(), string(made.UUID))
	if err != nil || v.Phase != volume.Destroying {
		t.Errorf("the volume is %+v, %v; want it being destroyed", v, err)
	}
	close(purge)
	done, err = c.Destroy(t.Context(), string(made.UUID), true)
	if gone := errors.Is(err, volume.ErrNotFound); !gone && (err != nil || !done) {
		t.Errorf("the same again: done %v, %v; want it to wait for the end, or find it gone", done, err)
	}
	for st := a.State(); ; {
		if _, all := st.CountVolumes(); all == 0 {
			break
		}
		if st, err = a.Watch(t.Context(), st.Version); err != nil {
			t.Fatal(err)
		}
	}
}

func TestARefusalMatchesItsKindAndHasTheHolders(t *testing.T) {
	t.Parallel()
	c, _, _ := running(t)
	reserve(t, c, "web", 64)
	create(t, c, "data", false)
	if _, err := c.Claim(t.Context(), wire.Claim{Task: "t1", Volumes: []wire.Use{{Volume: "web/data"}}}); err != nil {
		t.Fatal(err)
	}
	_, err := c.Destroy(t.Context(), "web/data", true)
	var told *client.Error
	if !errors.As(err, &told) || !errors.Is(err, volume.ErrInUse) || volume.Kind(err) != volume.ErrInUse {
		t.Fatalf("got %v, want ErrInUse", err)
	}
	if len(told.Holders) != 1 || told.Holders[0].Task != "t1" || told.Status != 409 {
		t.Errorf("told %+v, want holder t1 and status 409", told.Problem)
	}
	if errors.Is(err, volume.ErrBusy) || errors.Is(err, client.ErrNoAgent) {
		t.Errorf("%v matches other kinds as well", err)
	}
}

// failing is an agent whose every operation fails with one error.
type failing struct {
	*agent.Agent
	err error
}

func (f failing) Do(context.Context, ...volume.Operation) (*volume.State, error) { return nil, f.err }
func (f failing) Ask(context.Context, agent.Request) (*volume.State, error)      { return nil, f.err }
func (f failing) Hand(context.Context, volume.Attach, func(*volume.State, volume.Operation) error) (*os.File, error) {
	return nil, f.err
}

func TestEveryKindComesThrough(t *testing.T) {
	t.Parallel()
	a := agenttest.Start(t, agenttest.NewKernel())
	for _, kind := range volume.Kinds() {
		c := serve(t, api.Options{Agent: failing{a, &volume.Error{Kind: kind, Message: "why it is so"}}})
		err := c.Release(t.Context(), "t1", false)
		if volume.Kind(err) != kind || err.Error() != "why it is so" {
			t.Errorf("%v comes through as %v", kind, err)
		}
		_, _, err = c.Mount(t.Context(), "t1", wire.Attach{Use: wire.Use{Volume: "web/data"}})
		if volume.Kind(err) != kind || err.Error() != "why it is so" {
			t.Errorf("%v comes through Mount as %v", kind, err)
		}
	}
}

func TestWithoutAnAgentTheErrorSaysHowToStartOne(t *testing.T) {
	t.Parallel()
	missing := socketPath(t)
	dead := socketPath(t)
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: dead, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{missing, dead} {
		c := client.New(path)
		_, err := c.Status(t.Context())
		want := fmt.Sprintf("no agent answers at %s; is it running? start it with: tenon agent", path)
		if !errors.Is(err, client.ErrNoAgent) || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
		if _, _, err := c.Mount(t.Context(), "t1", wire.Attach{}); !errors.Is(err, client.ErrNoAgent) || err.Error() != want {
			t.Errorf("Mount: got %v, want %s", err, want)
		}
	}
}

func TestAllPagesAreRead(t *testing.T) {
	t.Parallel()
	c, _, _ := running(t)
	reserve(t, c, "web", 64)
	var want []string
	for n := range 5 {
		id := fmt.Sprintf("v%d", n)
		create(t, c, id, true)
		want = append(want, "web/"+id)
	}
	var got []string
	for v, err := range c.AllVolumes(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, v.Name)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	page, err := c.Volumes(t.Context(), "web/v1", 2)
	if err != nil || len(page.Volumes) != 2 || page.Next != "web/v3" {
		t.Errorf("a page is %+v, %v; want v2 and v3", page, err)
	}
	for task, err := range c.AllTasks(t.Context()) {
		t.Errorf("there is a task: %+v, %v", task, err)
	}
	if page, err := c.Tasks(t.Context(), "a", 1); err != nil || len(page.Tasks) != 0 {
		t.Errorf("tasks: %+v, %v", page, err)
	}
}

func TestAListEndsWithTheFirstError(t *testing.T) {
	t.Parallel()
	c := client.New(socketPath(t))
	seen := 0
	for _, err := range c.AllVolumes(t.Context()) {
		if seen++; !errors.Is(err, client.ErrNoAgent) {
			t.Errorf("got %v, want ErrNoAgent", err)
		}
	}
	if seen != 1 {
		t.Errorf("the list had %d items, want one error", seen)
	}
}

func TestACallEndsWithItsContext(t *testing.T) {
	t.Parallel()
	path := socketPath(t)
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c := client.New(path)
	defer c.Close()
	for name, call := range map[string]func(context.Context) error{
		"Status": func(ctx context.Context) error { _, err := c.Status(ctx); return err },
		"Mount": func(ctx context.Context) error {
			_, _, err := c.Mount(ctx, "t1", wire.Attach{Use: wire.Use{Volume: "web/data"}})
			return err
		},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if err := call(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: got %v, want the context's error", name, err)
		}
		cancel()
	}
}

func TestTwoHundredCallsAtOnce(t *testing.T) {
	t.Parallel()
	c, a, _ := running(t)
	reserve(t, c, "web", 64)
	made := create(t, c, "data", true)
	var work sync.WaitGroup
	for n := range 200 {
		work.Go(func() {
			f, _, err := c.Mount(t.Context(), fmt.Sprintf("t%d", n), wire.Attach{Use: wire.Use{Volume: "web/data"}})
			if err != nil {
				t.Error(err)
				return
			}
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	work.Wait()
	if got := len(a.State().Holders(made.UUID)); got != 200 {
		t.Errorf("%d tasks hold the volume, want 200", got)
	}
}
