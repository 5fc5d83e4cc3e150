package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/agent/wire"
)

// far is the site's other disk, as status has it.
func (p *site) far() (d wire.Disk) {
	p.t.Helper()
	st, err := p.Status(p.t.Context())
	p.must(err)
	for _, d = range st.Disks {
		if d.Key != "" {
			break
		}
	}
	return d
}

// wantSilent makes sure that the site's other disk is said not to answer, and nothing worse.
func (p *site) wantSilent() {
	p.t.Helper()
	for p.far().Fault == nil { // noticed after a while
	}
	if f := p.far().Fault; f.Kind != wire.KindName(volume.ErrUnavailable) || !strings.Contains(f.Reason, "not answered") {
		p.t.Errorf("the disk that hangs: %+v", f)
	}
	for v, err := range p.AllVolumes(p.t.Context()) {
		p.must(err)
		if v.ID == "far" && v.State != wire.KindName(volume.ErrUnavailable) {
			p.t.Errorf("the volume on the disk that hangs: %s, %+v", v.State, v.Fault)
		}
	}
}

// wantTold makes sure that people and monitoring are told which disk does not answer, and that the
// agent is not taken for one that cannot be used.
func (p *site) wantTold(dir string) {
	p.t.Helper()
	page, err := exec.Command("tenon", "--socket", p.path("tenon.sock"), "status").CombinedOutput()
	p.must(err)
	if !regexp.MustCompile(`(?m)^disk PATH:` + regexp.QuoteMeta(dir) + ` +unavailable .*it has not answered`).Match(page) {
		p.t.Errorf("tenon status:\n%s", page)
	}
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", p.path("tenon.sock"))
	}}
	defer transport.CloseIdleConnections()
	for url, want := range map[string]string{"/readyz": `"healthy":true`, "/metrics": `tenon_disk_available{disk="PATH:` + dir + `"} 0`} {
		resp, err := (&http.Client{Transport: transport}).Get("http://tenon" + url)
		p.must(err)
		text, err := io.ReadAll(resp.Body)
		p.must(errors.Join(err, resp.Body.Close()))
		if resp.StatusCode != http.StatusOK || !strings.Contains(string(text), want) {
			p.t.Errorf("%s: %s, want %s in it:\n%s", url, resp.Status, want, text)
		}
	}
}

// wantWorks uses the root disk for all that there is.
func (p *site) wantWorks() {
	p.t.Helper()
	p.must(p.create("near"))
	p.must(p.attach("task", "near", resource.RW))
	p.must(os.WriteFile(p.path("sandboxes/task/data/file"), []byte("data"), 0o600))
	p.must(p.Release(p.t.Context(), "task", false))
	_, err := p.Destroy(p.t.Context(), "web/near", true)
	p.must(err)
	if _, err := p.Usage(p.t.Context(), "", 1); err != nil {
		p.t.Errorf("usage: %v", err)
	}
}

func TestADiskThatHangsBeforeTheStartHoldsUpNoOtherAndComesBack(t *testing.T) {
	t.Parallel()
	p := newSite(t)
	f := mountFuse(t)
	defer f.abort()
	p.configure(fmt.Sprintf("\n[[disk]]\npath = %q\n", f.dir))
	f.hang(false)
	a := p.start("") // has never seen it
	p.wantSilent()
	p.wantTold(f.dir)
	p.reserve(64)
	p.wantWorks()
	if err := p.createOn(t.Context(), f.dir, "far"); !errors.Is(err, volume.ErrUnavailable) {
		t.Errorf("create on it: %v", err)
	}
	a.end(syscall.SIGKILL)

	a = p.start("")
	f.answer()
	p.recovered()
	p.reserveOn(f.dir, 8)
	p.must(p.createOn(t.Context(), f.dir, "far"))
	p.must(p.attach("writer", "far", resource.RW))
	p.must(os.WriteFile(p.path("sandboxes/writer/data/file"), []byte("precious"), 0o600))
	a.end(syscall.SIGKILL)

	f.hang(false)
	a = p.start("") // what is mounted of it hangs as well
	p.wantSilent()
	p.wantWorks()
	if err := p.attach("reader", "far", resource.RO); !errors.Is(err, volume.ErrUnavailable) {
		t.Errorf("attach: %v", err)
	}
	if _, err := p.Destroy(t.Context(), "web/far", false); !errors.Is(err, volume.ErrInUse) {
		t.Errorf("destroy: %v", err)
	}
	a.end(syscall.SIGTERM)
	if !a.ProcessState.Success() {
		t.Errorf("the agent ended with %v\n%s", a.ProcessState, a.log)
	}

	f.answer()
	a = p.start("")
	p.wantPrecious()
	for _, task := range []string{"writer", "reader"} {
		p.must(p.Release(t.Context(), task, false))
	}
	a.end(syscall.SIGTERM)
}

// exited waits until a process has come to its end, though some of its threads are in system
// calls that nothing ends.
func (a *process) exited(t *testing.T) {
	t.Helper()
	for {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", a.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		if _, after, _ := strings.Cut(string(text), ") "); strings.HasPrefix(after, "Z") {
			return
		}
	}
}

func TestADiskThatBeginsToHangHoldsUpNoOtherAndGoesOn(t *testing.T) {
	t.Parallel()
	p, f, a := newFar(t)
	defer f.abort()
	f.hang(true)
	const hung = 20 // more than the lane of attachments is wide
	var work sync.WaitGroup
	for n := range hung {
		work.Go(func() { _ = p.createOn(t.Context(), f.dir, fmt.Sprint("hung", n)) })
		work.Go(func() { _ = p.attach(fmt.Sprint("reader", n), "far", resource.RO) })
	}
	work.Go(func() { _, _ = p.Resize(t.Context(), "web/far", resource.MiB/2) })
	f.awaitAsked()
	p.wantWorks()
	p.wantSilent()
	p.wantWorks()
	if err := p.attach("reader", "far", resource.RO); !errors.Is(err, volume.ErrUnavailable) {
		t.Errorf("attach: %v", err)
	}
	p.wantTold(f.dir)
	work.Wait() // they were told in time
	f.answer()
	p.recovered() // and all that was asked came about
	for n := range hung {
		p.must(p.Release(t.Context(), fmt.Sprint("reader", n), false))
	}
	volumes, _ := p.settled()
	if len(volumes) != hung+1 {
		t.Errorf("%d volumes, want the %d that were asked for and one more", len(volumes), hung)
	}
	p.must(p.Release(t.Context(), "writer", false))
	a.end(syscall.SIGTERM)
}

// newFar is a site with another disk, which can hang, and a volume on it that a task has written to.
func newFar(t *testing.T) (*site, *fuse, *process) {
	t.Helper()
	p, f := newSite(t), mountFuse(t)
	p.configure(fmt.Sprintf("request_timeout = \"2s\"\n[[disk]]\npath = %q\nsize = \"256MiB\"\n", f.dir))
	a := p.start("")
	p.reserve(64)
	p.reserveOn(f.dir, 200)
	p.must(p.createOn(t.Context(), f.dir, "far"))
	p.must(p.attach("writer", "far", resource.RW))
	p.must(os.WriteFile(p.path("sandboxes/writer/data/file"), []byte("precious"), 0o600))
	return p, f, a
}

// wantPrecious makes sure that the volume on the site's other disk has what was written to it.
func (p *site) wantPrecious() {
	p.t.Helper()
	p.must(p.attach("reader", "far", resource.RO))
	if text, err := os.ReadFile(p.path("sandboxes/reader/data/file")); err != nil || string(text) != "precious" {
		p.t.Errorf("data %q, %v", text, err)
	}
}

func TestAnAgentThatEndsWhileADiskHangsMakesWayForTheNext(t *testing.T) {
	t.Parallel()
	p, f, a := newFar(t)
	defer func() { f.abort() }()
	f.hang(true)
	var work sync.WaitGroup
	work.Go(func() { _ = p.createOn(t.Context(), f.dir, "last") })
	f.awaitAsked()
	p.must(a.Process.Signal(syscall.SIGTERM))
	a.exited(t)
	work.Wait()
	b := p.start("") // beside what is left of the first
	p.wantSilent()
	p.wantWorks()

	f.unmount()
	<-a.ended
	a.ended <- nil
	f.mount()
	for p.far().Fault != nil { // it comes back by itself
	}
	p.must(p.Release(t.Context(), "writer", false)) // whose mount has died with the server
	p.recovered()
	p.wantPrecious()
	f.unmount() // while it is open
	f.mount()
	p.must(p.Release(t.Context(), "reader", false))
	for err := p.attach("again", "far", resource.RO); err != nil; err = p.attach("again", "far", resource.RO) {
	}
	p.must(p.Release(t.Context(), "again", false))
	b.end(syscall.SIGTERM)
}
