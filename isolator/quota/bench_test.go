package quota

import (
	"testing"
	"unsafe"
)

// benchIDs is how many projects there are on the disk.
const benchIDs = 10000

// BenchmarkUsageOfAll reads what all of many projects use: one after the other, as a
// list, and by nothing but the system calls that this takes at least.
func BenchmarkUsageOfAll(b *testing.B) {
	for _, f := range flavours {
		b.Run(f.Name, func(b *testing.B) {
			d := newDisk(b, f)
			q := d.open(b)
			r := Range{5000, 5000 + benchIDs - 1}
			for id := r.First; id <= r.Last; id++ {
				must(b, q.SetLimit(id, mib, 0))
			}
			b.Run("bare calls", func(b *testing.B) { perID(b, r, bareCall(q)) })
			b.Run("Usage", func(b *testing.B) {
				perID(b, r, func(id uint32) error { _, err := q.Usage(id); return err })
			})
			b.Run("List", func(b *testing.B) {
				for b.Loop() {
					all, err := q.List(r)
					if err != nil || len(all) != benchIDs {
						b.Fatalf("List gives %d projects, %v", len(all), err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchIDs, "ns/project")
			})
		})
	}
}

// perID does something with every project of a range.
func perID(b *testing.B, r Range, do func(id uint32) error) {
	for b.Loop() {
		for id := r.First; id <= r.Last; id++ {
			must(b, do(id))
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchIDs, "ns/project")
}

// bareCall is the least that the kernel takes to tell of one project: one call.
func bareCall(q *Quota) func(id uint32) error {
	if g, ok := q.ledger.(groups); ok {
		var args findArgs
		return func(id uint32) error {
			args.searchKey = searchFor(treeQuota, key{kind: itemInfo, offset: groupOf(id)}, groupOf(id), 1)
			args.size = uint64(len(args.buf))
			return ioctl(g.dir, "BTRFS_IOC_TREE_SEARCH_V2", iocTreeFind, unsafe.Pointer(&args))
		}
	}
	p := q.ledger.(projects)
	var d diskQuota
	return func(id uint32) error { return p.ctl(qxGetQuota, id, unsafe.Pointer(&d)) }
}
