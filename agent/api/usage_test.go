package api

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tenon/agent"
	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/agent/wire"
)

// gauge knows what each volume of an agent takes: as many bytes as its id is long.
type gauge struct {
	agent *agent.Agent
	err   error
}

func (g gauge) Life(*volume.Task) (agent.Life, error) { return agent.Life{}, nil }

func (g gauge) Usage(_ context.Context, ids ...volume.UUID) (map[volume.UUID]agent.Usage, error) {
	used := map[volume.UUID]agent.Usage{}
	for v := range g.agent.State().Volumes(volume.Name{}) {
		if len(ids) == 0 || ids[0] == v.UUID {
			used[v.UUID] = agent.Usage{Bytes: resource.Bytes(len(v.ID)), Inodes: 3}
		}
	}
	return used, g.err
}

func TestUsageOfOneVolumeAndOfAllByPages(t *testing.T) {
	f, a, _ := running(t)
	f.withVolumes()
	f.server.gauge = gauge{agent: a}
	var v wire.Volume
	f.must(200, "GET", "/v1/volumes/web/alone", "", &v)
	if v.Used == nil || *v.Used != (wire.Used{Bytes: 5, Inodes: 3}) {
		t.Errorf("what web/alone takes is %+v", v.Used)
	}
	var first, second wire.Usage
	f.must(200, "GET", "/v1/usage?limit=1", "", &first)
	f.must(200, "GET", "/v1/usage?after="+first.Next, "", &second)
	names := []string{}
	for _, u := range append(first.Volumes, second.Volumes...) {
		names = append(names, u.Name)
		if u.UUID == "" || u.Bytes == 0 {
			t.Errorf("usage is %+v", u)
		}
	}
	sums := []wire.DiskUsage{{Name: "root", Used: 9, Known: 2}, {Name: "PATH:/mnt/d1"}}
	for _, page := range []wire.Usage{first, second} {
		if diff := cmp.Diff(sums, page.Disks); diff != "" {
			t.Errorf("of disks (-want +got):\n%s", diff)
		}
	}
	if diff := cmp.Diff([]string{"web/alone", "web/data"}, names); diff != "" || len(first.Volumes) != 1 || second.Next != "" {
		t.Errorf("pages are %+v and %+v\n%s", first, second, diff)
	}
	f.must(400, "GET", "/v1/usage?after=nonsense", "", nil)
}

func TestUsageIsLeftOutWhereNobodyCounts(t *testing.T) {
	f, a, _ := running(t)
	f.withVolumes()
	var all wire.Usage
	f.must(200, "GET", "/v1/usage", "", &all)
	var v wire.Volume
	f.must(200, "GET", "/v1/volumes/web/data", "", &v)
	if len(all.Volumes) != 0 || v.Used != nil || v.Enforcement != "none" {
		t.Errorf("usage is %+v, the volume %+v", all, v)
	}
	f.server.gauge = gauge{agent: a, err: errors.New("the disk is on fire")}
	f.must(200, "GET", "/v1/volumes/web/data", "", &v) // all else is known
	f.must(500, "GET", "/v1/usage", "", nil)
}

func TestUsageOfWhatMayNotBeSeenIsNotThere(t *testing.T) {
	f, a, _ := running(t)
	f.withVolumes()
	all, err := gauge{agent: a}.Usage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	used := map[volume.UUID]wire.Used{}
	for id, u := range all {
		used[id] = wire.Used{Bytes: u.Bytes}
	}
	hidden := func(role string) bool { return role != "web" }
	if page := wire.UsageOf(a.State(), used, volume.Name{}, 10, hidden); len(page.Volumes) != 0 || page.Next != "" {
		t.Errorf("who may not see web is told %+v", page)
	}
}
