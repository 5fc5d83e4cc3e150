package etcd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"tenon/agent/master"
)

const (
	callTime   = 10 * time.Second // of one request to etcd
	maxMessage = 4 << 20          // bytes of an answer of etcd
	heartbeat  = 10 * time.Second // unless it is configured
	minTTL     = 5 * time.Second
)

// client is a master.Client.
type client struct {
	config    master.Config
	endpoints []string
	secure    bool
	prefix    string // with "/" at the end
	ttl       time.Duration
	known     map[string]written // what this process has written and etcd confirmed; of the run
}

// New makes a client for a URL with the scheme etcd or etcds. It is a master.Kind. The lease
// lasts three heartbeats, which are 10 s unless configured. The secret file, if there is one, has "user:password".
func New(c master.Config) (master.Client, error) {
	scheme, rest, _ := strings.Cut(c.URL, "://")
	hosts, prefix, _ := strings.Cut(rest, "/")
	k := &client{config: c, secure: scheme == "etcds", known: map[string]written{}}
	if k.prefix = strings.Trim(prefix, "/") + "/"; k.prefix == "/" || strings.ContainsAny(prefix, "?#") {
		return nil, errors.New("the URL must be etcd://host:port,host:port/prefix")
	}
	for host := range strings.SplitSeq(hosts, ",") {
		if _, port, err := net.SplitHostPort(host); err != nil || port == "" {
			return nil, fmt.Errorf("%.255q in the URL is not host:port", host)
		}
		k.endpoints = append(k.endpoints, (&url.URL{Scheme: map[bool]string{false: "http", true: "https"}[k.secure], Host: host}).String())
	}
	if !k.secure && c.CAFile+c.CertFile+c.KeyFile != "" {
		return nil, errors.New("certificates need the scheme etcds")
	}
	if k.config.Heartbeat == 0 {
		k.config.Heartbeat = heartbeat
	}
	k.ttl = max(3*k.config.Heartbeat, minTTL)
	return k, nil
}

// connection is one run of a client.
type connection struct {
	*master.Session
	*client
	node  master.Node
	etcd  *clientv3.Client
	lease clientv3.LeaseID
	base  string           // of the agent's keys, with "/" at the end
	taken map[string]int64 // orders that were handed over, with their revisions; of takeOrders
	lacks string           // what the master was last said not to be told; of report
}

// Run keeps etcd up to date until something fails.
func (c *client) Run(ctx context.Context, n master.Node) error {
	etcd, err := c.dial(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = etcd.Close() }() // nothing of it is needed any more
	conn := &connection{
		Session: master.Open(ctx, n, c.config), client: c, node: n, etcd: etcd,
		base: c.prefix + n.State().Agent + "/",
	}
	conn.Go(conn.begin)
	return conn.Wait()
}

// dial makes a client of etcd, with the files as they are now. It reaches out to nobody unless
// there is a password.
func (c *client) dial(ctx context.Context) (*clientv3.Client, error) {
	o := clientv3.Config{
		Endpoints: c.endpoints, Context: ctx, DialTimeout: callTime, Logger: zap.NewNop(),
		DialKeepAliveTime: callTime, DialKeepAliveTimeout: callTime,
		MaxCallSendMsgSize: maxMessage, MaxCallRecvMsgSize: maxMessage,
	}
	if c.secure {
		trust, err := c.config.TLS()
		if err != nil {
			return nil, err
		}
		o.TLS = trust
	}
	secret, err := c.config.Secret()
	if err != nil {
		return nil, err
	}
	if secret != nil {
		user, password, found := strings.Cut(string(secret), ":")
		if !found {
			return nil, fmt.Errorf("secret file %s must have user:password", c.config.SecretFile)
		}
		o.Username, o.Password = user, password
	}
	return clientv3.New(o)
}

// begin gets a lease and starts all that goes on beside.
func (c *connection) begin(ctx context.Context) error {
	renewed, err := c.lend(ctx)
	if err != nil {
		return err
	}
	c.Go(func(ctx context.Context) error { return c.keepAlive(ctx, renewed) })
	c.Go(c.report)
	c.Go(c.takeOrders)
	return nil
}

// limited makes one call of etcd that ends in time.
func limited[T any](ctx context.Context, what string, call func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	result, err := call(ctx)
	if err != nil {
		return result, fmt.Errorf("etcd: %s: %w", what, err)
	}
	return result, nil
}
