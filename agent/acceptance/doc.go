// Package acceptance is the acceptance list: every case of spec.md 12, which is every
// behaviour of Apache Mesos' persistent volumes that a test of Mesos pins, and some more.
//
// It holds tests alone. The cases are testdata/mesos/acceptance/cases.txt; each has one row
// in the table of this package, which says what shows the case: a check here against a real
// agent over a kernel in memory, a test of another package, or, as words, why nothing does.
// A case without a row, or a row without a case, fails the test, so that none is silently
// missing. A case that is not shown is never counted as passed.
//
// `make acceptance` runs the checks and the tests of other packages, and prints the table.
package acceptance
