package mastertest_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"tenon/agent/master"
	"tenon/agent/master/etcd"
	"tenon/agent/master/mastertest"
	"tenon/agent/wire"
)

// keeper is a master that meets its agents in an etcd.
type keeper struct {
	*mastertest.Etcd
	config master.Config
	harm   mastertest.Harm
}

func etcdKind(name string, start func(t testing.TB) *keeper) mastertest.Kind {
	return mastertest.Kind{Name: name, New: etcd.New, Start: func(t testing.TB) mastertest.Master { return start(t) }}
}

func startEtcd(t testing.TB) *keeper {
	e := mastertest.StartEtcd(t)
	return &keeper{Etcd: e, config: master.Config{URL: "etcd://" + e.Address}, harm: mastertest.Fine}
}

func startEtcdTLS(t testing.TB) *keeper {
	ca := mastertest.NewAuthority(t)
	e, own := mastertest.StartEtcdTLS(t, ca), ca.Issue(t)
	return &keeper{Etcd: e, config: master.Config{URL: "etcds://" + e.Address, CAFile: ca.File, CertFile: own.CertFile, KeyFile: own.KeyFile}, harm: mastertest.Fine}
}

// Config is how to reach it.
func (k *keeper) Config() master.Config {
	c := k.config
	c.URL, c.Heartbeat = c.URL+"/cluster/one", 100*time.Millisecond
	return c
}

func base(agent string) string { return "cluster/one/" + agent + "/" }

func (k *keeper) put(t testing.TB, key string, value []byte) {
	t.Helper()
	if _, err := k.Client.Put(t.Context(), key, string(value)); err != nil {
		t.Fatal(err)
	}
}

// Order puts an order there.
func (k *keeper) Order(t testing.TB, agent, id string, order []byte) {
	t.Helper()
	k.put(t, base(agent)+"orders/"+id, order)
}

// Result waits for a result and removes it. The order must be gone with it.
func (k *keeper) Result(t testing.TB, agent, id string) (r master.Result) {
	t.Helper()
	key := base(agent) + "results/" + id
	err := k.Await(t.Context(), key, func(found string, value []byte) bool {
		if found != key {
			return false // of an order with a longer id
		}
		if err := json.Unmarshal(value, &r); err != nil {
			t.Fatal(err)
		}
		return r.Final()
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := k.Client.Get(t.Context(), base(agent)+"orders/"+id)
	if err != nil || len(got.Kvs) > 0 {
		t.Errorf("the order %s is there after it was answered: %v", id, err)
	}
	if _, err := k.Client.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	return r
}

// Report waits until the keys of an agent are as wanted.
func (k *keeper) Report(t testing.TB, agent string, wanted func(master.Report) bool) {
	t.Helper()
	err := k.Await(t.Context(), base(agent), func(string, []byte) bool {
		r, whole := k.report(t, agent)
		return whole && wanted(r)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// report puts the keys of an agent together.
func (k *keeper) report(t testing.TB, agent string) (r master.Report, whole bool) {
	t.Helper()
	got, err := k.Client.Get(t.Context(), base(agent), clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	var alive etcd.Alive
	for _, kv := range got.Kvs {
		var volume wire.Volume
		var task wire.Task
		switch key := strings.TrimPrefix(string(kv.Key), base(agent)); {
		case key == "alive":
			err = json.Unmarshal(kv.Value, &alive)
		case key == "status":
			err = json.Unmarshal(kv.Value, &r.Status)
		case strings.HasPrefix(key, "volumes/"):
			err = json.Unmarshal(kv.Value, &volume)
			r.Volumes = append(r.Volumes, volume)
		case strings.HasPrefix(key, "tasks/"):
			err = json.Unmarshal(kv.Value, &task)
			r.Tasks = append(r.Tasks, task)
		}
		if err != nil {
			return r, false // somebody lies
		}
	}
	slices.SortFunc(r.Volumes, func(a, b wire.Volume) int { return cmp.Compare(a.Name, b.Name) })
	r.Schema, r.Agent, r.Boot, r.Index = alive.Schema, alive.Agent, alive.Boot, r.Status.Index
	return r, r.Status.Boot == alive.Boot
}

// Break does harm.
func (k *keeper) Break(t testing.TB, h mastertest.Harm) {
	t.Helper()
	switch h {
	case mastertest.Gone:
		k.Kill()
	case mastertest.Hanging:
		if err := k.Hang(); err != nil {
			t.Fatal(err)
		}
	case mastertest.Flooding:
		k.flood(t)
	case mastertest.Lying:
		k.lie(t)
	case mastertest.Fine:
		k.mend(t)
	}
	k.harm = h
}

// agents are those that are there.
func (k *keeper) agents(t testing.TB) (ids []string) {
	t.Helper()
	got, err := k.Client.Get(t.Context(), "cluster/one/", clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range got.Kvs {
		if rest, is := strings.CutSuffix(string(kv.Key), "/alive"); is {
			ids = append(ids, strings.TrimPrefix(rest, "cluster/one/"))
		}
	}
	return ids
}

func (k *keeper) flood(t testing.TB) {
	t.Helper()
	for _, agent := range k.agents(t) {
		for i := range 300 {
			k.put(t, base(agent)+fmt.Sprintf("orders/flood-%d", i), []byte("{}"))
			k.put(t, base(agent)+fmt.Sprintf("volumes/flood-%d", i), []byte("{}"))
		}
		for i := range 5 {
			k.put(t, base(agent)+fmt.Sprintf("orders/large-%d", i), make([]byte, 3<<19-4096))
		}
		k.put(t, base(agent)+"orders/"+strings.Repeat("long", 1000), []byte("{}"))
	}
}

func (k *keeper) lie(t testing.TB) {
	t.Helper()
	for _, agent := range k.agents(t) {
		for _, key := range []string{"status", "alive", "volumes/none", "tasks/none", "results/one", "orders/", "orders/a/b/c", "orders/\x00\xff", "unknown"} {
			k.put(t, base(agent)+key, []byte("{\"id\":\"\x1b[2J\"}"))
		}
	}
}

// mend ends the harm. After lies there is nothing left, and every agent has to notice.
func (k *keeper) mend(t testing.TB) {
	t.Helper()
	switch k.harm {
	case mastertest.Gone:
		k.Start(t)
	case mastertest.Hanging:
		if err := k.Resume(); err != nil {
			t.Fatal(err)
		}
	case mastertest.Lying:
		if _, err := k.Client.Delete(t.Context(), "cluster/one/", clientv3.WithPrefix()); err != nil {
			t.Fatal(err)
		}
	}
}
