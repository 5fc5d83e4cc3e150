package mastertest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"tenon/agent/master"
	"tenon/agent/master/mastertest"
)

// memory is a master in the same process: the least that a kind can be.
type memory struct {
	*desk
	url string
}

// Config is how to reach it.
func (m memory) Config() master.Config {
	return master.Config{URL: m.url}
}

// Run tells the desk everything and takes its orders.
func (m memory) Run(ctx context.Context, n master.Node) error {
	s := master.Open(ctx, n, master.Config{Interval: 1, Heartbeat: time.Millisecond})
	s.Go(func(ctx context.Context) error {
		for {
			if err := m.visit(ctx, n, s); err != nil {
				return err
			}
		}
	})
	return s.Wait()
}

func (m memory) visit(ctx context.Context, n master.Node, s *master.Session) error {
	st, err := s.Next(ctx)
	if err != nil {
		return err
	}
	switch m.meet() {
	case mastertest.Gone:
		return errors.New("nobody is there")
	case mastertest.Hanging:
		if err := m.mended(ctx); err != nil {
			return err
		}
	case mastertest.Flooding:
		for i := range 10_000 {
			s.Take(fmt.Appendf(nil, `{"id":"flood-%d"}`, i), "")
			n.Contact(errors.New("what a flood"))
		}
		return nil
	case mastertest.Lying:
		panic("a lie that the client believed")
	}
	var b bytes.Buffer
	var r master.Report
	if err := errors.Join(s.WriteReport(&b, st), json.Unmarshal(b.Bytes(), &r)); err != nil {
		return err
	}
	orders, done := m.accept(r)
	n.Contact(nil)
	if err := s.Acknowledge(ctx, done...); err != nil {
		return err
	}
	for id, o := range orders {
		s.Take(o, id)
	}
	return nil
}

func memoryKind() mastertest.Kind {
	var all sync.Map // clients by URL
	return mastertest.Kind{
		Name: "memory",
		New: func(c master.Config) (master.Client, error) {
			m, _ := all.Load(c.URL)
			return m.(memory), nil
		},
		Start: func(testing.TB) mastertest.Master {
			d := newDesk()
			m := memory{d, fmt.Sprintf("memory://%p", d)}
			all.Store(m.url, m)
			return m
		},
	}
}
