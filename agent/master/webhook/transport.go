package webhook

import (
	"fmt"
	"net"
	"net/http"
	"time"

	"tenon/agent/master"
)

const (
	minSecret = 16       // bytes: fewer can be guessed
	maxHeader = 64 << 10 // bytes of an answer's header
	dialTime  = 10 * time.Second
)

func readSecret(c master.Config) ([]byte, error) {
	secret, err := c.Secret()
	if err == nil && secret != nil && len(secret) < minSecret {
		return nil, fmt.Errorf("the secret in %s has %d bytes; at least %d are needed", c.SecretFile, len(secret), minSecret)
	}
	return secret, err
}

// newTransport makes connections to one master. It undoes no compression, so that what is read
// is what came.
func newTransport(c master.Config) (*http.Transport, error) {
	trust, err := c.TLS()
	if err != nil {
		return nil, err
	}
	return &http.Transport{
		TLSClientConfig:        trust,
		DialContext:            (&net.Dialer{Timeout: dialTime}).DialContext,
		TLSHandshakeTimeout:    dialTime,
		MaxResponseHeaderBytes: maxHeader,
		MaxConnsPerHost:        1,
		DisableCompression:     true,
		ForceAttemptHTTP2:      false,
	}, nil
}
