package check_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tenon/agent/agenttest"
	"tenon/agent/check"
	"tenon/agent/resource"
	"tenon/agent/volume"
)

// kernel is one in memory that has been surveyed.
type kernel struct {
	*agenttest.Kernel
	survey    check.Survey
	marked    []string
	unmounted []check.Mount
	refuse    error
}

func (k *kernel) Survey(*volume.State) (check.Survey, error) { return k.survey, nil }

func (k *kernel) Mark(_ *volume.State, disk string) error {
	k.marked = append(k.marked, disk)
	return k.refuse
}

func (k *kernel) Unmount(m check.Mount) error {
	k.unmounted = append(k.unmounted, m)
	return k.refuse
}

// worked is a kernel on which an agent has made a volume that a task has, and the state.
func worked(t *testing.T) (*kernel, *volume.State, volume.UUID) {
	t.Helper()
	k := &kernel{Kernel: agenttest.NewKernel()}
	k.Pools[""].Enforcement = volume.Enforcement{Mode: volume.EnforcedHard, By: volume.ByProject}
	a := agenttest.Start(t, k.Kernel)
	stack := []resource.Reservation{{Type: resource.Dynamic, Role: "web"}}
	for _, op := range []volume.Operation{
		volume.Reserve{Resources: []resource.Resource{{Name: "disk", Type: resource.TypeScalar, Scalar: 64 * resource.One, Reservations: stack}}},
		volume.Create{Role: "web", Owner: volume.Owner{Mode: 0o755}, Volume: resource.Resource{Name: "disk", Type: resource.TypeScalar, Scalar: 8 * resource.One, Disk: &resource.Disk{
			Persistence: &resource.Persistence{ID: "data"}, Volume: &resource.Volume{ContainerPath: "data", Mode: resource.RW}}}},
		volume.Attach{Task: "alice", Use: volume.Use{Volume: "web/data"}, Via: volume.ByPath},
	} {
		if _, err := a.Do(t.Context(), op); err != nil {
			t.Fatal(err)
		}
	}
	v, err := a.State().Find("web/data")
	if err != nil {
		t.Fatal(err)
	}
	return k, a.State(), v.UUID
}

func look(t *testing.T, k check.Kernel, s *volume.State) []check.Finding {
	t.Helper()
	found, err := check.Look(t.Context(), k, s)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestWhatAnAgentHasDoneAgrees(t *testing.T) {
	t.Parallel()
	k, s, _ := worked(t)
	if found := look(t, k, s); len(found) > 0 {
		t.Fatalf("found %+v", found)
	}
}

func TestEachDisagreementIsNamedWithWhoMendsIt(t *testing.T) {
	t.Parallel()
	const disk, vol, at = "disk root", "volume web/data", "volume web/data in task alice at data"
	for name, c := range map[string]struct {
		disturb func(*kernel, *volume.State, volume.UUID) *volume.State
		want    []check.Finding
	}{
		"unmounted": {
			func(k *kernel, s *volume.State, _ volume.UUID) *volume.State { clear(k.Mounts); return s },
			[]check.Finding{{About: at, By: check.ByStart, Text: "it is not mounted", Steps: []volume.StepKind{volume.DoAttach}}},
		},
		"mounted otherwise": {
			func(k *kernel, s *volume.State, id volume.UUID) *volume.State {
				for target := range k.Mounts {
					k.Mounts[target] = agenttest.Mount{Volume: id, ReadOnly: true}
				}
				return s
			},
			[]check.Finding{{About: at, By: check.ByStart, Text: "it is mounted in the other mode", Steps: []volume.StepKind{volume.Flip}}},
		},
		"something else is mounted": {
			func(k *kernel, s *volume.State, _ volume.UUID) *volume.State {
				for target := range k.Mounts {
					k.Mounts[target] = agenttest.Mount{Volume: "other"}
				}
				return s
			},
			[]check.Finding{{About: at, By: check.ByPerson, Text: "something else is mounted at data"}},
		},
		"the directory is gone": {
			func(k *kernel, s *volume.State, _ volume.UUID) *volume.State {
				clear(k.Mounts)
				clear(k.Pools[""].Live)
				return s
			},
			[]check.Finding{
				{About: vol, By: check.ByPerson, Commands: []string{"tenon volume destroy web/data"}},
				{About: at, By: check.ByStart, Text: "it is not mounted", Steps: []volume.StepKind{volume.DoAttach}},
			},
		},
		"the limit is another": {
			func(k *kernel, s *volume.State, _ volume.UUID) *volume.State {
				for project := range k.Pools[""].Limits {
					k.Pools[""].Limits[project] = 1
				}
				return s
			},
			[]check.Finding{{About: vol, By: check.ByStart, Text: "its file system does not hold it to its size", Steps: []volume.StepKind{volume.Limit}}},
		},
		"the disk is away": {
			func(k *kernel, s *volume.State, _ volume.UUID) *volume.State { k.Pools[""].Missing = true; return s },
			[]check.Finding{{About: disk, By: check.ByPerson, Text: "the disk is not there"}},
		},
		"the marker is gone": {
			func(k *kernel, s *volume.State, _ volume.UUID) *volume.State {
				k.Pools[""].UUID, k.survey.Unmarked = "", []string{""}
				return s
			},
			[]check.Finding{{About: disk, By: check.ByRepair, Text: "its marker tenon.json is gone, and all its volumes are there: the marker can be written again"}},
		},
		"a volume is half removed": {
			func(k *kernel, s *volume.State, id volume.UUID) *volume.State {
				v, _ := s.Volume(id)
				gone := *v
				gone.Phase = volume.Destroying
				clear(k.Mounts)
				s = s.With(volume.Change{Volume: &gone}, volume.Change{Drop: &volume.Drop{Volume: id, Task: "alice", Path: "data"}})
				k.Pools[""].Trash[id] = k.Pools[""].Live[id]
				delete(k.Pools[""].Live, id)
				return s
			},
			[]check.Finding{{About: vol, By: check.ByStart, Text: "it is destroyed, and some of its data is still there", Steps: []volume.StepKind{volume.Purge, volume.Unlimit}}},
		},
		"nobody's": {
			func(k *kernel, s *volume.State, id volume.UUID) *volume.State {
				k.survey = check.Survey{Mounts: []check.Mount{{ID: 7, Path: "/sandboxes/bob", Volume: id}}, Entries: []check.Entry{{Path: "/pool/live/x"}}, Sandboxes: []string{"/sandboxes/eve"}}
				return s
			},
			[]check.Finding{{About: "/pool/live/x", By: check.ByPerson}, {About: "/sandboxes/eve", By: check.ByPerson}, {About: "/sandboxes/bob", By: check.ByRepair}},
		},
		"the journal contradicts itself": {
			func(_ *kernel, s *volume.State, _ volume.UUID) *volume.State {
				return s.With(volume.Change{Account: &volume.Account{Free: -1}})
			},
			[]check.Finding{{About: "journal", By: check.ByPerson}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k, s, id := worked(t)
			k.Revive() // whoever looks has opened nothing yet
			s = c.disturb(k, s, id)
			got := look(t, k, s)
			for i := range got {
				if got[i].Text == "" {
					t.Errorf("nothing is said of %s", got[i].About)
				}
				if i < len(c.want) && c.want[i].Text == "" {
					got[i].Text = "" // whose words are another's
				}
			}
			if diff := cmp.Diff(c.want, got, cmpopts.IgnoreUnexported(check.Finding{})); diff != "" {
				t.Errorf("found (-want +got):\n%s", diff)
			}
		})
	}
}

func TestATaskWhoseLeaseHasEndedIsReleasedAtTheStart(t *testing.T) {
	t.Parallel()
	k, s, _ := worked(t)
	s = s.With(volume.Change{Task: &volume.Task{ID: "bob", Sandbox: "/sandboxes/bob", Lease: volume.Lease{PID: 7, Start: 1}, Since: time.Unix(1, 0)}})
	want := []check.Finding{{About: "task bob", By: check.ByStart, Text: "nothing of it is alive; it is released"}}
	if diff := cmp.Diff(want, look(t, k, s), cmpopts.IgnoreUnexported(check.Finding{})); diff != "" {
		t.Errorf("found (-want +got):\n%s", diff)
	}
}

func TestMendingDoesWhatIsSafeAndTellsWhatFailed(t *testing.T) {
	t.Parallel()
	k, s, id := worked(t)
	stray := check.Mount{ID: 7, Path: "/sandboxes/bob", Volume: id}
	k.survey = check.Survey{Mounts: []check.Mount{stray}, Entries: []check.Entry{{Path: "/pool/live/x"}}, Unmarked: []string{""}}
	k.Revive()
	k.Pools[""].UUID = ""
	found := look(t, k, s)
	if failed := check.Mend(k, s, found); len(failed) > 0 {
		t.Errorf("failed: %v", failed)
	}
	if !slices.Equal(k.marked, []string{""}) || !slices.Equal(k.unmounted, []check.Mount{stray}) {
		t.Errorf("marked %q, unmounted %v", k.marked, k.unmounted)
	}
	k.refuse = errors.New("in use")
	failed := check.Mend(k, s, found)
	if len(failed) != 2 || failed["/sandboxes/bob"] == nil || failed["disk root"] == nil {
		t.Errorf("failed: %v", failed)
	}
}

func TestLookingEndsWithItsContext(t *testing.T) {
	t.Parallel()
	k, s, _ := worked(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := check.Look(ctx, k, s); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}
