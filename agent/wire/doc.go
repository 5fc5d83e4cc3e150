// Package wire is how Tenon speaks JSON: the answers and requests that the HTTP API,
// its client and the masters share, made of a volume.State by pure functions.
//
// It is not for Mesos' own messages, which package resource reads and writes; where an
// answer holds a resource, it is in Mesos' new reservation format. Operations turns
// Mesos' Offer.Operation into the operations that the agent knows.
//
// Sizes are in bytes, times in RFC 3339 and UTC. Lists are never null. Decode reads
// what is sent strictly: a field that nobody knows, or that comes twice, is an error
// that names it. The golden files in testdata are the format: a change of them is a
// change for every client.
package wire
