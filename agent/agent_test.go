package agent_test

import (
	"errors"
	"testing"

	"tenon/agent/agenttest"
	"tenon/agent/resource"
	"tenon/agent/volume"
)

func reserve(role string, mb int) volume.Reserve {
	return volume.Reserve{Resources: []resource.Resource{{Name: "disk", Type: resource.TypeScalar, Scalar: resource.Scalar(mb) * resource.One,
		Reservations: []resource.Reservation{{Type: resource.Dynamic, Role: role}}}}}
}

func create(role, id string, mb int, shared bool) volume.Create {
	return volume.Create{Role: role, Owner: volume.Owner{Mode: 0o755}, Volume: resource.Resource{Name: "disk", Type: resource.TypeScalar,
		Scalar: resource.Scalar(mb) * resource.One, Shared: shared,
		Disk: &resource.Disk{Persistence: &resource.Persistence{ID: id}, Volume: &resource.Volume{ContainerPath: id, Mode: resource.RW}}}}
}

func TestTheMainJob(t *testing.T) {
	t.Parallel()
	k := agenttest.NewKernel()
	a := agenttest.Start(t, k)
	ctx := t.Context()
	s, err := a.Do(ctx, reserve("web", 2048), create("web", "data", 1024, true))
	if err != nil {
		t.Fatal(err)
	}
	v, err := s.Find("web/data")
	if err != nil || v.Phase != volume.Ready {
		t.Fatalf("volume %+v, %v", v, err)
	}
	for task, mode := range map[string]resource.Mode{"writer": resource.RW, "reader": resource.RO} {
		if _, err := a.Do(ctx, volume.Attach{Task: task, Use: volume.Use{Volume: "web/data", Mode: mode}, Via: volume.ByPath}); err != nil {
			t.Fatal(err)
		}
	}
	if m := k.Mounts[agenttest.Root+"/reader/data"]; !m.ReadOnly {
		t.Errorf("mounts %v", k.Mounts)
	}
	if _, err := a.Do(ctx, volume.Destroy{Ref: "web/data"}); !errors.Is(err, volume.ErrInUse) {
		t.Fatalf("destroy of a held volume: %v", err)
	}
	if _, err := a.Do(ctx, volume.Detach{Task: "writer", Volume: "web/data"}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Do(ctx, volume.Release{Task: "reader"}); err != nil {
		t.Fatal(err)
	}
	s, err = a.Do(ctx, volume.Destroy{Ref: "web/data"})
	if err != nil {
		t.Fatal(err)
	}
	if _, all := s.CountVolumes(); all != 0 || s.CountTasks() != 0 || len(k.Mounts)+len(k.Sandboxes)+len(k.Pools[""].Trash) != 0 {
		t.Errorf("left: %d volumes, %d tasks, kernel %+v", all, s.CountTasks(), k)
	}
	if err := s.Check(); err != nil {
		t.Error(err)
	}
}
