package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/rogpeppe/go-internal/testscript"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"

	"tenon/agent/client"
	"tenon/agent/wire"
)

// eventually runs a program until what it prints matches a pattern, for a bounded time.
func eventually(ts *testscript.TestScript, _ bool, args []string) {
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	pattern, deadline := regexp.MustCompile("(?m)"+args[0]), time.After(20*time.Second)
	for {
		err := ts.Exec(args[1], args[2:]...)
		out := ts.ReadFile("stdout")
		if err == nil && pattern.MatchString(out) {
			return
		}
		select {
		case <-again.C:
		case <-deadline:
			ts.Fatalf("it never matches %s: %v\n%s", args[0], err, out)
		}
	}
}

// receiver starts the master of testdata/master, or ends it: receiver [stop].
func receiver(ts *testscript.TestScript, _ bool, args []string) {
	h := hostOf(ts)
	if len(args) > 0 {
		ts.Check(h.endReceiver())
		return
	}
	program := h.at("receiver")
	if _, err := os.Stat(program); err != nil {
		build := exec.Command("go", "build", "-o", program, "tenon/testdata/master/receiver")
		if out, err := build.CombinedOutput(); err != nil {
			ts.Fatalf("%v\n%s", err, out)
		}
	}
	ts.Check(errors.Join(os.MkdirAll(h.at("agents"), 0o700), os.WriteFile(h.at("secret"), []byte("a secret of thirty-two bytes, yes\n"), 0o600)))
	h.receiver = exec.Command(program, "-listen", ts.Getenv("MASTER"), "-dir", h.at("agents"), "-secret", h.at("secret"))
	h.receiver.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	ts.Check(h.receiver.Start())
}

func (h *testHost) endReceiver() error {
	if h.receiver == nil {
		return nil
	}
	err := h.receiver.Process.Kill()
	_ = h.receiver.Wait() // it was killed
	h.receiver = nil
	return err
}

// freeAddress is one of this host that nobody listens on.
func freeAddress() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return ln.Addr().String(), ln.Close()
}

// order gives the master an order for the agent: order ID FILE. The agent need not run.
func order(ts *testscript.TestScript, _ bool, args []string) {
	reports, err := filepath.Glob(hostOf(ts).at("agents/*.json"))
	ts.Check(err)
	if len(reports) != 1 {
		ts.Fatalf("reports of %d agents, want one", len(reports))
	}
	dir := strings.TrimSuffix(reports[0], ".json")
	ts.Check(os.MkdirAll(dir, 0o700))
	ts.Check(os.WriteFile(filepath.Join(dir, "new"), []byte(ts.ReadFile(args[1])), 0o600))
	ts.Check(os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, args[0]+".json"))) // whole or not at all
}

// csiCall asks at the CSI socket as an orchestrator would:
//
//	csi info | register | publish VOLUME TARGET | unpublish VOLUME TARGET
func csiCall(ts *testscript.TestScript, _ bool, args []string) {
	socket := ts.MkAbs("kubelet/csi.sock")
	if args[0] == "register" {
		socket = ts.MkAbs("kubelet/plugins_registry/tenon.dev-reg.sock")
	}
	conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	ts.Check(err)
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	switch args[0] {
	case "info":
		var info *csi.NodeGetInfoResponse
		if info, err = csi.NewNodeClient(conn).NodeGetInfo(ctx, &csi.NodeGetInfoRequest{}, grpc.WaitForReady(true)); err == nil && info.GetNodeId() == "" {
			err = errors.New("the node has no id")
		}
	case "register":
		var info *registration.PluginInfo
		if info, err = registration.NewRegistrationClient(conn).GetInfo(ctx, &registration.InfoRequest{}, grpc.WaitForReady(true)); err == nil && info.Endpoint != ts.MkAbs("kubelet/csi.sock") {
			err = fmt.Errorf("the kubelet is sent to %s", info.Endpoint)
		}
	case "publish":
		_, err = csi.NewNodeClient(conn).NodePublishVolume(ctx, &csi.NodePublishVolumeRequest{VolumeId: handle(ts, args[1]), TargetPath: ts.MkAbs(args[2]),
			VolumeCapability: &csi.VolumeCapability{
				AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_MULTI_WRITER},
				AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{}},
			}}, grpc.WaitForReady(true))
	case "unpublish":
		_, err = csi.NewNodeClient(conn).NodeUnpublishVolume(ctx, &csi.NodeUnpublishVolumeRequest{VolumeId: handle(ts, args[1]), TargetPath: ts.MkAbs(args[2])})
	}
	ts.Check(err)
}

// handle is what an orchestrator calls a volume.
func handle(ts *testscript.TestScript, name string) string {
	c := client.New(hostOf(ts).at("s"))
	defer c.Close()
	st, err := c.Status(context.Background())
	ts.Check(err)
	v, err := c.Volume(context.Background(), name)
	ts.Check(err)
	return string(v.UUID) + "." + st.Agent
}

// certify makes tls.pem, a certificate with its key.
func certify(ts *testscript.TestScript, _ bool, _ []string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ts.Check(err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "agent"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	ts.Check(err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	ts.Check(err)
	var file bytes.Buffer
	ts.Check(errors.Join(pem.Encode(&file, &pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.Encode(&file, &pem.Block{Type: "PRIVATE KEY", Bytes: private})))
	ts.Check(os.WriteFile(ts.MkAbs("tls.pem"), file.Bytes(), 0o600))
}

// poll asks at the address for those who only read, and writes what it is told to "polled":
// poll METHOD PATH [TOKEN].
func poll(ts *testscript.TestScript, _ bool, args []string) {
	authorities := x509.NewCertPool()
	authorities.AppendCertsFromPEM([]byte(ts.ReadFile("tls.pem")))
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: authorities}, DisableKeepAlives: true}
	req, err := http.NewRequestWithContext(context.Background(), args[0], "https://"+ts.Getenv("POLL")+args[1], nil)
	ts.Check(err)
	if len(args) > 2 {
		req.Header.Set("Authorization", "Bearer "+args[2])
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	ts.Check(err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs("polled"), append([]byte(resp.Status+"\n"), body...), 0o600))
}

func TestMastersThatAreLostOrNotToldAllAreShownWithTheReason(t *testing.T) {
	t.Parallel()
	now := time.Now()
	p := &page{now: now}
	p.masters([]wire.Master{
		{Name: "fleet", URL: "https://fleet/a", Connected: true, LastError: "long ago"},
		{Name: "keys", URL: "etcd://a:1", LastContact: now.Add(-3 * time.Minute), LastError: "it hung\x1bup"},
		{Name: "part", URL: "etcd://c:1", Connected: true, Incomplete: "status is without its reservations"},
		{Name: "new", URL: "etcd://b:1"},
	})
	want := `MASTER   AT                STATE       HEARD FROM   REASON
fleet    https://fleet/a   connected
keys     etcd://a:1        lost        3m ago       "it hung\x1bup"
part     etcd://c:1        connected                status is without its reservations
new      etcd://b:1        lost        never
`
	if p.String() != want {
		t.Errorf("got\n%s\nwant\n%s", p.String(), want)
	}
	colored := &page{now: now, color: true}
	colored.masters([]wire.Master{{Name: "a", Connected: true}, {Name: "b"}})
	if text := colored.String(); !strings.Contains(text, "\x1b[32mconnected") || !strings.Contains(text, "\x1b[31mlost") {
		t.Errorf("a lost one looks like one that is not: %q", text)
	}
}
