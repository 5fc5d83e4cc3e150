// Package master joins the agent to the masters above it, of whatever kind and however many.
//
// A Client speaks to one master; the Supervisor runs all of them side by side, and gives each
// a Node, which is all that it sees of the agent. A Session is what every kind of client is
// made of: when to report, what to report, and how orders are carried out. What is left for a
// kind (packages webhook and etcd) is the way to its master.
//
// A report is the whole latest state, never a change: whoever missed any number of them knows
// everything from the next. Nothing is sent that is not newer, and nothing waits in a line.
//
// An order is a batch of operations with an id. It is done once, however often it is asked for,
// also when the agent or the host starts again in between: what became of it is recorded in the
// same transaction as what it changes (volume.Identified), under the name of its master, so that
// ids of two masters never meet. That record is among the last volume.MaxOperations of the agent;
// an order that is asked for again later than that is a new one. What became of an order is told
// until the master acknowledges it. Orders are independent of each other and done side by side:
// what must come after something else goes into the same order, or waits for the result.
//
// A master that hangs, floods or lies costs the agent a bounded number of goroutines and a
// bounded amount of memory: what is read from it is limited, its orders are limited in number and
// rate, and what its client panics with is an error among others. Losing a master changes nothing
// on the host.
package master
