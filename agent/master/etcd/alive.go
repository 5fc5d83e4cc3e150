package etcd

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"tenon/agent/master"
)

// Alive is the value of the key that is there as long as the agent is heard from.
type Alive struct {
	Schema  int       `json:"schema"` // master.Schema
	Agent   string    `json:"agent"`
	Boot    string    `json:"boot"`    // of the host
	Started time.Time `json:"started"` // of the agent
	Version string    `json:"version"` // of the program
}

// register puts the sign of life under a new lease, in place of that of an earlier run.
func (c *connection) register(ctx context.Context) (<-chan *clientv3.LeaseKeepAliveResponse, error) {
	lease, err := limited(ctx, "get a lease", func(ctx context.Context) (*clientv3.LeaseGrantResponse, error) {
		return c.etcd.Grant(ctx, int64(c.ttl.Seconds()))
	})
	if err != nil {
		return nil, err
	}
	c.lease = lease.ID
	st, about := c.node.State(), c.node.About()
	value, err := json.Marshal(Alive{
		Schema: master.Schema, Agent: st.Agent, Boot: st.Boot, Started: about.Started, Version: about.Version,
	})
	if err != nil {
		return nil, err
	}
	_, err = limited(ctx, "register", func(ctx context.Context) (*clientv3.PutResponse, error) {
		return c.etcd.Put(ctx, c.base+"alive", string(value), clientv3.WithLease(lease.ID))
	})
	if err != nil {
		return nil, err
	}
	c.node.Contact(nil)
	return c.etcd.KeepAlive(ctx, lease.ID)
}

// keepAlive renews the lease until it is lost.
func (c *connection) keepAlive(ctx context.Context, renewed <-chan *clientv3.LeaseKeepAliveResponse) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case r, ok := <-renewed:
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case !ok || r == nil:
				return errors.New("etcd: the lease is lost: etcd was not reached in time, or it was revoked")
			}
			c.node.Contact(nil)
		}
	}
}
