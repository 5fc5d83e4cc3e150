// Package access says who may do what on an agent, and keeps a record of who did.
//
// ACLs are the operator's rules in the words of Mesos' --acls flag (spec.md 11), ACLs.For
// makes of them the guard that volume.Apply asks about each operation, and ACLs.Visible
// the filter of what is shown. Principals gives the name that rules know for a user or
// group of the host. Audit is a file of the calls that may change something, which names all
// that each of them is about.
//
// It is not for finding out who asks, which is the business of whoever serves the call,
// nor for the checks that a principal is named rightly in a request, which are
// package volume's. Nothing here is secret: no field takes a body or a credential.
//
// All values but Audit are read only and may be used by any number of goroutines once
// they are made. The zero ACLs allow everything to everybody, the zero Principals know
// nobody.
//
// Rules are read in order, and the first that speaks of both the principal and the object
// decides, as in Mesos' authorizer. Spec.md 11 says it shorter, as if the principal alone
// chose the rule; two rules of one principal for two roles would then not work. So a list of
// permissions ends with a ban, {principals = "ANY", roles = "NONE"}, or permissive is false.
package access
