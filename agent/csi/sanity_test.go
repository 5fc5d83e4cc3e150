package csi

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kubernetes-csi/csi-test/v5/pkg/sanity"
	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/ginkgo/v2/types"
	"github.com/onsi/gomega"

	"tenon/mount/mounttest"
)

// sanityEnv says over which kernel TestSanitySpecs runs the suite.
const sanityEnv = "TENON_TEST_CSI_SANITY"

// maySkip are the reasons for which specs are skipped: what the plugin does not announce. Nodes need
// no attaching; snapshots, clones, groups and mutable parameters there are none; nothing is staged.
var maySkip = []string{
	"Controller Publish, UnpublishVolume not supported", "ControllerModifyVolume not supported", "ControllerPublishVolume not supported",
	"ControllerUnpublishVolume not supported", "CreateSnapshot not supported", "DeleteSnapshot not supported", "GetSnapshot not supported",
	"GroupControllerService not supported", "ListSnapshots not supported", "Modify Volume not supported", "Modify volume not supported",
	"NodeStageVolume not supported", "NodeUnstageVolume not supported", "Snapshot not supported", "Volume Cloning not supported",
}

func TestTheSanitySuitePassesOverTheFakeKernel(t *testing.T) { runSanity(t, "fake") }

func TestTheSanitySuitePassesOverTheRealKernel(t *testing.T) {
	mounttest.RequireMounts(t)
	mounttest.RequireRoot(t)
	runSanity(t, "real")
}

// runSanity runs the suite in a process of its own, since one process can do so only once.
func runSanity(t *testing.T, kernel string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.v", "-test.run=^TestSanitySpecs$", "-ginkgo.no-color")
	cmd.Env = append(os.Environ(), sanityEnv+"="+kernel)
	out, err := cmd.CombinedOutput()
	_, counts, told := strings.Cut(string(out), "csi-sanity: ")
	if err != nil || !told {
		t.Fatalf("%v\n%s", err, out)
	}
	counts, _, _ = strings.Cut(counts, "\n")
	t.Logf("csi-sanity over the %s kernel: %s", kernel, counts)
}

// TestSanitySpecs is the other process of runSanity.
func TestSanitySpecs(t *testing.T) {
	kernel := os.Getenv(sanityEnv)
	if kernel == "" {
		return
	}
	var n *node
	if kernel == "real" {
		n = real(t, directory(t, ""))
	} else {
		n = fake(t, nil)
	}
	config := sanity.NewTestConfig()
	config.Address = "unix:" + n.socket
	config.TargetPath = filepath.Join(n.root, "sanity")
	config.StagingPath = filepath.Join(t.TempDir(), "staging")
	config.TestVolumeSize = 64 * mib
	config.TestVolumeExpandSize = 128 * mib
	config.TestVolumeParameters = map[string]string{"role": "web"}
	if kernel == "fake" {
		config.CheckPath = n.checkPath
	}
	context := sanity.GinkgoTest(&config)
	var reports types.SpecReports
	ginkgo.ReportAfterSuite("counts", func(r ginkgo.Report) { reports = r.SpecReports })
	gomega.RegisterFailHandler(ginkgo.Fail)
	ginkgo.RunSpecs(t, "CSI")
	context.Finalize()
	countSpecs(t, reports)
	if live, _ := n.agent.State().CountVolumes(); live+n.agent.State().CountTasks() > 0 {
		t.Errorf("the suite left %d volumes and %d tasks", live, n.agent.State().CountTasks())
	}
}

// checkPath looks for a target among the mounts of the kernel in memory, which makes no
// directories.
func (n *node) checkPath(path string) (sanity.PathKind, error) {
	n.kernel.Lock()
	defer n.kernel.Unlock()
	if _, ok := n.kernel.Mounts[path]; ok {
		return sanity.PathIsDir, nil
	}
	return sanity.PathIsNotFound, nil
}

// countSpecs prints how many specs passed, and wants a reason for each that was skipped.
func countSpecs(t *testing.T, reports types.SpecReports) {
	var passed, failed, skipped, pending int
	reasons := map[string]int{}
	for _, r := range reports.WithLeafNodeType(types.NodeTypeIt) {
		switch {
		case r.State.Is(types.SpecStatePassed):
			passed++
		case r.State.Is(types.SpecStatePending):
			pending++
		case r.State.Is(types.SpecStateSkipped):
			skipped++
			reasons[r.Failure.Message]++
		default:
			failed++
		}
	}
	if got := slices.Sorted(maps.Keys(reasons)); !slices.Equal(got, maySkip) {
		t.Errorf("skipped for %q, want %q", got, maySkip)
	}
	if passed < 50 || failed > 0 {
		t.Errorf("%d specs passed, %d failed", passed, failed)
	}
	fmt.Printf("csi-sanity: %d passed, %d failed, %d skipped for want of a capability, %d switched off by the suite\n", passed, failed, skipped, pending)
}
