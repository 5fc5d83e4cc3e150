package etcd_test

import (
	"os"
	"path/filepath"
	"testing"

	"tenon/agent/master"
	"tenon/agent/master/etcd"
)

func secretFile(t *testing.T, secret string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestConfigurationsThatCannotWorkAreRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []master.Config{
		{URL: "etcd://host:2379"},
		{URL: "etcd://host:2379/"},
		{URL: "etcd://host/prefix"},
		{URL: "etcd://host:2379,other/prefix"},
		{URL: "etcd://host:2379/prefix?ttl=1"},
		{URL: "etcd://host:2379/prefix", CAFile: "ca"},
		{URL: "etcd://host:2379/prefix", CertFile: "cert", KeyFile: "key"},
	} {
		if k, err := etcd.New(c); err == nil {
			t.Errorf("%+v makes %+v", c, k)
		}
	}
	for _, c := range []master.Config{
		{URL: "etcd://host:2379,[::1]:2379/a/b/"},
		{URL: "etcds://host:2379/a", CAFile: "ca", CertFile: "cert", KeyFile: "key"},
	} {
		if _, err := etcd.New(c); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
