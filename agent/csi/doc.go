// Package csi serves the agent to Kubernetes and Nomad: CSI v1.13 (Identity, Controller and
// Node) and the registration of plugins that the kubelet asks for, over gRPC on unix sockets.
// README.md beside it says how to deploy it.
//
// It decodes, asks the agent and encodes. It keeps nothing: what a volume is called, which
// target shows it and who holds it follow from requests and from the agent's state alone, so
// it can be killed at any instant, and whatever a container orchestrator repeats finds the
// work done.
//
// It is not for mounting, nor for rules about volumes: the agent has them, and every way in
// meets the same ones. What it decides is what CSI asks of a plugin: the form of requests,
// which access modes there are, and whom it answers: root and the agent's own user.
//
// Invariants:
//
//   - A volume is named by its UUID and the agent's, "<volume>.<agent>", so that no other
//     node takes it for its own, and it keeps its name through changes of role.
//   - A target lies beneath one of the allowed roots. The directory that it lies in is the
//     sandbox of a task whose name follows from that directory's, and the target's last
//     element is where the volume appears in it.
//   - Every code of an answer comes from one table over the kinds of package volume.
package csi
