package main

import (
	"testing"

	"tenon/agent/config"
	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/agent/wire"
)

func TestUseIsShownWithItsPartAndColouredAsItGetsTight(t *testing.T) {
	t.Parallel()
	const size = 100 * resource.MiB
	for _, c := range []struct {
		used  resource.Bytes
		plain string
		look  style
	}{
		{0, "0 B (0%)", green},
		{1, "1 B (<1%)", green},
		{resource.MiB - 1, "1.0 MiB (<1%)", green},
		{1000 * resource.MiB / 1024, "1000.0 KiB (<1%)", green},
		{resource.MiB, "1.0 MiB (1%)", green},
		{79 * resource.MiB, "79.0 MiB (79%)", green},
		{80 * resource.MiB, "80.0 MiB (80%)", yellow},
		{94 * resource.MiB, "94.0 MiB (94%)", yellow},
		{95 * resource.MiB, "95.0 MiB (95%)", red},
		{size - 1, "100.0 MiB (99%)", red},
		{size, "100.0 MiB (100%)", red},
		{1536 * resource.MiB, "1.5 GiB (1536%)", red},
	} {
		plain, terminal := &page{}, &page{color: true}
		if got := plain.use(c.used, size); got != c.plain {
			t.Errorf("%d bytes are shown as %q, want %q", c.used, got, c.plain)
		}
		if got, want := terminal.use(c.used, size), terminal.paint(c.look, c.plain); got != want {
			t.Errorf("%d bytes are shown on a terminal as %q, want %q", c.used, got, want)
		}
	}
	if got := (&page{}).use(5, 0); got != "5 B" {
		t.Errorf("of nothing it is %q", got)
	}
}

func TestWhatMayFollowMayBeConfigured(t *testing.T) {
	t.Parallel()
	for _, what := range volume.OnExceeds() {
		cfg := config.Default()
		cfg.OnExceed = string(what)
		if err := cfg.Validate(); err != nil {
			t.Error(err)
		}
		disks, _, err := disksOf(cfg)
		if err != nil || disks[0].OnExceed != what {
			t.Errorf("the disk has %q, %v; want %q", disks[0].OnExceed, err, what)
		}
		if onExceedWords[what] == "" {
			t.Errorf("there are no words for %s", what)
		}
	}
}

func TestWhatIsNotKnownIsADash(t *testing.T) {
	t.Parallel()
	p := &page{}
	for _, got := range []string{
		p.limits(nil), p.diskUse(wire.Disk{Carved: 5}, wire.DiskUsage{}), p.volumeUse(5, map[volume.UUID]wire.Used{"other": {}}, "this"),
	} {
		if got != "-" {
			t.Errorf("it is %q", got)
		}
	}
}

func TestWhatADiskDoesAboutSizesIsToldInAFewWords(t *testing.T) {
	t.Parallel()
	p := &page{}
	for by, want := range map[volume.EnforcementBy]string{
		volume.ByProject: "hard (project quota)", volume.BySubvolume: "hard (subvolume quota)", volume.ByFileSystem: "hard (whole disk)", "": "hard",
	} {
		if got := p.limits(&wire.Enforcement{Mode: volume.EnforcedHard, By: by}); got != want {
			t.Errorf("by %q is told as %q, want %q", by, got, want)
		}
	}
	if got := p.limits(&wire.Enforcement{Mode: volume.EnforcedNone}); got != "none" {
		t.Errorf("nothing is told as %q", got)
	}
}
