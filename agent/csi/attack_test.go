package csi

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"

	"tenon/mount/mounttest"
)

// TestCVE_2026_3864_WhatIsDeletedIsNeverAPath: a driver deleted the directory that the id of a
// volume named, ".." and all. See ARCHITECTURE.md, "Attacks".
func TestCVE_2026_3864_WhatIsDeletedIsNeverAPath(t *testing.T) {
	mounttest.RequireRoot(t)
	dir := directory(t, "")
	n := real(t, dir)
	v := n.create(t, "data", multi)
	victim := filepath.Join(dir, "pool", "victim")
	must(t, os.MkdirAll(filepath.Join(victim, "data"), 0o755))
	live := n.agent.State()
	for _, id := range []string{"../victim", "../../pool/victim", v.VolumeId + "/../../victim", "../live", "..", ".", "/", victim, "web/../victim",
		v.VolumeId[:36] + "/..", "..%2fvictim", "server#share#../victim#victim"} {
		_, err := n.DeleteVolume(context.Background(), &csi.DeleteVolumeRequest{VolumeId: id})
		wantCode(t, "delete of "+id, err, codes.OK) // which is what CSI says of a volume that is not there
	}
	if gone(filepath.Join(victim, "data")) {
		t.Error("the victim is gone")
	}
	if got := n.agent.State(); got.Version != live.Version {
		t.Errorf("something was changed: version %d, was %d", got.Version, live.Version)
	}
	_, err := n.DeleteVolume(context.Background(), &csi.DeleteVolumeRequest{VolumeId: v.VolumeId})
	must(t, err)
}

// TestCVE_2026_3865_NoParameterIsAPath: the directory of a volume beneath its share was a
// parameter of the storage class.
func TestCVE_2026_3865_NoParameterIsAPath(t *testing.T) {
	t.Parallel()
	n := fake(t, nil)
	for name, text := range map[string]string{"subDir": "../..", "subdir": "x", "path": "/etc", "pathPattern": "../{{ .PVC.Name }}", "onDelete": "delete",
		"role": "../etc"} {
		r := creation("data", multi)
		r.Parameters[name] = text
		_, err := n.CreateVolume(context.Background(), r)
		wantCode(t, fmt.Sprintf("parameter %s=%s", name, text), err, codes.InvalidArgument)
	}
	r := creation("data", multi)
	r.Parameters["disk"] = "../../etc" // one that is not in the configuration
	_, err := n.CreateVolume(context.Background(), r)
	wantCode(t, "a disk by a path", err, codes.ResourceExhausted)
	if live, all := n.agent.State().CountVolumes(); live+all > 0 {
		t.Errorf("%d volumes were made", all)
	}
}
