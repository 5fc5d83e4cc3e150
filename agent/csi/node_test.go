package csi

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"

	"tenon/agent/agenttest"
	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/mount/mounttest"
)

func TestASharedVolumeInTwoPods(t *testing.T) {
	mounttest.RequireRoot(t)
	dir := directory(t, "")
	n := real(t, dir)
	r := creation("data", multi)
	r.Parameters["mode"] = "1777"
	res, err := n.CreateVolume(t.Context(), r)
	must(t, err)
	v, writer, reader := res.Volume, n.target(t, "writer"), n.target(t, "reader")
	n.publish(t, v, writer, multi)
	ro := publication(v, reader, multi)
	ro.Readonly = true
	_, err = n.NodePublishVolume(t.Context(), ro)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(writer, "greeting"), []byte("hi"), 0o644))
	for _, path := range []string{reader, n.elsewhere(reader)} {
		if text, err := os.ReadFile(filepath.Join(path, "greeting")); err != nil || string(text) != "hi" {
			t.Errorf("at %s there is %q, %v", path, text, err)
		}
		if err := os.WriteFile(filepath.Join(path, "greeting"), nil, 0o644); !errors.Is(err, syscall.EROFS) {
			t.Errorf("written at %s: %v, want EROFS", path, err)
		}
	}
	if hs := n.agent.State().Holders(n.find(t, v).UUID); len(hs) != 2 {
		t.Errorf("holders are %v, want two", hs)
	}
	n.unpublish(t, v, writer)
	n.unpublish(t, v, reader)
	for _, path := range []string{writer, reader, n.elsewhere(writer), n.elsewhere(reader)} {
		if !gone(path) {
			t.Errorf("%s is there still", path)
		}
	}
	if gone(filepath.Dir(writer)) {
		t.Error("the directory above the target, which is the kubelet's, is gone")
	}
	_, err = n.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: v.VolumeId})
	must(t, err)
}

// elsewhere is a target as those see it who share the mount that it lies on.
func (n *node) elsewhere(target string) string {
	return filepath.Join(filepath.Dir(n.root), "peer", strings.TrimPrefix(target, n.root))
}

func TestPublishingIsIdempotentAndAnythingElseThereIsRefused(t *testing.T) {
	t.Parallel()
	n := fake(t, nil)
	v, other := n.create(t, "data", multi), n.create(t, "other", multi)
	at := n.target(t, "pod")
	for range 2 {
		n.publish(t, v, at, multi)
	}
	n.publish(t, v, at, writer) // the same mount
	r := publication(v, at, multi)
	r.Readonly = true
	_, err := n.NodePublishVolume(context.Background(), r)
	wantCode(t, "the same for reading only", err, codes.AlreadyExists)
	_, err = n.NodePublishVolume(context.Background(), publication(v, at, multi, "ro"))
	wantCode(t, "the same with the flag ro", err, codes.AlreadyExists)
	_, err = n.NodePublishVolume(context.Background(), publication(v, at, readOnly))
	wantCode(t, "the same by the access mode", err, codes.AlreadyExists)
	_, err = n.NodePublishVolume(context.Background(), publication(other, at, multi))
	wantCode(t, "another volume", err, codes.AlreadyExists)
	_, err = n.NodePublishVolume(context.Background(), publication(other, filepath.Dir(n.root)+"/kubelet/pods/mount", multi))
	wantCode(t, "in a directory above", err, codes.AlreadyExists)
	_, err = n.NodeUnpublishVolume(context.Background(), &csi.NodeUnpublishVolumeRequest{VolumeId: other.VolumeId, TargetPath: at})
	wantCode(t, "unpublish of another volume", err, codes.FailedPrecondition)
	for range 2 {
		n.unpublish(t, v, at)
	}
	if n.agent.State().CountTasks() > 0 || len(n.kernel.Mounts) > 0 {
		t.Error("something is left")
	}
}

func TestHowManyTargetsAVolumeMayHaveByItsAccessModes(t *testing.T) {
	t.Parallel()
	type modes = csi.VolumeCapability_AccessMode_Mode
	for _, c := range []struct {
		made, first, second modes
		sibling             bool // the second target lies in the same directory
		one, two            codes.Code
	}{
		{writer, writer, writer, false, codes.OK, codes.FailedPrecondition},
		{writer, writer, writer, true, codes.OK, codes.FailedPrecondition},
		{writer, writer, readOnly, false, codes.OK, codes.FailedPrecondition},
		{readOnly, readOnly, readOnly, false, codes.OK, codes.FailedPrecondition},
		{single, single, single, false, codes.OK, codes.FailedPrecondition},
		{single, single, single, true, codes.OK, codes.FailedPrecondition},
		{single, multi, multi, false, codes.FailedPrecondition, codes.FailedPrecondition},
		{multi, multi, multi, false, codes.OK, codes.OK},
		{multi, multi, multi, true, codes.OK, codes.OK},
		{multi, multi, readOnly, false, codes.OK, codes.OK},
		{multi, writer, writer, false, codes.OK, codes.OK},
		{multi, multi, single, false, codes.OK, codes.FailedPrecondition},
		{multi, single, single, true, codes.OK, codes.FailedPrecondition},
	} {
		n := fake(t, nil)
		v, first := n.create(t, "data", c.made), n.target(t, "a")
		second := n.target(t, "b")
		if c.sibling {
			second = filepath.Join(filepath.Dir(first), "other")
		}
		what := fmt.Sprintf("made %s, published %s, then %s (sibling %t)", c.made, c.first, c.second, c.sibling)
		_, err := n.NodePublishVolume(context.Background(), publication(v, first, c.first))
		wantCode(t, what+": the first", err, c.one)
		_, err = n.NodePublishVolume(context.Background(), publication(v, second, c.second))
		wantCode(t, what+": the second", err, c.two)
		n.unpublish(t, v, second)
		n.unpublish(t, v, first)
		if len(n.kernel.Mounts) > 0 || n.agent.State().CountTasks() > 0 {
			t.Errorf("%s: something is left", what)
		}
	}
}

func TestOneOfManyPodsAtOnceGetsAnExclusiveVolume(t *testing.T) {
	t.Parallel()
	n := fake(t, nil)
	v := n.create(t, "data", single)
	var all sync.WaitGroup
	results := make(chan codes.Code, 16)
	for i := range 16 {
		at := n.target(t, fmt.Sprint("pod-", i))
		all.Go(func() {
			_, err := n.NodePublishVolume(context.Background(), publication(v, at, single))
			results <- status.Code(err)
		})
	}
	all.Wait()
	close(results)
	count := map[codes.Code]int{}
	for c := range results {
		count[c]++
	}
	if diff := cmp.Diff(map[codes.Code]int{codes.OK: 1, codes.FailedPrecondition: 15}, count); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
}

func TestATargetWhoseDirectoryIsMissingIsNotMade(t *testing.T) {
	mounttest.RequireRoot(t)
	n := real(t, directory(t, ""))
	v := n.create(t, "data", multi)
	at := filepath.Join(n.root, "pods", "nobody", "mount")
	_, err := n.NodePublishVolume(t.Context(), publication(v, at, multi))
	wantCode(t, "publish", err, codes.FailedPrecondition)
	if !gone(filepath.Dir(at)) || n.agent.State().CountTasks() > 0 {
		t.Error("something is left of it")
	}
}

func TestATargetBehindASymlinkIsNotFollowed(t *testing.T) {
	mounttest.RequireRoot(t)
	dir := directory(t, "")
	n := real(t, dir)
	v := n.create(t, "data", multi)
	outside := filepath.Join(dir, "outside")
	must(t, os.MkdirAll(filepath.Join(outside, "mount"), 0o755))
	must(t, os.Mkdir(filepath.Join(n.root, "pods"), 0o755))
	must(t, os.Symlink(outside, filepath.Join(n.root, "pods", "link")))
	at := filepath.Join(n.root, "pods", "link", "mount")
	_, err := n.NodePublishVolume(t.Context(), publication(v, at, multi))
	if status.Code(err) == codes.OK {
		t.Error("published behind a symlink")
	}
	_, err = n.NodeUnpublishVolume(t.Context(), &csi.NodeUnpublishVolumeRequest{VolumeId: v.VolumeId, TargetPath: at})
	if status.Code(err) == codes.OK || gone(filepath.Join(outside, "mount")) {
		t.Errorf("unpublished behind a symlink: %v", err)
	}
}

func TestWhatIsLeftOfATargetIsRemovedAndWhatIsSomebodyElsesStays(t *testing.T) {
	mounttest.RequireRoot(t)
	n := real(t, directory(t, ""))
	v := n.create(t, "data", multi)
	for name, c := range map[string]struct {
		make func(at string) error
		want codes.Code
		left bool
	}{
		"nothing":         {func(string) error { return nil }, codes.OK, false},
		"no directory":    {func(at string) error { return os.Remove(filepath.Dir(at)) }, codes.OK, false},
		"an empty one":    {func(at string) error { return os.Mkdir(at, 0o755) }, codes.OK, false},
		"one with a file": {func(at string) error { return errors.Join(os.Mkdir(at, 0o755), os.WriteFile(at+"/x", nil, 0o600)) }, codes.FailedPrecondition, true},
		"a file":          {func(at string) error { return os.WriteFile(at, nil, 0o600) }, codes.FailedPrecondition, true},
		"a symlink":       {func(at string) error { return os.Symlink("/etc", at) }, codes.FailedPrecondition, true},
	} {
		at := n.target(t, strings.ReplaceAll(name, " ", "-"))
		must(t, c.make(at))
		_, err := n.NodeUnpublishVolume(t.Context(), &csi.NodeUnpublishVolumeRequest{VolumeId: v.VolumeId, TargetPath: at})
		wantCode(t, "unpublish from "+name, err, c.want)
		if gone(at) == c.left {
			t.Errorf("unpublish from %s: gone is %t", name, gone(at))
		}
	}
	at := n.target(t, "mounted")
	must(t, os.Mkdir(at, 0o755))
	must(t, unix.Mount("else", at, "tmpfs", 0, ""))
	_, err := n.NodeUnpublishVolume(t.Context(), &csi.NodeUnpublishVolumeRequest{VolumeId: v.VolumeId, TargetPath: at})
	wantCode(t, "unpublish from what something else is mounted at", err, codes.FailedPrecondition)
	must(t, unix.Unmount(at, 0))
}

func TestAVolumeThatWasDeletedIsUnpublishedAllTheSame(t *testing.T) {
	mounttest.RequireRoot(t)
	n := real(t, directory(t, ""))
	v, at := n.create(t, "data", multi), n.target(t, "pod")
	_, err := n.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: v.VolumeId})
	must(t, err)
	must(t, os.Mkdir(at, 0o755)) // left by a reboot, after which nothing is published
	n.unpublish(t, v, at)
	if !gone(at) {
		t.Error("the target is there still")
	}
}

func TestABusyTargetIsToldWithTheProcess(t *testing.T) {
	mounttest.RequireRoot(t)
	n := real(t, directory(t, ""))
	v, at := n.create(t, "data", multi), n.target(t, "pod")
	n.publish(t, v, at, multi)
	open, err := os.Create(filepath.Join(at, "log"))
	must(t, err)
	_, err = n.NodeUnpublishVolume(t.Context(), &csi.NodeUnpublishVolumeRequest{VolumeId: v.VolumeId, TargetPath: at})
	wantCode(t, "unpublish", err, codes.FailedPrecondition)
	if !strings.Contains(err.Error(), "process ") {
		t.Errorf("%v does not name the process", err)
	}
	must(t, open.Close())
	n.unpublish(t, v, at)
}

func TestPublicationsOutliveTheAgent(t *testing.T) {
	mounttest.RequireRoot(t)
	dir := directory(t, "")
	n := real(t, dir)
	v, at := n.create(t, "data", single), n.target(t, "pod")
	n.publish(t, v, at, single)
	open, err := os.Create(filepath.Join(at, "log"))
	must(t, err)
	n.stop()
	if _, err := open.WriteString("still here"); err != nil {
		t.Errorf("write while no agent runs: %v", err)
	}
	n = real(t, dir)
	if again := n.create(t, "data", single); again.VolumeId != v.VolumeId {
		t.Errorf("the volume is %s now, and was %s", again.VolumeId, v.VolumeId)
	}
	n.publish(t, v, at, single)
	_, err = n.NodePublishVolume(t.Context(), publication(v, n.target(t, "other"), single))
	wantCode(t, "a second target", err, codes.FailedPrecondition)
	must(t, open.Close())
	n.unpublish(t, v, at)
	if !gone(at) || !gone(n.elsewhere(at)) {
		t.Error("the target is there still")
	}
}

func TestAfterARebootTargetsAreCleanedAndPublishedAgain(t *testing.T) {
	t.Parallel()
	k, dir, root := agenttest.NewKernel(), t.TempDir(), t.TempDir()
	n := &node{kernel: k, root: root}
	var stop func()
	n.agent, stop = agenttest.StartOn(t, k, dir, "boot-1")
	n.start(t, nil)
	_, err := n.agent.Do(context.Background(), reserve(2048))
	must(t, err)
	v, first, second := n.create(t, "data", single), n.target(t, "a"), n.target(t, "b")
	n.publish(t, v, first, single)
	must(t, os.Mkdir(first, 0o755)) // as the real one does, and as a reboot leaves it
	n.stop()
	stop()
	k.Reboot()
	n.agent, _ = agenttest.StartOn(t, k, dir, "boot-2")
	n.start(t, nil)
	n.publish(t, v, second, single)
	n.unpublish(t, v, first)
	if !gone(first) {
		t.Error("what the reboot has left of a target is there still")
	}
	if hs := n.agent.State().Holders(n.find(t, v).UUID); len(hs) != 1 {
		t.Errorf("holders are %v, want one", hs)
	}
}

func TestAMountThatCannotBeMadeHoldsNothing(t *testing.T) {
	t.Parallel()
	n := fake(t, nil)
	v, at := n.create(t, "data", single), n.target(t, "pod")
	fail := func(err error) {
		n.kernel.Lock()
		defer n.kernel.Unlock()
		n.kernel.Fail = func(s volume.Step) error {
			if s.Kind == volume.DoAttach {
				return err
			}
			return nil
		}
	}
	fail(errors.New("no memory"))
	_, err := n.NodePublishVolume(context.Background(), publication(v, at, single))
	wantCode(t, "publish", err, codes.Internal)
	if n.agent.State().CountAttachments() > 0 {
		t.Error("the volume is held")
	}
	fail(nil)
	n.publish(t, v, at, single)
}

func FuzzTargetsStayBeneathTheRoots(f *testing.F) {
	for _, seed := range []string{"/var/lib/kubelet/pods/1/mount", "/var/lib/kubelet/../x/y", "/var/lib/kubelet/a", "/opt/nomad//a/b", "", "/"} {
		f.Add(seed)
	}
	s := &Server{roots: []string{"/var/lib/kubelet", "/opt/nomad"}}
	f.Fuzz(func(t *testing.T, p string) {
		at, err := s.targetAt(p)
		if err != nil {
			return
		}
		beneath := strings.HasPrefix(at.sandbox, "/var/lib/kubelet/") || strings.HasPrefix(at.sandbox, "/opt/nomad/")
		if !beneath || at.path() != p || strings.Contains(p+"/", "/../") || strings.Contains(at.name, "/") {
			t.Errorf("%q is %+v", p, at)
		}
	})
}

func TestStatisticsAreWhatTheFileSystemHas(t *testing.T) {
	mounttest.RequireRoot(t)
	n := real(t, directory(t, ""))
	v, at := n.create(t, "data", multi), n.target(t, "pod")
	n.publish(t, v, at, multi)
	res, err := n.NodeGetVolumeStats(t.Context(), &csi.NodeGetVolumeStatsRequest{VolumeId: v.VolumeId, VolumePath: at})
	must(t, err)
	bytes := res.Usage[0]
	if bytes.Unit != csi.VolumeUsage_BYTES || bytes.Total != 64*mib || bytes.Available <= 0 || bytes.Available > 64*mib {
		t.Errorf("usage is %v, want 64 MiB in all", bytes)
	}
	_, err = n.NodeGetVolumeStats(t.Context(), &csi.NodeGetVolumeStatsRequest{VolumeId: v.VolumeId, VolumePath: filepath.Dir(at)})
	wantCode(t, "stats of another path", err, codes.NotFound)
	_, err = n.NodeGetVolumeStats(t.Context(), &csi.NodeGetVolumeStatsRequest{VolumeId: v.VolumeId})
	wantCode(t, "stats of no path", err, codes.InvalidArgument)
	n.unpublish(t, v, at)
	_, err = n.NodeGetVolumeStats(t.Context(), &csi.NodeGetVolumeStatsRequest{VolumeId: v.VolumeId, VolumePath: at})
	wantCode(t, "stats of what is not published any more", err, codes.NotFound)
}

func TestStatisticsOfADiskThatDoesNotAnswerKeepNobodyWaiting(t *testing.T) {
	t.Parallel()
	answer, v := make(chan struct{}), &volume.Volume{UUID: "v", Name: volume.Name{Role: "web", ID: "data"}}
	s := &Server{space: func(string) (space, error) { <-answer; return space{total: 1}, nil }}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.spaceOf(ended, volume.Empty(), v, "/far"); !errors.Is(err, context.Canceled) {
		t.Errorf("who gives up: %v", err)
	}
	away := volume.Empty().With(volume.Change{Fault: &volume.FaultOf{Unit: volume.UnitOfVolume("v"),
		Fault: volume.Fault{Kind: volume.ErrUnavailable, Reason: "it has not answered"}}})
	if _, err := s.spaceOf(t.Context(), away, v, "/far"); !errors.Is(err, volume.ErrUnavailable) || !strings.Contains(err.Error(), "it has not answered") {
		t.Errorf("of a disk that is known not to answer: %v", err)
	}
	close(answer)
	if have, err := s.spaceOf(t.Context(), volume.Empty(), v, "/far"); have.total != 1 || err != nil {
		t.Errorf("of one that answers: %+v, %v", have, err)
	}
}

func TestUsageIsMeasuredOnlyWhereItCanBe(t *testing.T) {
	t.Parallel()
	const gib = 1024 * mib
	usageOf := func(unit csi.VolumeUsage_Unit, total, available, used int64) *csi.VolumeUsage {
		return &csi.VolumeUsage{Unit: unit, Total: total, Available: available, Used: used}
	}
	for name, c := range map[string]struct {
		have  space
		whole bool
		want  []*csi.VolumeUsage
	}{
		"a quota": {space{total: gib, free: gib - 10*mib, avail: gib - 10*mib, inodes: 100, freeInodes: 90}, false,
			[]*csi.VolumeUsage{usageOf(csi.VolumeUsage_BYTES, gib, gib-10*mib, 10*mib), usageOf(csi.VolumeUsage_INODES, 100, 90, 10)}},
		"a file system that others use": {space{total: 100 * gib, free: 60 * gib, avail: 50 * gib, inodes: 100, freeInodes: 90}, false,
			[]*csi.VolumeUsage{usageOf(csi.VolumeUsage_BYTES, gib, gib, 0), usageOf(csi.VolumeUsage_INODES, 100, 90, 0)}},
		"one that is nearly full": {space{total: 100 * gib, free: 6 * mib, avail: 5 * mib, inodes: 100, freeInodes: 90}, false,
			[]*csi.VolumeUsage{usageOf(csi.VolumeUsage_BYTES, gib, 5*mib, 0), usageOf(csi.VolumeUsage_INODES, 100, 90, 0)}},
		"a MOUNT disk": {space{total: 2 * gib, free: gib, avail: gib / 2, inodes: 100, freeInodes: 90}, true,
			[]*csi.VolumeUsage{usageOf(csi.VolumeUsage_BYTES, 2*gib, gib/2, gib), usageOf(csi.VolumeUsage_INODES, 100, 90, 10)}},
		"one that counts no inodes": {space{total: 100 * gib, free: 60 * gib, avail: 50 * gib}, false,
			[]*csi.VolumeUsage{usageOf(csi.VolumeUsage_BYTES, gib, gib, 0)}},
	} {
		if diff := cmp.Diff(c.want, usage(gib, c.have, c.whole), protocmp.Transform()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestTheNodeSaysWhereItIs(t *testing.T) {
	t.Parallel()
	n := fake(t, nil)
	info, err := n.NodeGetInfo(context.Background(), &csi.NodeGetInfoRequest{})
	must(t, err)
	want := &csi.NodeGetInfoResponse{NodeId: nodeName, AccessibleTopology: &csi.Topology{Segments: map[string]string{TopologyKey: nodeName}}}
	if diff := cmp.Diff(want, info, protocmp.Transform()); diff != "" {
		t.Errorf("node (-want +got):\n%s", diff)
	}
}

func TestTasksAreNamedByTheDirectoryOfTheirTargets(t *testing.T) {
	t.Parallel()
	s := &Server{roots: []string{"/var/lib/kubelet", "/opt/nomad"}}
	at := func(p string) target {
		t.Helper()
		found, err := s.targetAt(p)
		must(t, err)
		if found.path() != p || resource.CheckID(found.task) != nil {
			t.Errorf("%s is %+v", p, found)
		}
		return found
	}
	a, b := at("/var/lib/kubelet/pods/1/volumes/pv/mount"), at("/var/lib/kubelet/pods/2/volumes/pv/mount")
	if a.task == b.task || a.task != at("/var/lib/kubelet/pods/1/volumes/pv/other").task || at("/opt/nomad/a/b/rw").name != "rw" {
		t.Errorf("targets are %+v and %+v", a, b)
	}
	if a.task != "csi-2655a7068431e44faffaf0afe83767cf" { // a released version must find the tasks of another
		t.Errorf("the task of a target is %s now", a.task)
	}
}
