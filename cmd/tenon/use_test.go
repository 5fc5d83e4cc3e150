package main

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tenon/agent/resource"
	"tenon/agent/wire"
)

func TestUsesAreReadFromTheRight(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]wire.Use{
		"web/data":               {Volume: "web/data"},
		"web/data:ro":            {Volume: "web/data", Mode: resource.RO},
		"web/data:RW":            {Volume: "web/data", Mode: resource.RW},
		"web/data:data":          {Volume: "web/data", Path: "data"},
		"web/data:a/b:Ro":        {Volume: "web/data", Path: "a/b", Mode: resource.RO},
		"web/data:noexec":        {Volume: "web/data", NoExec: true},
		"web/data:ro,noexec":     {Volume: "web/data", Mode: resource.RO, NoExec: true},
		"web/data:noexec,RO":     {Volume: "web/data", Mode: resource.RO, NoExec: true},
		"web/data:a:rw,NoExec":   {Volume: "web/data", Path: "a", Mode: resource.RW, NoExec: true},
		"web/data:noexec:noexec": {Volume: "web/data", Path: "noexec", NoExec: true},
		"web/data:a,b":           {Volume: "web/data", Path: "a,b"},
		"web/data:ro:rw":         {Volume: "web/data", Path: "ro", Mode: resource.RW},
		"web/a:b:data:rw":        {Volume: "web/a:b", Path: "data", Mode: resource.RW},
		"eng/db/main:/abs:rw":    {Volume: "eng/db/main", Path: "/abs", Mode: resource.RW},
		"web/with space:x y":     {Volume: "web/with space", Path: "x y"},
		"0e5fca00-7201-43f6:x":   {Volume: "0e5fca00-7201-43f6", Path: "x"},
	} {
		if got, err := parseUse(in); err != nil || got != want {
			t.Errorf("parseUse(%q) = %+v, %v; want %+v", in, got, err, want)
		}
	}
}

func TestUsesThatCannotBeMeantAreRefused(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                       "the name is missing",
		":data":                  "the name is missing",
		":ro":                    "the name is missing",
		"web/data:":              "the path is empty",
		"web/data::ro":           "the path is empty",
		"web/data:x:":            `"" is neither rw nor ro`,
		"web/data:x:rx":          `"rx" is neither rw nor ro nor noexec`,
		"web/data:x:ro,":         `"" is neither rw nor ro nor noexec`,
		"web/data:x:ro,rw":       `"ro,rw" has more than one of rw and ro`,
		"web/data:x:ro,ro":       `"ro,ro" has more than one of rw and ro`,
		"web/data:noexec,noexec": `"noexec,noexec" has noexec twice`,
		"web/data:ro,exec":       `"exec" is neither rw nor ro nor noexec`,
		"web/data:noexec=1,ro":   `"noexec=1" is neither rw nor ro nor noexec`,
		"web/data:x:rwx":         `"rwx" is neither rw nor ro`,
	} {
		if got, err := parseUse(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("parseUse(%q) = %+v, %v; want an error with %q", in, got, err, want)
		}
	}
}

func TestAUseThatIsWrittenInFullReadsBackTheSame(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := wire.Use{
			Volume: rapid.StringMatching(`[a-z/]{1,9}/[a-z:]{1,9}`).Draw(t, "volume"),
			Path:   rapid.StringMatching(`[a-z/]{1,9}`).Draw(t, "path"),
			Mode:   rapid.SampledFrom([]resource.Mode{resource.RW, resource.RO}).Draw(t, "mode"),
		}
		want.NoExec = rapid.Bool().Draw(t, "noexec")
		spec := want.Volume + ":" + want.Path + ":" + optionWords(want.Mode, want.NoExec, nil)
		if got, err := parseUse(spec); err != nil || got != want {
			t.Fatalf("parseUse(%q) = %+v, %v; want %+v", spec, got, err, want)
		}
	})
}

func FuzzParseUseNeverMakesUpAnything(f *testing.F) {
	f.Add("web/data:data:rw")
	f.Add("web/data:noexec,ro")
	f.Add("::")
	f.Fuzz(func(t *testing.T, spec string) {
		use, err := parseUse(spec)
		if err != nil {
			return
		}
		back := use.Volume
		if use.Path != "" {
			back += ":" + use.Path
		}
		var options []string
		if use.Mode != "" {
			options = append(options, modeWord(use.Mode))
		}
		if use.NoExec {
			options = append(options, "noexec")
		}
		one := back + ":" + strings.Join(options, ",")
		slices.Reverse(options)
		other := back + ":" + strings.Join(options, ",")
		if len(options) == 0 {
			one, other = back, back
		}
		if !strings.EqualFold(one, spec) && !strings.EqualFold(other, spec) || use.Volume == "" {
			t.Errorf("parseUse(%q) = %+v, which is %q", spec, use, back)
		}
	})
}
