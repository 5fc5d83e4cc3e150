package volume

import (
	"errors"
	"strings"
	"testing"

	"tenon/agent/resource"
)

// unseen is a state with a disk whose size is left to the agent, all of it statically role web's.
func unseen(t *testing.T) *State {
	t.Helper()
	d := Disk{Key: dataDisk, Source: dataSource(), Auto: true, Parts: []Part{{Reservations: staticWeb()}}}
	changes, err := Configure(Empty(), numberedAs("agent"), "boot-1", []Disk{d})
	if err != nil {
		t.Fatal(err)
	}
	return Empty().With(changes...)
}

func TestTheSizeThatIsLeftToTheAgentIsDecidedWhenTheDiskIsFirstSeenAndKept(t *testing.T) {
	t.Parallel()
	s := unseen(t)
	look := func(size resource.Bytes) *Disk {
		t.Helper()
		d, _ := s.Disk(dataDisk)
		s = s.With(Settle(s, UnitOfDisk(dataDisk), Seen{Disk: SeenDisk{Pool: d.Pool, Size: size}}, second)...)
		if err := s.Check(); err != nil {
			t.Fatal(err)
		}
		d, _ = s.Disk(dataDisk)
		return d
	}
	if d := look(0); d.Total != 0 || d.Phase != Ready {
		t.Errorf("of unknown size: %+v", d)
	}
	if d := look(64 * resource.MiB); d.Total != 64*resource.One || s.Free(dataDisk, staticWeb()) != 64*resource.One {
		t.Errorf("seen: %+v, free %s", d, s.Free(dataDisk, staticWeb()))
	}
	if d := look(128 * resource.MiB); d.Total != 64*resource.One {
		t.Errorf("seen with another size: %+v", d)
	}
}

func TestWhatWantsSpaceOfADiskThatWasNeverSeenIsToldThatItIsAway(t *testing.T) {
	t.Parallel()
	s := unseen(t)
	s = s.With(s.Silent(dataDisk, "it has not answered", second)...)
	for _, op := range []Operation{create(on(vol("data", 1, "web"))), reserve(on(mib(1, "db")))} {
		if _, err := Apply(s, numbered(), op); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "it has not answered") {
			t.Errorf("%s: %v", op.Name(), err)
		}
	}
}

func TestADiskThatDoesNotAnswerLosesNothing(t *testing.T) {
	t.Parallel()
	s := mustApply(t, machine(t), numbered(), reserve(on(mib(10, "web"))), create(on(vol("data", 1, "web"))), reserve(mib(10, "web")), create(vol("near", 1, "web")))
	s = s.With(s.Silent(dataDisk, "it has not answered", second)...)
	for v := range s.Volumes(Name{}) {
		u := UnitOfVolume(v.UUID)
		if f, bad := s.Fault(u); bad != (v.Disk == dataDisk) || bad && f.Kind != ErrUnavailable {
			t.Errorf("volume %s: %+v", v.Name, f)
		}
		s = s.With(Settle(s, u, Seen{Volume: SeenVolume{Live: true, Data: true, Durable: true}}, second)...)
		if f, bad := s.Fault(u); bad {
			t.Errorf("volume %s, seen again: %+v", v.Name, f)
		}
	}
	d, _ := s.Disk(dataDisk)
	if f, bad := s.Fault(UnitOfDisk(dataDisk)); !bad || f.Kind != ErrUnavailable {
		t.Errorf("the disk: %+v", f)
	}
	s = s.With(Settle(s, UnitOfDisk(dataDisk), Seen{Disk: SeenDisk{Pool: d.Pool}}, second)...)
	if f, bad := s.Fault(UnitOfDisk(dataDisk)); bad {
		t.Errorf("the disk, seen again: %+v", f)
	}
}
