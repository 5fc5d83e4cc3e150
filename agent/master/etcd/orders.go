package etcd

import (
	"context"
	"errors"
	"fmt"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"tenon/agent/master"
)

// maxTaken bounds the orders that are taken and not answered. It is less than what a session
// keeps of refusals, so that none is forgotten.
const maxTaken = 128

// takeOrders takes orders and answers them. Each round begins with a list of what is there.
func (c *connection) takeOrders(ctx context.Context) error {
	for {
		bell, stop, err := c.watch(ctx)
		if err != nil {
			return err
		}
		err = c.answerOn(ctx, bell)
		stop()
		if err != nil {
			return err
		}
	}
}

// watch yields when an order may have come, and is closed when a compaction has taken what it
// would have seen: whoever hears it looks for himself.
func (c *connection) watch(ctx context.Context) (bell <-chan struct{}, stop func(), err error) {
	ctx, stop = context.WithCancel(ctx)
	events := c.etcd.Watch(clientv3.WithRequireLeader(ctx), c.base+"orders/", clientv3.WithPrefix(),
		clientv3.WithFilterDelete(), clientv3.WithCreatedNotify(), clientv3.WithFragment())
	rung := make(chan struct{}, 1)
	c.Go(func(context.Context) error { return ringOn(ctx, events, rung) })
	select {
	case <-rung: // it was created: nothing is missed from here on
	case <-ctx.Done():
	}
	return rung, stop, ctx.Err()
}

// ringOn rings for events until there will be none, and then closes the bell. Whatever ends the
// watch and is neither a compaction nor the end of ctx is an error.
func ringOn(ctx context.Context, events clientv3.WatchChan, bell chan<- struct{}) error {
	defer close(bell)
	for e := range events {
		switch {
		case ctx.Err() != nil, e.CompactRevision != 0:
			return nil
		case e.Err() != nil:
			return fmt.Errorf("etcd: watch orders: %w", e.Err())
		}
		select {
		case bell <- struct{}{}:
		default:
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return errors.New("etcd: watch orders: it has ended")
}

// answerOn makes rounds until the bell is gone.
func (c *connection) answerOn(ctx context.Context, bell <-chan struct{}) error {
	for {
		more, err := c.round(ctx)
		if err != nil {
			return err
		}
		if more {
			continue
		}
		select {
		case _, open := <-bell:
			if !open {
				return nil
			}
		case <-c.Changed():
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// round looks at all orders once: it takes those that are new and answers those that have
// ended. It says whether there may be more to do at once.
func (c *connection) round(ctx context.Context) (more bool, err error) {
	r := round{connection: c, ended: map[string]master.Result{}, there: map[string]int64{}, listed: map[string]bool{}}
	for _, result := range c.Results(c.node.State()) {
		if result.Final() {
			r.ended[result.ID] = result
		}
	}
	if err := c.list(ctx, "orders/", func(key string, revision int64) error {
		return r.meet(ctx, strings.TrimPrefix(key, "orders/"), revision)
	}); err != nil {
		return false, err
	}
	c.taken = r.there
	return r.more, r.acknowledge(ctx)
}

// round is one look at all orders.
type round struct {
	*connection
	ended  map[string]master.Result // as it was before the look
	listed map[string]bool          // orders that are there, taken or not, and were not answered
	there  map[string]int64         // orders that were taken, with their revisions
	full   bool                     // no more are taken
	more   bool                     // something was done
}

// meet takes an order at its revision, or answers it.
func (r *round) meet(ctx context.Context, id string, revision int64) error {
	result, ended := r.ended[id]
	r.listed[id] = true
	switch taken := r.taken[id] == revision; {
	case id == "" || len(id) > maxKey:
		r.node.Contact(fmt.Errorf("an order with an id of %d bytes was removed", len(id)))
		return r.remove(ctx, r.base+"orders/"+id)
	case taken && ended:
		r.more = true
		answered, err := r.answer(ctx, result, revision)
		r.listed[id] = !answered
		return err
	case taken:
		r.there[id] = revision
		return nil
	case r.full || len(r.there) >= maxTaken:
		return nil
	}
	took, err := r.take(ctx, id)
	if r.full = !took; took {
		r.there[id], r.more = revision, true
	}
	return err
}

// acknowledge acknowledges results of which the order is not there any more: it was answered, in
// this round or in an earlier run, or the master has withdrawn it. An order that is there and was
// not looked at, for want of room, must not be forgotten: it would be done again.
func (r *round) acknowledge(ctx context.Context) error {
	var ids []string
	for id := range r.ended {
		if !r.listed[id] {
			ids = append(ids, id)
		}
	}
	return r.Acknowledge(ctx, ids...)
}

// take reads an order and hands it over. It returns false when there is no room for more.
func (c *connection) take(ctx context.Context, id string) (bool, error) {
	got, err := limited(ctx, "read an order", func(ctx context.Context) (*clientv3.GetResponse, error) {
		return c.etcd.Get(ctx, c.base+"orders/"+id)
	})
	switch {
	case tooLarge(err):
		c.Refuse(id, fmt.Sprintf("the order is larger than %d bytes; %d are allowed", maxMessage, master.MaxOrder))
		return true, nil
	case err != nil:
		return false, err
	case len(got.Kvs) == 0:
		return true, nil // withdrawn
	}
	return c.Take(got.Kvs[0].Value, id), nil
}

// answer tells what became of an order and removes it, at once; where it is there no more or
// is another one meanwhile, nothing is told, and it returns false.
//
// Crash: before the transaction the order is there and is met again, with the same result;
// after it, the agent is asked to acknowledge by the next round of any run.
func (c *connection) answer(ctx context.Context, r master.Result, revision int64) (bool, error) {
	value, _, err := fit("results/"+r.ID, resultForms(r))
	if err != nil {
		return false, err
	}
	order := c.base + "orders/" + r.ID
	done, err := limited(ctx, "answer an order", func(ctx context.Context) (*clientv3.TxnResponse, error) {
		return c.etcd.Txn(ctx).
			If(clientv3.Compare(clientv3.ModRevision(order), "=", revision)).
			Then(clientv3.OpPut(c.base+"results/"+r.ID, string(value)), clientv3.OpDelete(order)).
			Commit()
	})
	if err != nil {
		return false, err
	}
	c.node.Contact(nil)
	return done.Succeeded, nil
}
