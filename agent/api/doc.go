// Package api serves the agent over HTTP and JSON on a unix socket and, where that is
// configured, over TLS. openapi.yaml beside it describes every route, and GET
// /v1/openapi.yaml hands it out.
//
// It decodes, asks the agent and encodes; it decides nothing about volumes, and a rule
// that it enforced would be missing for every other way in. What it does decide is who
// may ask at all: root, the agent's own user and the members of one group, known by the
// credentials that the kernel gives for the other end of the socket; elsewhere, whoever
// has a certificate that names a principal. It gives the agent the rules of package access
// with each change, leaves out of its answers what a principal may not see, and writes the
// audit file: an entry for each call that asks for a change, before the call is answered.
//
// What one client can make the agent hold is bounded: connections from other hosts, bodies
// and how many of the large ones there are at once, requests at work, those that look at all
// that there is, and streams, also of each principal. Whoever gets no turn in time is told so.
//
// A request that cannot be right is answered before anything is changed. Every refusal
// and failure is a problem (RFC 9457) with a kind of package volume; package wire has
// the one table that gives its HTTP status. On the paths of Mesos' own operator endpoints
// it is plain text instead, with the status that Mesos' master gives. A request that ends before its work has
// (a deadline, a client that hangs up, the agent's shutdown) loses nothing: what was
// recorded goes on, and the same request made again waits for it.
package api
