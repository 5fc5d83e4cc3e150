package config

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// Write writes c as a file that Load reads back to the same, with a comment above
// every setting. Writing Default gives an example to start from.
func Write(w io.Writer, c Config) error {
	var b strings.Builder
	b.WriteString("# Configuration of tenon agent. A value here gives way to one in the environment\n" +
		"# (TENON_STATE_DIR) and on the command line (--state-dir).\n")
	for _, s := range settings {
		if s.name == tabled {
			continue
		}
		line, err := toml.Marshal(map[string]any{s.name: s.get(c)})
		if err != nil {
			return fmt.Errorf("write setting %s: %w", s.name, err)
		}
		fmt.Fprintf(&b, "\n# %s\n%s", strings.ReplaceAll(s.doc, "\n", "\n# "), line)
	}
	if err := errors.Join(writeDisks(&b, c.Disks), writeMasters(&b, c.Masters), writeAccess(&b, c)); err != nil {
		return err
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	return nil
}
