// Package lint holds the house rules that an ordinary linter cannot: who may import
// whom, which package may make system calls, how long a function may be, which keys a
// log line has. Its test runs them over the whole repository; each finding says the
// rule, the reason for it and how to mend it.
//
// It works on syntax alone, so it is fast and needs no build; it is not for what
// needs types, which is staticcheck's work. Directories that the go command passes over
// (testdata, and names that begin with a dot or an underscore) are passed over here.
//
// Exceptions are made in the tables of this package and nowhere else, each with its
// reason beside it.
package lint
