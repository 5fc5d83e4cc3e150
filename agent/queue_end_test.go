package agent

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"tenon/agent/volume"
)

// When the disk answers after all, what waited behind it is over.
func TestNothingIsRunAnyMoreWhenTheQueueHasEndedAndAUnitThatHungComesBack(t *testing.T) {
	t.Parallel()
	for _, limit := range []time.Duration{time.Hour, 0} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			answer := make(chan struct{})
			runs := make(chan volume.Unit, 2*width[laneMake])
			q := newQueue(ctx, func(_ context.Context, u volume.Unit) (bool, error) {
				runs <- u
				<-answer
				return false, nil
			})
			far := lane{laneMake, "far"}
			var waiting []<-chan error
			for i := range width[laneMake] + 2 {
				waiting = append(waiting, q.add(volume.UnitOfVolume(volume.UUID(fmt.Sprint(i))), far))
			}
			if limit > 0 {
				<-q.hung(far)
			}
			synctest.Wait()
			cancel()
			if got := q.wait(limit); got != (limit > 0) {
				t.Errorf("the queue has ended: %t", got)
			}
			for _, done := range waiting[width[laneMake]:] {
				select {
				case err := <-done:
					if !errors.Is(err, context.Canceled) {
						t.Errorf("who waits behind what hangs is told %v", err)
					}
				default:
					t.Error("who waits behind what hangs is not told of the end")
				}
			}
			close(answer)
			synctest.Wait()
			if len(runs) != width[laneMake] {
				t.Errorf("%d units ran", len(runs))
			}
		})
	}
}
