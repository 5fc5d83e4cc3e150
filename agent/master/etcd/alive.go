package etcd

import (
	"context"
	"errors"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"tenon/agent/master"
	"tenon/agent/volume"
)

// Alive is the value of the key that is there as long as the agent is heard from.
type Alive struct {
	Schema  int       `json:"schema"` // master.Schema
	Agent   string    `json:"agent"`
	Boot    string    `json:"boot"`    // of the host
	Started time.Time `json:"started"` // of the agent
	Version string    `json:"version"` // of the program
}

// lend gets a lease, under which the sign of life is written.
func (c *connection) lend(ctx context.Context) (<-chan *clientv3.LeaseKeepAliveResponse, error) {
	lease, err := limited(ctx, "get a lease", func(ctx context.Context) (*clientv3.LeaseGrantResponse, error) {
		return c.etcd.Grant(ctx, int64(c.ttl.Seconds()))
	})
	if err != nil {
		return nil, err
	}
	c.lease = lease.ID
	delete(c.known, "alive") // it was under another lease
	return c.etcd.KeepAlive(ctx, lease.ID)
}

// alive is the sign of life.
func (c *connection) alive(st *volume.State) Alive {
	about := c.node.About()
	return Alive{Schema: master.Schema, Agent: st.Agent, Boot: st.Boot, Started: about.Started, Version: about.Version}
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
