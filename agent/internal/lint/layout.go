package lint

import (
	"io/fs"
	"path"
	"slices"
	"strings"
)

// topLevel are all names at the repository's top, besides dot-files.
var topLevel = []string{
	"agent", "checkpoint", "cmd", "isolator", "mount", "systemd", "testdata",
	"LICENSE", "Makefile", "README.md", "go.mod", "go.sum",
}

func checkTopLevel(t *Tree) (found []Finding) {
	entries, err := fs.ReadDir(t.fsys, ".")
	if err != nil {
		return []Finding{{".", err.Error()}}
	}
	ignored := ignoredNames(t.fsys)
	for _, e := range entries {
		name := e.Name()
		if strings.HasPrefix(name, ".") || slices.Contains(topLevel, name) {
			continue
		}
		if !slices.ContainsFunc(ignored, func(p string) bool { ok, _ := path.Match(p, name); return ok }) {
			found = append(found, Finding{name, "is not one of the names at the top"})
		}
	}
	return found
}

// ignoredNames are the patterns of .gitignore: what a build leaves is not part of the
// repository.
func ignoredNames(fsys fs.FS) (patterns []string) {
	b, err := fs.ReadFile(fsys, ".gitignore")
	if err != nil {
		return nil // nothing is ignored
	}
	for line := range strings.Lines(string(b)) {
		patterns = append(patterns, strings.Trim(strings.TrimSpace(line), "/"))
	}
	return patterns
}
