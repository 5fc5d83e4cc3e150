package api

import (
	"net/http"
	"sync"

	"tenon/agent/volume"
)

// How many requests may be at work at once; others wait for their turn, within their timeout.
// Bodies take at most 2 * 16 MiB and 254 * 1 MiB, and a few times as much while they are read.
const (
	maxRequests = 256 // other than GET
	maxLarge    = 2   // of those, with bodies that are, or may be, larger than maxBody
	maxWalks    = 8   // GET of what grows with all that there is
)

// turn waits for a place among those that are at work, until leave.
func (c *call) turn(places chan struct{}) error {
	select {
	case places <- struct{}{}:
		c.places = append(c.places, places)
		return nil
	case <-c.Context().Done():
		return problem(http.StatusServiceUnavailable, volume.ErrPending,
			"the agent has %d requests of this kind at work and this one got no turn; nothing was changed, ask again", cap(places))
	}
}

// leave gives back all places.
func (c *call) leave() {
	for _, places := range c.places {
		<-places
	}
	c.places = nil
}

// isLarge says whether there is more of a body than most requests have, or may be: what is
// sent in pieces does not say.
func (c *call) isLarge() bool { return c.ContentLength > maxBody || c.ContentLength < 0 }

// walking takes a turn for a handler that looks at everything, until its answer is sent.
func walking(handle handler) handler {
	return func(s *Server, c *call) (answer, error) {
		if err := c.turn(s.walks); err != nil {
			return answer{}, err
		}
		return handle(s, c)
	}
}

// quota bounds how many of something there are, in all and of each principal. Any number of
// goroutines may use it.
type quota struct {
	most, each int

	mu  sync.Mutex
	all int            // guarded by mu
	by  map[string]int // guarded by mu
}

func newQuota(most, each int) *quota { return &quota{most: most, each: each, by: map[string]int{}} }

// take says whether there may be one more of somebody's; it is given back by give.
func (q *quota) take(who string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.all >= q.most || q.by[who] >= q.each {
		return false
	}
	q.all++
	q.by[who]++
	return true
}

func (q *quota) give(who string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.all--
	if q.by[who]--; q.by[who] == 0 {
		delete(q.by, who)
	}
}
