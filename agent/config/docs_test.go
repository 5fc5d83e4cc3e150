package config_test

import (
	"bytes"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"tenon/agent/access"
	"tenon/agent/config"
)

// docs are what operators read of settings, with how many blocks of a configuration file are in
// each.
var docs = map[string]int{"../../README.md": 8, "../csi/README.md": 2}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var tomlLine = regexp.MustCompile(`^    (\[\[?[a-z.]+\]|[a-z_]+ *= )`)

// blocks are what of a text is indented and looks like a configuration file.
func blocks(text string) (list []string) {
	follows := false
	for part := range strings.SplitSeq(text, "\n\n") {
		switch is := tomlLine.MatchString(part); {
		case is && follows:
			list[len(list)-1] += "\n\n" + part
		case is:
			list = append(list, part)
			fallthrough
		default:
			follows = is
		}
	}
	return list
}

func TestWhatTheDocumentsShowOfTheConfigurationFileCanBeLoaded(t *testing.T) {
	t.Parallel()
	for file, want := range docs {
		got := blocks(read(t, file))
		if len(got) < want {
			t.Errorf("%s has %d blocks, want %d or more", file, len(got), want)
		}
		for _, block := range got {
			if _, err := config.Load(config.Default(), config.Sources{File: mustWrite(t, block)}); err != nil {
				t.Errorf("%s: %v\n%s", file, err, block)
			}
		}
	}
}

// foreign are names in the documents that are others' settings, or fields of the API.
var foreign = []string{"stage_publish_base_dir", "io_cgroup"}

var (
	exampleName = regexp.MustCompile(`(?m)^#? ?([a-z_]+) = `)
	quotedName  = regexp.MustCompile("`([a-z]+(?:_[a-z]+)+)`")
	quotedFlag  = regexp.MustCompile("`--((?:csi|tls|poll|master|pool|sandbox)[a-z-]*)[ `]")
	variable    = regexp.MustCompile(`TENON_([A-Z_]+)`)
)

func TestEachSettingThatTheDocumentsNameIsThere(t *testing.T) {
	t.Parallel()
	var example bytes.Buffer
	if err := config.Write(&example, config.Default()); err != nil {
		t.Fatal(err)
	}
	names, flags := slices.Clone(foreign), []string{}
	for _, found := range exampleName.FindAllStringSubmatch(example.String(), -1) {
		names = append(names, found[1])
	}
	for _, action := range []access.Action{access.Reserve, access.Unreserve, access.Create, access.Destroy, access.Resize, access.Attach, access.View} {
		names = append(names, string(action))
	}
	for _, s := range config.Settings() {
		flags = append(flags, s.Flag)
	}
	for file := range docs {
		text := read(t, file)
		checked := 0
		for pattern, known := range map[*regexp.Regexp][]string{quotedName: names, quotedFlag: flags, variable: names} {
			for _, found := range pattern.FindAllStringSubmatch(text, -1) {
				checked++
				if metric, is := strings.CutPrefix(found[1], "tenon_"); is {
					if !strings.Contains(read(t, "../metrics/collector.go"), `desc("`+metric+`"`) {
						t.Errorf("%s names %s, which is no metric", file, found[0])
					}
					continue
				}
				if name := found[1]; !slices.Contains(known, name) && !slices.Contains(known, strings.ToLower(name)) {
					t.Errorf("%s names %s, which is no setting", file, found[0])
				}
			}
		}
		if checked < 7 {
			t.Errorf("%s: only %d names were found", file, checked)
		}
	}
	for _, s := range config.Settings() {
		if strings.HasPrefix(s.Name, "csi_") && !strings.Contains(read(t, "../csi/README.md"), "| `"+s.Name+"` |") {
			t.Errorf("agent/csi/README.md does not have %s", s.Name)
		}
	}
}
