package etcd

import (
	"context"
	"crypto/sha256"
	"fmt"
	"iter"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"tenon/agent/master"
	"tenon/agent/volume"
)

// What one transaction has at most, unless one value alone has more; etcd allows 128 operations
// in 1.5 MiB unless it is configured otherwise.
const (
	maxOps   = 100
	maxBytes = 512 << 10
	page     = 500 // keys that are listed at once
	maxKey   = 1 << 10
)

// What a comparison notes at most of keys that this process has not written: bytes, and how many
// of them each key costs besides its own.
const (
	maxStrange = 4 << 20
	keyCost    = 200
)

// never is the version of no state.
const never = -1

// written is what is known of a key. One that this process has not written has no digest that
// any value has, no revision, and was never seen in a state.
type written struct {
	digest   [sha256.Size]byte
	revision int64  // of etcd, when it was written
	seen     int64  // the version of the state that has it
	lacks    string // what was left out, and why
}

// report writes each state that is worth it, and looks after every heartbeat whether what it
// has written is still there.
func (c *connection) report(ctx context.Context) error {
	for compared := (time.Time{}); ; {
		st, err := c.Next(ctx)
		if err != nil {
			return err
		}
		if time.Since(compared) >= c.config.Heartbeat {
			if err := c.compare(ctx); err != nil {
				return err
			}
			compared = time.Now()
		}
		if err := c.write(ctx, st); err != nil {
			return err
		}
	}
}

// compare takes what etcd has into account: it forgets what is not there as this process wrote
// it, so that it is written again if it belongs there, and notes what somebody else has written,
// as an earlier run of the agent did. That is written again, too, or removed, by the write that
// comes next, which alone knows what belongs there: whoever watches sees nothing vanish that is
// still there. What there is no room to note is met by the next comparison, when the agent's own
// keys need none.
func (c *connection) compare(ctx context.Context) error {
	there, strange, room := map[string]int64{}, []string(nil), maxStrange
	for _, dir := range []string{"alive", "status", "volumes/", "tasks/"} {
		if err := c.list(ctx, dir, func(key string, revision int64) error {
			w, known := c.known[key]
			switch {
			case known && w.revision == revision:
				there[key] = revision
			case len(key) > maxKey:
				return c.remove(ctx, c.base+key) // the agent has none like it
			case room > len(key):
				strange = append(strange, key)
				room -= len(key) + keyCost
			}
			return nil
		}); err != nil {
			return err
		}
	}
	for key, w := range c.known {
		if there[key] != w.revision {
			delete(c.known, key)
		}
	}
	for _, key := range strange {
		c.known[key] = written{seen: never}
	}
	return nil
}

// list calls visit with every key that begins like this, without the base, and its revision.
// Where keys are so long that a page of them is more than an answer may have, it has fewer.
func (c *connection) list(ctx context.Context, dir string, visit func(key string, revision int64) error) error {
	from, end, limit := c.base+dir, clientv3.GetPrefixRangeEnd(c.base+dir), int64(page)
	for {
		got, err := limited(ctx, "list "+dir, func(ctx context.Context) (*clientv3.GetResponse, error) {
			return c.etcd.Get(ctx, from, clientv3.WithRange(end), clientv3.WithKeysOnly(), clientv3.WithLimit(limit))
		})
		switch {
		case tooLarge(err) && limit > 1:
			limit /= 2
			continue
		case err != nil:
			return err
		}
		for _, kv := range got.Kvs {
			if err := visit(strings.TrimPrefix(string(kv.Key), c.base), kv.ModRevision); err != nil {
				return err
			}
			from = string(kv.Key) + "\x00"
		}
		if !got.More {
			return nil
		}
	}
}

// tooLarge says whether an answer of etcd has more than maxMessage.
func tooLarge(err error) bool {
	return status.Code(err) == codes.ResourceExhausted && strings.Contains(err.Error(), "larger than max")
}

func (c *connection) remove(ctx context.Context, key string) error {
	_, err := limited(ctx, "remove a key", func(ctx context.Context) (*clientv3.DeleteResponse, error) {
		return c.etcd.Delete(ctx, key)
	})
	return err
}

// write brings etcd to a state: first the sign of life, volumes and tasks that changed or are new, then those
// that are gone, then the status that counts them.
//
// Crash: any part of it may be written; the status is that of an earlier state then, and the
// next run writes the rest.
func (c *connection) write(ctx context.Context, st *volume.State) error {
	t := &batch{connection: c, version: int64(st.Version)}
	if err := t.put(ctx, "alive", whole(c.alive(st)), clientv3.WithLease(c.lease)); err != nil {
		return err
	}
	for v := range c.Volumes(st) {
		if err := t.put(ctx, "volumes/"+string(v.UUID), volumeForms(v)); err != nil {
			return err
		}
	}
	for w := range c.Tasks(st) {
		if err := t.put(ctx, "tasks/"+w.ID, taskForms(w)); err != nil {
			return err
		}
	}
	for key, w := range c.known {
		if w.seen != t.version && key != "status" {
			if err := t.drop(ctx, key); err != nil {
				return err
			}
		}
	}
	if err := t.put(ctx, "status", statusForms(c.StatusOf(st))); err != nil {
		return err
	}
	if err := t.send(ctx); err != nil {
		return err
	}
	c.tellLacks()
	return nil
}

// tellLacks has it noted what the master is not told, when that has changed.
func (c *connection) tellLacks() {
	first, count := "", 0
	for _, w := range c.known {
		if w.lacks == "" {
			continue
		}
		if count++; first == "" || w.lacks < first {
			first = w.lacks
		}
	}
	if count > 1 {
		first = fmt.Sprintf("%s; %d more keys are not whole", first, count-1)
	}
	if first != c.lacks {
		c.lacks = first
		c.node.Contact(master.Incomplete(first))
	}
}

// batch is a transaction that is being put together.
type batch struct {
	*connection
	version int64
	ops     []clientv3.Op
	bytes   int
	puts    map[string]written
	drops   []string
}

// put writes a value, as much of it as a key can hold, unless it is there already.
func (b *batch) put(ctx context.Context, key string, value iter.Seq[form], how ...clientv3.OpOption) error {
	data, lacks, err := fit(key, value)
	if err != nil {
		return err
	}
	digest := sha256.Sum256(data)
	if w, known := b.known[key]; known {
		w.seen = b.version
		b.known[key] = w
		if w.digest == digest {
			return nil
		}
	}
	if err := b.room(ctx, len(data)); err != nil {
		return err
	}
	b.ops = append(b.ops, clientv3.OpPut(b.base+key, string(data), how...))
	b.puts[key] = written{digest: digest, lacks: lacks, seen: b.version}
	return nil
}

// drop removes a key.
func (b *batch) drop(ctx context.Context, key string) error {
	if err := b.room(ctx, len(key)); err != nil {
		return err
	}
	b.ops = append(b.ops, clientv3.OpDelete(b.base+key))
	b.drops = append(b.drops, key)
	return nil
}

// room sends what there is if one more does not fit.
func (b *batch) room(ctx context.Context, bytes int) error {
	if len(b.ops) == maxOps || b.bytes > 0 && b.bytes+bytes > maxBytes {
		if err := b.send(ctx); err != nil {
			return err
		}
	}
	if b.puts == nil {
		b.puts = map[string]written{}
	}
	b.bytes += bytes
	return nil
}

// send commits the transaction, and notes what is known then. When that fails, nobody knows
// whether it was made: what it was to write is forgotten.
func (b *batch) send(ctx context.Context) error {
	if len(b.ops) == 0 {
		return nil
	}
	done, err := limited(ctx, "write the state", func(ctx context.Context) (*clientv3.TxnResponse, error) {
		return b.etcd.Txn(ctx).Then(b.ops...).Commit()
	})
	for key := range b.puts {
		delete(b.known, key)
	}
	if err != nil {
		return err
	}
	for key, w := range b.puts {
		w.revision = done.Header.Revision
		b.known[key] = w
	}
	for _, key := range b.drops {
		delete(b.known, key)
	}
	*b = batch{connection: b.connection, version: b.version}
	b.node.Contact(nil)
	return nil
}
