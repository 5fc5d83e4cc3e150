package master

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"os"
)

const (
	maxSecret = 4 << 10  // bytes of a secret file
	maxPEM    = 16 << 20 // bytes of a file of certificates
)

// Secret reads the secret file, without the white space around the secret; nil if none is
// configured. A file that others than its owner can read is refused.
func (c Config) Secret() ([]byte, error) {
	if c.SecretFile == "" {
		return nil, nil
	}
	f, err := os.Open(c.SecretFile)
	if err != nil {
		return nil, fmt.Errorf("secret file: %w", err)
	}
	defer func() { _ = f.Close() }() // it was only read
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, fmt.Errorf("secret file: %w", err)
	case !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("secret file %s must be a file that its owner alone can read, as with chmod 600", c.SecretFile)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return nil, fmt.Errorf("secret file: %w", err)
	}
	secret := bytes.TrimSpace(data)
	if len(data) > maxSecret || len(secret) == 0 {
		return nil, fmt.Errorf("secret file %s must have 1 to %d bytes", c.SecretFile, maxSecret)
	}
	return secret, nil
}

// TLS is how to speak TLS with the master, with the files as they are now.
func (c Config) TLS() (*tls.Config, error) {
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CAFile != "" {
		pem, err := readLimited(c.CAFile, maxPEM)
		if err != nil {
			return nil, err
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("there is no certificate in %s", c.CAFile)
		}
	}
	if c.CertFile+c.KeyFile == "" {
		return t, nil
	}
	pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("certificate %q with key %q: %w", c.CertFile, c.KeyFile, err)
	}
	t.Certificates = []tls.Certificate{pair}
	return t, nil
}

func readLimited(file string, most int64) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	return io.ReadAll(io.LimitReader(f, most))
}
