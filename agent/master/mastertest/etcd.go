package mastertest

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"tenon/mount/mounttest"
)

// maxRequest bounds what the client of a test sends. An etcd takes less unless it is told to.
const maxRequest = 16 << 20

// Etcd is an etcd of a test's own, on loopback, that can be killed and started again on what
// it has.
type Etcd struct {
	Address string           // host:port for clients
	Client  *clientv3.Client // waits while etcd is not there

	program, dir, peer string
	scheme             string
	flags              []string
	process            *exec.Cmd
}

// StartEtcd starts an etcd that ends with the test, with the limits that it has by default unless
// flags say otherwise. The name of the thing that it needs is "etcd".
func StartEtcd(t testing.TB, flags ...string) *Etcd {
	t.Helper()
	return startEtcd(t, &Etcd{scheme: "http", flags: flags}, nil)
}

// StartEtcdTLS is StartEtcd for one that talks TLS, and only to those with a certificate of the
// authority that its own is of.
func StartEtcdTLS(t testing.TB, ca *Authority) *Etcd {
	t.Helper()
	own := ca.Issue(t)
	e := &Etcd{scheme: "https", flags: []string{"--cert-file=" + own.CertFile, "--key-file=" + own.KeyFile, "--trusted-ca-file=" + ca.File, "--client-cert-auth"}}
	return startEtcd(t, e, &tls.Config{RootCAs: ca.Pool, Certificates: []tls.Certificate{own.Pair}})
}

func startEtcd(t testing.TB, e *Etcd, trust *tls.Config) *Etcd {
	t.Helper()
	program, err := exec.LookPath("etcd")
	if err != nil {
		mounttest.Skip(t, "etcd", err.Error())
	}
	e.program, e.dir, e.Address, e.peer = program, t.TempDir(), freeAddress(t), freeAddress(t)
	e.Client, err = clientv3.New(clientv3.Config{
		Endpoints: []string{e.scheme + "://" + e.Address}, TLS: trust, Logger: zap.NewNop(), MaxCallSendMsgSize: maxRequest,
		DialOptions: []grpc.DialOption{grpc.WithDefaultCallOptions(grpc.WaitForReady(true))},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Client.Close() })
	t.Cleanup(e.Kill)
	e.Start(t)
	return e
}

// freeAddress is an address on loopback that nobody listened on a moment ago.
func freeAddress(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	return ln.Addr().String()
}

// Start starts it, again after Kill, and returns when it answers.
func (e *Etcd) Start(t testing.TB) {
	t.Helper()
	log, err := os.OpenFile(filepath.Join(e.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }() // the process has its own
	client, peer := e.scheme+"://"+e.Address, "http://"+e.peer
	e.process = exec.Command(e.program, append([]string{"--name=test", "--data-dir=" + filepath.Join(e.dir, "data"), "--logger=zap",
		"--listen-client-urls=" + client, "--advertise-client-urls=" + client,
		"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer, "--initial-cluster=test=" + peer}, e.flags...)...)
	e.process.Stdout, e.process.Stderr = log, log
	e.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // also when the test runs out of time
	if err := e.process.Start(); err != nil {
		t.Fatalf("start etcd: %v", err)
	}
	if _, err := e.Client.Get(t.Context(), "/"); err != nil {
		text, _ := os.ReadFile(log.Name())
		t.Fatalf("etcd does not answer: %v\n%s", err, text)
	}
}

// Kill ends it at once, as kill -9 does.
func (e *Etcd) Kill() {
	if e.process != nil {
		_ = e.process.Process.Kill()
		_ = e.process.Wait() // killed, as it says
		e.process = nil
	}
}

// Hang stops it in the middle of what it does, until Resume.
func (e *Etcd) Hang() error { return e.process.Process.Signal(syscall.SIGSTOP) }

// Resume lets it go on.
func (e *Etcd) Resume() error { return e.process.Process.Signal(syscall.SIGCONT) }

// Await returns the first value beneath a prefix that is wanted. deleted ones are not shown.
func (e *Etcd) Await(ctx context.Context, prefix string, wanted func(key string, value []byte) bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for {
		got, err := e.Client.Get(ctx, prefix, clientv3.WithPrefix())
		if err != nil {
			return err
		}
		for _, kv := range got.Kvs {
			if wanted(string(kv.Key), kv.Value) {
				return nil
			}
		}
		for r := range e.Client.Watch(ctx, prefix, clientv3.WithPrefix(), clientv3.WithRev(got.Header.Revision+1)) {
			for _, ev := range r.Events {
				if ev.Type == clientv3.EventTypePut && wanted(string(ev.Kv.Key), ev.Kv.Value) {
					return nil
				}
			}
			if r.Err() != nil {
				break // compacted: look again
			}
		}
		if ctx.Err() != nil {
			return fmt.Errorf("wait for %s: %w", prefix, ctx.Err())
		}
	}
}
