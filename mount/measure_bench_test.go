package mount

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// measureBare is the system calls that any sum of a tree must make: each directory
// opened and read, each entry looked at.
func measureBare(parent int, name string, buf []byte, sum *Usage) error {
	dir, err := unix.Openat(parent, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	var subs []string
	for {
		n, err := unix.Getdents(dir, buf)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
		_, _, names := unix.ParseDirent(buf[:n], -1, nil)
		for _, name := range names {
			var st unix.Stat_t
			if err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
				return err
			}
			sum.Bytes += uint64(st.Blocks) * 512
			sum.Inodes++
			if st.Mode&unix.S_IFMT == unix.S_IFDIR {
				subs = append(subs, name)
			}
		}
	}
	for _, sub := range subs {
		if err := measureBare(dir, sub, buf, sum); err != nil {
			return err
		}
	}
	return nil
}

// BenchmarkMeasure is held against the bare system calls over the same tree, in the same
// run: one with 20 files in a directory, and one with all in the same.
func BenchmarkMeasure(b *testing.B) {
	for _, shape := range []struct{ directories, files int }{{2_500, 20}, {1, 50_000}} {
		b.Run(fmt.Sprintf("directories=%d", shape.directories), func(b *testing.B) {
			dir := b.TempDir()
			for i := range shape.directories {
				sub := fmt.Sprintf("%s/%d/%d", dir, i%50, i)
				if err := os.MkdirAll(sub, 0o755); err != nil {
					b.Fatal(err)
				}
				for j := range shape.files {
					if err := os.WriteFile(fmt.Sprintf("%s/file%d", sub, j), nil, 0o644); err != nil {
						b.Fatal(err)
					}
				}
			}
			top := mustOpen(b, dir)
			buf := make([]byte, measureBatch)
			bare := func() error { return measureBare(int(top.Fd()), ".", buf, new(Usage)) }
			tenon := func() error { _, err := Measure(b.Context(), top); return err }
			alone := func() error {
				w := lonely(measureBatch)
				err := w.enterTop(top)
				for err == nil && len(w.way) > 0 {
					err = w.step(b.Context())
				}
				return err
			}
			measure(b, "bare", bare)
			measure(b, "tenon", tenon)
			b.Run("ratio", func(b *testing.B) { compare(b, tenon, bare) })
			b.Run("ratio-of-one-walker", func(b *testing.B) { compare(b, alone, bare) })
		})
	}
}
