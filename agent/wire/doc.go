// Package wire is how Tenon speaks JSON: the answers and requests that the HTTP API,
// its client and the masters share, made of a volume.State by pure functions.
//
// It is not for Mesos' own operations and resources, which package resource reads and
// writes; where an answer holds a resource, it is in Mesos' new reservation format, or in
// both where a field of Mesos' own has it so. FromMesos turns Mesos' Offer.Operation into
// the operations that the agent knows. Call and what belongs to it are the calls of Mesos'
// operators, with the statuses and words that its master has for them.
//
// Sizes are in bytes, but the amounts of resources, which are Mesos', are in MiB. Times are
// in RFC 3339 and UTC. Lists are never null, except where Mesos has none. Decode reads
// what is sent strictly: a field that nobody knows, or that comes twice, is an error
// that names it. The golden files in testdata are the format: a change of them is a
// change for every client.
package wire
