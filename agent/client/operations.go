package client

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"strconv"

	"tenon/agent/resource"
	"tenon/agent/wire"
)

const dryRun = "?dry_run=true"

// Apply applies Mesos' operations, all of them in order or none.
func (c *Client) Apply(ctx context.Context, ops ...resource.Operation) (applied wire.Applied, err error) {
	_, err = c.ask(ctx, http.MethodPost, "/v1/operations", wire.Operations{Operations: ops}, &applied)
	return applied, err
}

// TryApply is Apply that changes nothing: it says what would be refused, and why.
func (c *Client) TryApply(ctx context.Context, ops ...resource.Operation) (applied wire.Applied, err error) {
	_, err = c.ask(ctx, http.MethodPost, "/v1/operations"+dryRun, wire.Operations{Operations: ops}, &applied)
	return applied, err
}

// Operations gives a page of at most limit operations that had ids, those at work first;
// after is the Next of another page, and limit 0 leaves it to the agent. Those that were
// acknowledged are told only if all are wanted.
func (c *Client) Operations(ctx context.Context, after string, all bool, limit int) (page wire.OperationStatuses, err error) {
	_, err = c.ask(ctx, http.MethodGet, "/v1/operations"+pageQuery(after, limit, "all", strconv.FormatBool(all)), nil, &page)
	return page, err
}

// AllOperations yields operations as Operations gives them, page by page; an error ends it.
func (c *Client) AllOperations(ctx context.Context, acknowledged bool) iter.Seq2[wire.OperationStatus, error] {
	return all(func(after string) ([]wire.OperationStatus, string, error) {
		page, err := c.Operations(ctx, after, acknowledged, longestPage)
		return page.Operations, page.Next, err
	})
}

// Operation tells what became of the operation with an id.
func (c *Client) Operation(ctx context.Context, id string) (o wire.OperationStatus, err error) {
	_, err = c.ask(ctx, http.MethodGet, operationPath(id), nil, &o)
	return o, err
}

// Acknowledge says that it is known how the operation ended.
func (c *Client) Acknowledge(ctx context.Context, id string) error {
	_, err := c.ask(ctx, http.MethodDelete, operationPath(id), nil, nil)
	return err
}

func operationPath(id string) string { return "/v1/operations/" + url.PathEscape(id) }
