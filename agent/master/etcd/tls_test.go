package etcd_test

import (
	"sync"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"tenon/agent/agenttest"
	"tenon/agent/master"
	"tenon/agent/master/etcd"
	"tenon/agent/master/mastertest"
)

func TestNothingIsWrittenOverTLSUnlessBothSidesTrustEachOther(t *testing.T) {
	t.Parallel()
	ca, other := mastertest.NewAuthority(t), mastertest.NewAuthority(t)
	e := mastertest.StartEtcdTLS(t, ca)
	own, foreign := ca.Issue(t), other.Issue(t)
	var runs sync.WaitGroup
	for name, c := range map[string]master.Config{
		"an agent without a certificate":             {CAFile: ca.File},
		"an agent with a certificate of somebody's":  {CAFile: ca.File, CertFile: foreign.CertFile, KeyFile: foreign.KeyFile},
		"an etcd with a certificate of somebody's":   {CAFile: other.File, CertFile: own.CertFile, KeyFile: own.KeyFile},
		"an etcd whose authority the host knows not": {CertFile: own.CertFile, KeyFile: own.KeyFile},
	} {
		c.URL = "etcds://" + e.Address + "/test"
		client, err := etcd.New(c)
		if err != nil {
			t.Fatal(err)
		}
		n := mastertest.NewNode(agenttest.Start(t, agenttest.NewKernel()))
		runs.Go(func() { // side by side: the library tries for a while
			if err := client.Run(t.Context(), n); err == nil || t.Context().Err() != nil {
				t.Errorf("%s: lost by %v", name, err)
			}
			if len(n.Contacts) > 0 {
				t.Errorf("%s: it was heard of", name)
			}
		})
	}
	runs.Wait()
	if kvs := get(t, e, "test/", clientv3.WithPrefix()).Kvs; len(kvs) > 0 {
		t.Errorf("somebody has written %v", kvs)
	}
}
