package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

func TestAnExportIsOneJSONValueWhateverIsLeft(t *testing.T) {
	const fixture = "../../testdata/checkpoint/v1/journal"
	for name, keep := range map[string]func(path string) bool{
		"all of it":   func(string) bool { return true },
		"no snapshot": func(path string) bool { return filepath.Base(path)[0] != 's' },
		"no log":      func(path string) bool { return filepath.Base(path)[0] != 'l' },
		"nothing":     func(string) bool { return false },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(fixture)); err != nil {
				t.Fatal(err)
			}
			files, err := filepath.Glob(filepath.Join(dir, "*"))
			if err != nil {
				t.Fatal(err)
			}
			for _, path := range files {
				if !keep(path) {
					if err := os.Remove(path); err != nil {
						t.Fatal(err)
					}
				}
			}
			var out, errOut bytes.Buffer
			if err := app(&out, &errOut).Run([]string{"tenon", "checkpoint", "export", dir}); err != nil {
				t.Fatal(err)
			}
			var got struct {
				Records []shownEntry
				Sound   bool
			}
			if err := json.Unmarshal(out.Bytes(), &got); err != nil {
				t.Fatalf("%v in %s", err, out.Bytes())
			}
			if got.Records == nil || got.Sound != (name == "all of it" || name == "nothing") {
				t.Errorf("sound: %v, records %v", got.Sound, got.Records)
			}
		})
	}
}
