// Package etcd is the client of masters that meet the agent in an etcd: whoever can read and
// write keys there is the master.
//
// The URL is etcd://host:port,host2:port/prefix, or etcds:// for TLS. Beneath the prefix an
// agent has its own keys:
//
//	<agent>/alive           who the agent is (Alive), under a lease: gone when it is not heard from
//	<agent>/status          Status, written after all that it counts
//	<agent>/volumes/<uuid>  Volume
//	<agent>/tasks/<id>      Task
//	<agent>/orders/<id>     master.Order, put there by a master
//	<agent>/results/<id>    Result; a master removes what it has read
//
// The agent writes the first four, only what changed since it wrote last, in transactions of a
// bounded size. Keys that are not its own are removed from volumes/ and tasks/, and what
// somebody else has written or removed there is written again, after a heartbeat at the latest.
// An agent that starts again writes over what it finds: no key vanishes of what is still there.
//
// A value that is larger than 1 MiB is written without a part of what it has, and with
// "truncated": true, so that one that etcd would refuse does not keep the others from being
// written: a status without reservations, a volume without resource and holders, a task without
// attachments, a result with the beginning of its message. A volume that has more than 500 holders
// is written with the first 500 of them. Which key it is and why is in the agent's own status, as
// incomplete of this master, for as long as it lasts.
//
// An order is answered by one transaction that writes its result and removes it. The result is
// acknowledged to the agent when that transaction is known to have been made; when that is not
// known, it is made again, where the order is still there. An order that a master removes
// before it is answered may have been carried out all the same.
//
// The watch of orders is a doorbell only: orders are listed, without their contents, and then
// read one by one, so that many or large ones take no memory, and so that a lost watch, a
// compaction or a restart of etcd misses nothing.
package etcd
