package lint

// Rule is one house rule.
type Rule struct {
	// Name is the rule itself, as a sentence.
	Name string

	// Reason is why there is such a rule.
	Reason string

	// Mend is what to do about a finding.
	Mend string

	// Check finds the places where the rule does not hold.
	Check func(*Tree) []Finding
}

// Rules are all house rules.
func Rules() []Rule {
	return []Rule{
		{"the top level stays as it is",
			"it is given from outside and is what people find their way by",
			"put the file where it belongs beneath one of the directories",
			checkTopLevel},
		{"imports point down",
			"design.md 5: what lies below can be read, tested and trusted alone",
			"move the code to the side that may know of the other, or declare a small interface next to the caller",
			checkDirections},
		{"some packages may be imported in few places only",
			"each has a price that one place pays for all",
			"call the package that is allowed to, or add the place with its reason to the table restricted",
			checkRestricted},
		{"only commands print",
			"results and logs of a daemon have one way out each",
			"return it, or log it with the logger that was handed in",
			checkPrinting},
		{"a test never sleeps",
			"what depends on time fails on a slow machine and is slow on a fast one",
			"wait for the event itself, or run in a bubble of testing/synctest",
			checkSleeping},
		{"only a Require helper skips a test",
			"a skip nobody decided on is a test nobody runs",
			"use a Require helper of mount/mounttest, or add the file with its reason to the table skippers",
			checkSkipping},
		{"a file has at most 400 lines, tests aside",
			"it holds one thing that can be read in one go",
			"split it by subject, or add it with its reason to the table longFiles",
			checkFileLengths},
		{"a function has at most 60 lines, tables not counted",
			"it does one thing on one level of abstraction",
			"give its parts names, or add it with its reason to the table longFunctions",
			checkFunctionLengths},
		{"nothing is left for later in a comment",
			"nobody comes back for it",
			"do it now, or open an issue",
			checkLeftovers},
		{"a package has one package comment",
			"it says what the package is for, what it is not for, and its invariants",
			"write it above one package clause: \"Package x ...\", \"Command x ...\" for a command",
			checkPackageComments},
		{"what is exported is documented",
			"units, errors, durability and concurrency are part of an interface",
			"write a comment above it that begins with its name, or make it unexported",
			checkExported},
		{"a log line has known keys",
			"a search for volume=x must find every line about it",
			"use a key of the table logKeys; add one there only if none fits",
			checkLogKeys},
	}
}
