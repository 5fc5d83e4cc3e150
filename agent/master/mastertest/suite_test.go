package mastertest_test

import (
	"testing"

	"go.uber.org/goleak"

	"tenon/agent/master/mastertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestEveryKindOfMasterMeetsTheRequirements(t *testing.T) {
	t.Parallel()
	mastertest.Run(t, memoryKind(), hookKind("webhook", startPlain), hookKind("webhook+tls", startTLS),
		etcdKind("etcd", startEtcd), etcdKind("etcd+tls", startEtcdTLS))
}
