package etcd_test

import (
	"context"
	"testing"

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
	for name, c := range map[string]master.Config{
		"an agent without a certificate":             {CAFile: ca.File},
		"an agent with a certificate of somebody's":  {CAFile: ca.File, CertFile: foreign.CertFile, KeyFile: foreign.KeyFile},
		"an etcd with a certificate of somebody's":   {CAFile: other.File, CertFile: own.CertFile, KeyFile: own.KeyFile},
		"an etcd whose authority the host knows not": {CertFile: own.CertFile, KeyFile: own.KeyFile},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.URL = "etcds://" + e.Address + "/test"
			client, err := etcd.New(c)
			if err != nil {
				t.Fatal(err)
			}
			n := mastertest.NewNode(agenttest.Start(t, agenttest.NewKernel()))
			ctx, end := context.WithCancel(t.Context())
			defer end()
			if err := client.Run(ctx, n); err == nil || ctx.Err() != nil {
				t.Errorf("it is lost by %v", err)
			}
			if len(n.Contacts) > 0 || get(t, e, "test/"+n.State().Agent).Count > 0 {
				t.Errorf("it was heard of")
			}
		})
	}
}
