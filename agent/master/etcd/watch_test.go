package etcd

import (
	"context"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
)

func TestACompactionEndsAWatchAndNothingElseDoesWithoutAnError(t *testing.T) {
	t.Parallel()
	ended, end := context.WithCancel(t.Context())
	end()
	for name, tc := range map[string]struct {
		ctx    context.Context
		events []clientv3.WatchResponse
		rings  int
		good   bool
	}{
		"compacted":           {t.Context(), []clientv3.WatchResponse{{}, {Canceled: true, CompactRevision: 7}}, 1, true},
		"cancelled by etcd":   {t.Context(), []clientv3.WatchResponse{{}, {Canceled: true}}, 1, false},
		"ended by etcd":       {t.Context(), []clientv3.WatchResponse{{}}, 1, false},
		"many events at once": {t.Context(), make([]clientv3.WatchResponse, 1000), 1, false},
		"ended by the agent":  {ended, []clientv3.WatchResponse{{Canceled: true}}, 0, true},
	} {
		events, bell := make(chan clientv3.WatchResponse, len(tc.events)), make(chan struct{}, 1)
		for _, e := range tc.events {
			events <- e
		}
		close(events)
		err := ringOn(tc.ctx, events, bell)
		rings := 0
		for range bell {
			rings++
		}
		if (err == nil) != tc.good || rings != tc.rings {
			t.Errorf("%s: %v after %d rings, want %d", name, err, rings, tc.rings)
		}
	}
}
