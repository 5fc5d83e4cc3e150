package mastertest_test

import (
	"testing"

	"tenon/agent/master/mastertest"

	"tenon/mount/mounttest"
)

func TestMain(m *testing.M) { mounttest.MainInPlace(m) }

func TestEveryKindOfMasterMeetsTheRequirements(t *testing.T) {
	t.Parallel()
	mastertest.Run(t, memoryKind(), hookKind("webhook", startPlain), hookKind("webhook+tls", startTLS),
		etcdKind("etcd", startEtcd), etcdKind("etcd+tls", startEtcdTLS))
}
