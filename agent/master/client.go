package master

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	"tenon/agent"
	"tenon/agent/access"
	"tenon/agent/volume"
	"tenon/agent/wire"
)

// Client speaks to one master.
type Client interface {
	// Run reports to the master and carries out its orders. It blocks until ctx ends or the
	// master is lost; it is called again then, by the same goroutine, after a pause.
	Run(ctx context.Context, n Node) error
}

// Node is what a client sees of the agent. Its methods may be called at the same time.
type Node interface {
	// About tells whose client it is and what a State does not know.
	About() About
	// Ask is that of the agent, as the master's principal. It waits while too much is asked,
	// unless it is only to acknowledge.
	Ask(ctx context.Context, r agent.Request) (*volume.State, error)
	// State is the newest version.
	State() *volume.State
	// Watch waits for a version after the one given.
	Watch(ctx context.Context, after uint64) (*volume.State, error)
	// Contact notes that the master was heard from now, or, with an error, what was wrong with
	// what it said. An Incomplete lasts.
	Contact(err error)
}

// Incomplete is an error for Contact: what the master cannot be told, and why. It stays in the
// status of the master until Contact is called with another one or the client returns; an empty
// one says that the master is told all again.
type Incomplete string

// Error is what the master cannot be told.
func (i Incomplete) Error() string { return string(i) }

// About is what a Node knows of its client and its agent.
type About struct {
	Name      string // of the master on this agent
	Principal string // as which it asks
	// Reports is how many were written since Started, in all sessions.
	Reports *atomic.Uint64
	wire.About
}

// Config is how an operator describes a master.
type Config struct {
	Name      string // letters, digits, "-" and "_", at most 32; one for each master
	URL       string // its scheme chooses the kind; no secrets in it
	Principal string // for the ACLs; none is "master:" and the name

	SecretFile string // what the kind needs to prove who it is, for its owner alone to read
	CAFile     string // PEM, whom to trust in place of the host's authorities
	CertFile   string // PEM, the agent's own certificate
	KeyFile    string // PEM, its key

	Interval  time.Duration // there is at most one report in it; 0 is a second
	Heartbeat time.Duration // a report is sent after this long although nothing changed; 0 is half a minute
}

// Kind makes clients of one kind. It checks the configuration and reaches out to nobody.
type Kind func(Config) (Client, error)

// Kinds are the kinds of masters by the schemes of their URLs.
type Kinds map[string]Kind

// Member is a client with what is known of its master.
type Member struct {
	Name      string
	Kind      string // scheme of the URL
	URL       string // without user, query and secrets
	Principal string
	Client    Client
}

var nameShape = regexp.MustCompile(`^[A-Za-z0-9_-]{1,32}$`)

// New makes the client that a configuration asks for.
func (k Kinds) New(c Config) (Member, error) {
	m := Member{Name: c.Name, Principal: c.Principal}
	if !nameShape.MatchString(c.Name) {
		return m, fmt.Errorf("master %.64q: the name must be 1 to 32 letters, digits, \"-\" or \"_\"", c.Name)
	}
	if m.Principal == "" {
		m.Principal = "master:" + c.Name
	}
	scheme, _, found := strings.Cut(c.URL, "://")
	kind, known := k[scheme]
	switch {
	case !found || !known:
		return m, fmt.Errorf("master %s: there is no kind of master with the scheme %.32q", c.Name, scheme)
	case c.Interval < 0 || c.Heartbeat < 0:
		return m, fmt.Errorf("master %s: interval and heartbeat must not be negative", c.Name)
	}
	if err := access.CheckPrincipal(m.Principal); err != nil {
		return m, fmt.Errorf("master %s: %w", c.Name, err)
	}
	shown, err := showURL(c.URL)
	if err != nil {
		return m, fmt.Errorf("master %s: %w", c.Name, err)
	}
	m.Kind, m.URL = scheme, shown
	if m.Client, err = kind(c); err != nil {
		return m, fmt.Errorf("master %s: %w", c.Name, err)
	}
	return m, nil
}

// showURL is a URL without what may be secret. One with a user in it is refused: the place for
// secrets is a file. Its errors do not quote it.
func showURL(text string) (string, error) {
	plain, _, _ := strings.Cut(text, "#")
	plain, _, _ = strings.Cut(plain, "?")
	scheme, rest, _ := strings.Cut(plain, "://")
	hosts, path, _ := strings.Cut(rest, "/")
	switch {
	case strings.Contains(rest, "@"):
		return "", errors.New("the URL has a user or a password in it; put those into the secret file")
	case hosts == "":
		return "", errors.New("the URL names no host")
	}
	for host := range strings.SplitSeq(hosts, ",") {
		if u, err := url.Parse(scheme + "://" + host + "/" + path); err != nil || u.Hostname() == "" {
			return "", errors.New("the URL cannot be read")
		}
	}
	return plain, nil
}

// withDefaults fills in what was left open.
func (c Config) withDefaults() Config {
	if c.Interval == 0 {
		c.Interval = time.Second
	}
	if c.Heartbeat == 0 {
		c.Heartbeat = 30 * time.Second
	}
	return c
}
