package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/urfave/cli/v2"
	"pgregory.net/rapid"
)

func someFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "size"}, &cli.StringSliceFlag{Name: "label", Aliases: []string{"l"}}, &cli.IntFlag{Name: "uid"},
		&cli.BoolFlag{Name: "shared"},
	}
}

func TestFlagsComeFirstWithTheirValues(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                                 "--",
		"web/data":                         "-- web/data",
		"web/data --size 1024":             "--size 1024 -- web/data",
		"--size 1024 web/data":             "--size 1024 -- web/data",
		"web/data --shared --size=1 x":     "--shared --size=1 -- web/data x",
		"a -l k=v b --label k2=v2 c":       "-l k=v --label k2=v2 -- a b c",
		"a -uid 7":                         "-uid 7 -- a",
		"--shared a":                       "--shared -- a",
		"- --size 1":                       "--size 1 -- -",
		"a -- --size 1":                    "-- a --size 1",
		"--size -- a":                      "--size -- -- a",
		"a --unknown b":                    "--unknown -- a b",
		"a --size":                         "--size",
		"a --size --shared":                "--size --shared -- a",
		"a --generate-bash-completion b c": "--generate-bash-completion -- a b c",
	} {
		got := strings.Join(flagsFirst(someFlags(), strings.Fields(in)), " ")
		if got != want {
			t.Errorf("flagsFirst(%q) = %q, want %q", in, got, want)
		}
	}
}

// parsed is what a command gets of a command line.
func parsed(t interface{ Fatal(...any) }, args []string) map[string]any {
	var got map[string]any
	cmd := &cli.Command{Name: "try", Flags: someFlags(), SkipFlagParsing: true, Action: anyOrder(func(c *cli.Context) error {
		got = map[string]any{"size": c.String("size"), "label": c.StringSlice("label"), "uid": c.Int("uid"),
			"shared": c.Bool("shared"), "arguments": c.Args().Slice()}
		return nil
	})}
	a := &cli.App{Name: "app", Commands: []*cli.Command{cmd}, DisableSliceFlagSeparator: true, HideHelp: true}
	if err := a.Run(append([]string{"app", "try"}, args...)); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestTheOrderOfFlagsAndArgumentsMakesNoDifference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		units := [][]string{{"--size", "1"}, {"--label=a=b,c"}, {"--uid", "-7"}, {"--shared"}}
		arguments := rapid.SliceOfN(rapid.SampledFrom([]string{"web/data", "x", "-", "7"}), 0, 3).Draw(t, "arguments")
		var first, mixed []string
		for _, u := range units {
			first = append(first, u...)
		}
		first = append(first, arguments...)
		rest := arguments
		for _, u := range rapid.Permutation(units).Draw(t, "flags") {
			n := rapid.IntRange(0, len(rest)).Draw(t, "arguments before")
			mixed = append(append(mixed, rest[:n]...), u...)
			rest = rest[n:]
		}
		mixed = append(mixed, rest...)
		if diff := cmp.Diff(parsed(t, first), parsed(t, mixed)); diff != "" {
			t.Fatalf("%q (-flags first +mixed):\n%s", mixed, diff)
		}
	})
}

func TestTheClosestNameIsTheOneThatWasMeantOrNone(t *testing.T) {
	t.Parallel()
	names := []string{"volume", "version", "ls", "run", "attach", "detach", "explain"}
	for word, want := range map[string]string{
		"volum": "volume", "voulme": "volume", "vloume": "volume", "verison": "version", "lst": "ls", "atach": "attach",
		"detatch": "detach", "explian": "explain", "run": "run",
		"": "", "x": "", "xy": "", "frobnicate": "", "delete": "", strings.Repeat("v", 1000): "",
	} {
		if got := closest(word, names); got != want {
			t.Errorf("closest(%.20q) = %q, want %q", word, got, want)
		}
	}
}

func TestDistanceCountsWhatWasMistyped(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"abc", "abc", 0}, {"abc", "acb", 1}, {"abc", "abd", 1},
		{"abc", "ab", 1}, {"abc", "abcd", 1}, {"kitten", "sitting", 3},
	} {
		if got := distance(tc.a, tc.b); got != tc.want {
			t.Errorf("distance(%q, %q) = %d, want %d", tc.a, tc.b, got, tc.want)
		}
	}
}
