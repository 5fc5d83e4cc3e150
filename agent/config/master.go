package config

import (
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"

	"tenon/agent/access"
)

const masterDoc = `
# Masters that the agent reports to and takes orders from; any number. The scheme of the
# URL says of which kind one is: http and https, or etcd and etcds. The agent keeps the
# orders of a master under its name, so it should stay as it is. Without principal it is
# "master:" and the name. Files are read when the agent connects.
`

const masterExample = `#
# [[master]]
# name = "fleet"
# url = "https://fleet.example:8443/agents"
# principal = "fleet"
# secret_file = "/etc/tenon/fleet.secret"
# ca_file = "/etc/tenon/fleet-ca.pem"
# cert_file = "/etc/tenon/agent.pem"
# key_file = "/etc/tenon/agent.key"
# interval = "1s"
# heartbeat = "30s"
`

// maxPause bounds the interval and the heartbeat of a master.
const maxPause = time.Hour

var validMaster = regexp.MustCompile(`^[A-Za-z0-9_-]{1,32}$`)

// masterTable is a master in the file.
type masterTable struct {
	Name       string `toml:"name"`
	URL        string `toml:"url"`
	Principal  string `toml:"principal,omitempty"`
	SecretFile string `toml:"secret_file,omitempty"`
	CAFile     string `toml:"ca_file,omitempty"`
	CertFile   string `toml:"cert_file,omitempty"`
	KeyFile    string `toml:"key_file,omitempty"`
	Interval   string `toml:"interval,omitempty"`
	Heartbeat  string `toml:"heartbeat,omitempty"`
}

// applyMasters replaces the masters by the document's, if it has any.
func applyMasters(c *Config, file string, d document) error {
	if d.Master == nil {
		return nil
	}
	var errs []error
	c.Masters = nil
	for i, t := range d.Master {
		m := Master{Name: t.Name, URL: t.URL, Principal: t.Principal, SecretFile: t.SecretFile, CAFile: t.CAFile, CertFile: t.CertFile, KeyFile: t.KeyFile}
		errs = append(errs,
			setPause(&m.Interval, t.Interval, fmt.Sprintf("%s: master %d: interval", file, i+1)),
			setPause(&m.Heartbeat, t.Heartbeat, fmt.Sprintf("%s: master %d: heartbeat", file, i+1)))
		c.Masters = append(c.Masters, m)
	}
	return errors.Join(errs...)
}

// setPause reads a time that may be left out.
func setPause(to *time.Duration, text, where string) error {
	if text == "" {
		return nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("%s: %w", where, err)
	}
	*to = d
	return nil
}

// parseMasters reads URLs with commas between them, of which one may have commas itself,
// between hosts. The name of each master is its host's.
func parseMasters(s string) (list []Master, err error) {
	if s == "" {
		return nil, nil
	}
	for part := range strings.SplitSeq(s, ",") {
		switch {
		case strings.Contains(part, "://"):
			list = append(list, Master{Name: nameOfHost(part), URL: part})
		case len(list) == 0:
			return nil, errors.New("it does not begin with a URL, such as https://host/path")
		default:
			list[len(list)-1].URL += "," + part
		}
	}
	return list, nil
}

// nameOfHost makes a name of a URL's first host.
func nameOfHost(url string) string {
	_, host, _ := strings.Cut(url, "://")
	if end := strings.IndexAny(host, "/?#"); end >= 0 {
		host = host[:end]
	}
	host = host[strings.LastIndex(host, "@")+1:] // secrets have no place here, and are refused elsewhere
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	name := strings.Map(func(r rune) rune {
		if validMaster.MatchString(string(r)) {
			return r
		}
		return '-'
	}, strings.Trim(host, "[]"))
	return name[:min(len(name), 32)]
}

// formatMasters is what the default of the flag looks like.
func formatMasters(list []Master) string {
	var urls []string
	for _, m := range list {
		urls = append(urls, m.URL)
	}
	return strings.Join(urls, ",")
}

// masterFiles are the files of all masters.
func (c Config) masterFiles() (places []place) {
	for _, m := range c.Masters {
		of := fmt.Sprintf("master %.32q: ", m.Name)
		places = append(places, place{of + "secret_file", m.SecretFile}, place{of + "ca_file", m.CAFile},
			place{of + "cert_file", m.CertFile}, place{of + "key_file", m.KeyFile})
	}
	return places
}

// checkMasters wants masters that can be told from each other. What a kind needs, and which
// kinds there are, is known to those who make its clients.
func (c Config) checkMasters() (errs []error) {
	names := map[string]bool{}
	for i, m := range c.Masters {
		where := fmt.Sprintf("master %d", i+1)
		errs = append(errs,
			check(validMaster.MatchString(m.Name), "%s: name: %.64q is not 1 to 32 letters, digits, \"-\" and \"_\"", where, m.Name),
			check(!names[m.Name], "%s: name: there is a master %q before it; in the file, masters have names of their own", where, m.Name),
			prefixed(where+": ", m.check()))
		names[m.Name] = true
	}
	return errs
}

func (m Master) check() error {
	scheme, rest, found := strings.Cut(m.URL, "://")
	bad := strings.ContainsFunc(m.URL, func(r rune) bool { return r <= ' ' || r >= 0x7f })
	var principal error
	if m.Principal != "" {
		principal = prefixed("principal: ", access.CheckPrincipal(m.Principal))
	}
	return errors.Join(
		check(found && scheme != "" && rest != "" && !bad, "url: it is not like https://host/path"), // never quoted: there may be a secret in it
		principal,
		check((m.CertFile == "") == (m.KeyFile == ""), "cert_file and key_file: both are needed, or none"),
		check(m.Interval >= 0 && m.Interval <= maxPause, "interval: %s is not between 0s and %s", m.Interval, maxPause),
		check(m.Heartbeat >= 0 && m.Heartbeat <= maxPause, "heartbeat: %s is not between 0s and %s", m.Heartbeat, maxPause))
}

// writeMasters writes what applyMasters reads back, or an example.
func writeMasters(b *strings.Builder, masters []Master) error {
	b.WriteString(masterDoc)
	if len(masters) == 0 {
		b.WriteString(masterExample)
	}
	for _, m := range masters {
		entry, err := toml.Marshal(masterTable{Name: m.Name, URL: m.URL, Principal: m.Principal, SecretFile: m.SecretFile, CAFile: m.CAFile,
			CertFile: m.CertFile, KeyFile: m.KeyFile, Interval: pause(m.Interval), Heartbeat: pause(m.Heartbeat)})
		if err != nil {
			return fmt.Errorf("write master %s: %w", m.Name, err)
		}
		fmt.Fprintf(b, "\n[[master]]\n%s", entry)
	}
	return nil
}

// pause is a time as setPause reads it back.
func pause(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return d.String()
}
