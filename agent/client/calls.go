package client

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"tenon/agent/resource"
	"tenon/agent/wire"
)

// Status tells the agent at a glance.
func (c *Client) Status(ctx context.Context) (st wire.Status, err error) {
	_, err = c.ask(ctx, http.MethodGet, "/v1/status", nil, &st)
	return st, err
}

// Caller tells who asks, as the agent knows them.
func (c *Client) Caller(ctx context.Context) (who wire.Caller, err error) {
	_, err = c.ask(ctx, http.MethodGet, "/v1/caller", nil, &who)
	return who, err
}

// Health is nil while the agent can do its work.
func (c *Client) Health(ctx context.Context) error {
	_, err := c.ask(ctx, http.MethodGet, "/v1/healthz", nil, &wire.Health{})
	return err
}

// OpenAPI gives the description of the API that the agent serves, as YAML.
func (c *Client) OpenAPI(ctx context.Context) (data []byte, err error) {
	_, err = c.ask(ctx, http.MethodGet, "/v1/openapi.yaml", nil, &data)
	return data, err
}

// Resources tells what the agent has: what is offerable, for a role where one is given.
// Without shared, no shared volume is told of.
func (c *Client) Resources(ctx context.Context, role string, shared bool) (r wire.Resources, err error) {
	q := url.Values{"shared": {strconv.FormatBool(shared)}}
	if role != "" {
		q.Set("role", role)
	}
	_, err = c.ask(ctx, http.MethodGet, "/v1/resources?"+q.Encode(), nil, &r)
	return r, err
}

// Volumes gives the page of at most limit volumes after a name; limit 0 leaves it to
// the agent.
func (c *Client) Volumes(ctx context.Context, after string, limit int) (page wire.Volumes, err error) {
	_, err = c.ask(ctx, http.MethodGet, "/v1/volumes"+pageQuery(after, limit), nil, &page)
	return page, err
}

// AllVolumes yields every volume, in the order of names, page by page; an error ends it.
func (c *Client) AllVolumes(ctx context.Context) iter.Seq2[wire.Volume, error] {
	return all(func(after string) ([]wire.Volume, string, error) {
		page, err := c.Volumes(ctx, after, longestPage)
		return page.Volumes, page.Next, err
	})
}

// Usage gives the page of at most limit volumes after a name of what volumes take, as far as
// that is known; limit 0 leaves it to the agent.
func (c *Client) Usage(ctx context.Context, after string, limit int) (page wire.Usage, err error) {
	_, err = c.ask(ctx, http.MethodGet, "/v1/usage"+pageQuery(after, limit), nil, &page)
	return page, err
}

// AllUsage yields what every volume takes of which that is known, in the order of names, page
// by page; an error ends it.
func (c *Client) AllUsage(ctx context.Context) iter.Seq2[wire.VolumeUsage, error] {
	return all(func(after string) ([]wire.VolumeUsage, string, error) {
		page, err := c.Usage(ctx, after, longestPage)
		return page.Volumes, page.Next, err
	})
}

// Volume tells all about one volume, named by role/id or UUID.
func (c *Client) Volume(ctx context.Context, ref string) (v wire.Volume, err error) {
	_, err = c.ask(ctx, http.MethodGet, "/v1/volumes/"+wire.EscapeRef(ref), nil, &v)
	return v, err
}

// Create makes a volume and returns when it is ready.
func (c *Client) Create(ctx context.Context, request wire.CreateVolume) (v wire.Volume, err error) {
	_, err = c.ask(ctx, http.MethodPost, "/v1/volumes", request, &v)
	return v, err
}

// TryCreate is Create that changes nothing: the volume as it would be at first.
func (c *Client) TryCreate(ctx context.Context, request wire.CreateVolume) (v wire.Volume, err error) {
	_, err = c.ask(ctx, http.MethodPost, "/v1/volumes"+dryRun, request, &v)
	return v, err
}

// Resize makes a volume larger or smaller.
func (c *Client) Resize(ctx context.Context, ref string, size resource.Bytes) (v wire.Volume, err error) {
	_, err = c.ask(ctx, http.MethodPatch, "/v1/volumes/"+wire.EscapeRef(ref), wire.ResizeVolume{Size: size}, &v)
	return v, err
}

// TryResize is Resize that changes nothing: the volume as it would be.
func (c *Client) TryResize(ctx context.Context, ref string, size resource.Bytes) (v wire.Volume, err error) {
	_, err = c.ask(ctx, http.MethodPatch, "/v1/volumes/"+wire.EscapeRef(ref)+dryRun, wire.ResizeVolume{Size: size}, &v)
	return v, err
}

// TryDestroy says whether a volume could be destroyed, and changes nothing.
func (c *Client) TryDestroy(ctx context.Context, ref string) error {
	_, err := c.ask(ctx, http.MethodDelete, "/v1/volumes/"+wire.EscapeRef(ref)+dryRun, nil, nil)
	return err
}

// Destroy destroys a volume and its data. done says that it is gone and its space is
// back; otherwise that was not waited for, or took longer than a request has, and goes on.
func (c *Client) Destroy(ctx context.Context, ref string, wait bool) (done bool, err error) {
	path := "/v1/volumes/" + wire.EscapeRef(ref) + "?wait=" + strconv.FormatBool(wait)
	status, err := c.ask(ctx, http.MethodDelete, path, nil, nil)
	return err == nil && status == http.StatusNoContent, err
}

// Tasks gives the page of at most limit tasks after an id; limit 0 leaves it to the
// agent.
func (c *Client) Tasks(ctx context.Context, after string, limit int) (page wire.Tasks, err error) {
	_, err = c.ask(ctx, http.MethodGet, "/v1/tasks"+pageQuery(after, limit), nil, &page)
	return page, err
}

// AllTasks yields every task, in the order of ids, page by page; an error ends it.
func (c *Client) AllTasks(ctx context.Context) iter.Seq2[wire.Task, error] {
	return all(func(after string) ([]wire.Task, string, error) {
		page, err := c.Tasks(ctx, after, longestPage)
		return page.Tasks, page.Next, err
	})
}

// HeldTasks is AllTasks with what holds each, which the agent looks at for that.
func (c *Client) HeldTasks(ctx context.Context) iter.Seq2[wire.Task, error] {
	return all(func(after string) (tasks []wire.Task, next string, err error) {
		var page wire.Tasks
		_, err = c.ask(ctx, http.MethodGet, "/v1/tasks"+pageQuery(after, longestPage, "held", "true"), nil, &page)
		return page.Tasks, page.Next, err
	})
}

// Task tells all about one task.
func (c *Client) Task(ctx context.Context, id string) (t wire.Task, err error) {
	_, err = c.ask(ctx, http.MethodGet, taskPath(id), nil, &t)
	return t, err
}

// Claim announces a task and holds the volumes that it will use. Without a pid, it is
// this process that proves the task alive.
func (c *Client) Claim(ctx context.Context, request wire.Claim) (t wire.Task, err error) {
	_, err = c.ask(ctx, http.MethodPost, "/v1/tasks", request, &t)
	return t, err
}

// Release ends a task; lazy lets go of mounts although processes use them.
func (c *Client) Release(ctx context.Context, id string, lazy bool) error {
	_, err := c.ask(ctx, http.MethodDelete, taskPath(id)+"?lazy="+strconv.FormatBool(lazy), nil, nil)
	return err
}

// Renew holds a task for a time from now on; none is the time to live that it has.
func (c *Client) Renew(ctx context.Context, id, ttl string) (t wire.Task, err error) {
	_, err = c.ask(ctx, http.MethodPut, taskPath(id)+"/lease", wire.Renew{TTL: ttl}, &t)
	return t, err
}

// Kill ends a task's processes, and with them the task. done says that it is gone; otherwise
// that took longer than a request has, and goes on.
func (c *Client) Kill(ctx context.Context, id string) (done bool, err error) {
	status, err := c.ask(ctx, http.MethodPost, taskPath(id)+"/kill", nil, nil)
	return err == nil && status == http.StatusNoContent, err
}

// Attach mounts a volume beneath the task's sandbox.
func (c *Client) Attach(ctx context.Context, task string, request wire.Attach) (a wire.Attachment, err error) {
	_, err = c.ask(ctx, http.MethodPost, taskPath(task)+"/attachments", request, &a)
	return a, err
}

// SetMode makes a volume read-only for a task that runs, or writable again.
func (c *Client) SetMode(ctx context.Context, task string, request wire.SetMode) (t wire.Task, err error) {
	_, err = c.ask(ctx, http.MethodPatch, taskPath(task)+"/attachments", request, &t)
	return t, err
}

// Detach takes a volume away from a task: at one path, or everywhere where that is
// empty. lazy lets go of a mount although processes use it.
func (c *Client) Detach(ctx context.Context, task, volume, path string, lazy bool) error {
	q := url.Values{"volume": {volume}, "lazy": {strconv.FormatBool(lazy)}}
	if path != "" {
		q.Set("path", path)
	}
	_, err := c.ask(ctx, http.MethodDelete, taskPath(task)+"/attachments?"+q.Encode(), nil, nil)
	return err
}

func taskPath(id string) string { return "/v1/tasks/" + url.PathEscape(id) }

// longestPage is the most that the agent gives at once.
const longestPage = 1000

// pageQuery is the query for a page, with other names and values in it.
func pageQuery(after string, limit int, other ...string) string {
	q := url.Values{}
	for pair := range slices.Chunk(other, 2) {
		q.Set(pair[0], pair[1])
	}
	if after != "" {
		q.Set("after", after)
	}
	if limit != 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	if len(q) == 0 {
		return ""
	}
	return "?" + q.Encode()
}

// all yields the items of every page.
func all[T any](page func(after string) (items []T, next string, err error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for after, more := "", true; more; {
			items, next, err := page(after)
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, item := range items {
				if !yield(item, nil) {
					return
				}
			}
			after, more = next, next != ""
		}
	}
}
