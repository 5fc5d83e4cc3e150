package main

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"tenon/agent"
	"tenon/agent/access"
	"tenon/agent/api"
	"tenon/agent/config"
	"tenon/agent/csi"
	"tenon/agent/volume"
)

// sharedRoots are where volumes are published by CSI; none without it.
func sharedRoots(cfg config.Config) []string {
	if cfg.CSI.Socket == "" {
		return nil
	}
	return cfg.CSI.Roots
}

// plugin serves Kubernetes or Nomad. Without a server it does nothing.
type plugin struct {
	server       *csi.Server
	socket       string       // path
	passed       net.Listener // the same, where systemd has made it; nil otherwise
	registration string       // path of the socket for the kubelet; empty is none
	log          *slog.Logger
}

// newPlugin makes the plugin that is configured.
func newPlugin(d daemon) (*plugin, error) {
	c := d.cfg.CSI
	p := &plugin{socket: c.Socket, log: d.log}
	if c.Socket == "" {
		return p, nil
	}
	if c.Registration != "" {
		p.registration = filepath.Join(c.Registration, csi.Driver+"-reg.sock")
	}
	if c.Node == "" {
		var err error
		if c.Node, err = os.Hostname(); err != nil {
			return nil, err
		}
	}
	var err error
	p.server, err = csi.New(csi.Options{Agent: audited{d.Agent, d.audit, d.log}, Node: c.Node, Roots: c.Roots, Allow: d.cfg.ACLs.For(csi.Driver),
		Endpoint: c.Socket, NodeExpansion: c.NodeExpansion, Version: version(), Log: d.log, Timeout: d.cfg.RequestTimeout})
	return p, err
}

// start serves the plugin's sockets in the background until ctx ends and the plugin is shut
// down.
func (p *plugin) start(ctx context.Context, work *sync.WaitGroup) {
	if p.server == nil {
		if p.passed != nil {
			p.log.Warn("a socket for CSI was handed over, but csi_socket is not set", "err", p.passed.Close())
		}
		return
	}
	work.Go(func() { p.keep(ctx, p.socket, p.passed) })
	if p.registration != "" {
		work.Go(func() { p.keep(ctx, p.registration, nil) })
	}
}

// keep serves a socket. What goes wrong is logged, and tried again after a pause: a disk may
// be mounted late, and the agent has others to serve.
func (p *plugin) keep(ctx context.Context, path string, passed net.Listener) {
	const shortest, longest = time.Second, time.Minute
	for pause := shortest; ; pause = min(2*pause, longest) {
		err := p.serve(path, passed)
		if err == nil || ctx.Err() != nil {
			return // it was shut down, which closes what is served after that as well
		}
		passed = nil
		p.log.Error("csi socket not served, trying again", "socket", path, "err", err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

// serve serves a socket until the plugin is shut down.
func (p *plugin) serve(path string, ln net.Listener) (err error) {
	if ln == nil {
		if ln, err = api.Listen(path, ""); err != nil { // for root and the agent's own user
			return err
		}
	}
	p.log.Info("csi served", "socket", path)
	return p.server.Serve(ln)
}

// shutdown lets the calls under way finish until ctx ends.
func (p *plugin) shutdown(ctx context.Context) {
	if p.server == nil {
		return
	}
	if err := p.server.Shutdown(ctx); err != nil {
		p.log.Warn("calls of csi cut off, what they have recorded goes on", "err", err)
	}
}

// audited is the agent to the plugin: what it asks for is written to the audit file.
type audited struct {
	*agent.Agent
	audit *access.Audit // nil where none is written
	log   *slog.Logger
}

// Ask has operations done, and noted.
func (a audited) Ask(ctx context.Context, r agent.Request) (*volume.State, error) {
	s, err := a.Agent.Ask(ctx, r)
	if a.audit == nil {
		return s, err
	}
	outcome, reason := access.Outcome(err)
	noted := a.audit.Write(access.Entry{Time: time.Now().UTC(), Principal: csi.Driver, Operations: access.Describe(r.Operations),
		DryRun: r.DryRun, Outcome: outcome, Reason: reason})
	if noted != nil {
		a.log.Error("audit entry not written", "principal", csi.Driver, "err", noted)
	}
	return s, err
}
