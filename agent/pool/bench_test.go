package pool

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
)

// BenchmarkMakeAndPublish is a volume made durable, by so many callers at the same
// time, beside the bare calls that one caller needs for the same.
func BenchmarkMakeAndPublish(b *testing.B) {
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprintf("pool/callers=%d", callers), func(b *testing.B) {
			p, _ := newPool(b)
			each(b, callers, func(v string) error {
				if err := p.Make(v, web); err != nil {
					return err
				}
				return p.Publish(b.Context(), v)
			})
		})
		b.Run(fmt.Sprintf("bare/callers=%d", callers), func(b *testing.B) {
			_, dir := newPool(b)
			each(b, callers, func(v string) error { return bare(dir, v) })
		})
	}
}

func BenchmarkTrash(b *testing.B) {
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			p, _ := newPool(b)
			for i := range b.N {
				must(b, p.Make(name(i), web))
				must(b, p.publish(name(i)))
			}
			must(b, p.syncLive())
			b.ResetTimer()
			each(b, callers, func(v string) error { return p.Trash(b.Context(), v) })
		})
	}
}

func BenchmarkFind(b *testing.B) {
	p, _ := newPool(b)
	makeLive(b, p, volA)
	for b.Loop() {
		if _, err := p.Find(volA); err != nil {
			b.Fatal(err)
		}
	}
}

func name(i int) string { return fmt.Sprintf("eeeeeeee-0000-4000-8000-%012d", i) }

// each does do b.N times, by so many goroutines.
func each(b *testing.B, callers int, do func(v string) error) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= b.N {
					return
				}
				if err := do(name(i)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// bare is mkdir twice, rename, and fsync of where it went.
func bare(dir, v string) error {
	from, to := filepath.Join(dir, "incoming", v), filepath.Join(dir, "live", v)
	if err := os.Mkdir(from, 0o700); err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(from, "data"), 0o770); err != nil {
		return err
	}
	if err := os.Rename(from, to); err != nil {
		return err
	}
	live, err := os.Open(filepath.Join(dir, "live"))
	if err != nil {
		return err
	}
	defer live.Close()
	return live.Sync()
}
