package acceptance

import (
	"strings"
	"testing"

	"tenon/agent/resource"
)

// A who says whose case it is.
type who string

const (
	byAgent  who = ""            // an agent's: check, each or elsewhere show it
	byMaster who = "master-only" // only a master, a framework or an allocator can show it
	notBuilt who = "later"       // an agent's, about something that does not exist yet
)

// A row says what shows a case. Where several fields do, all of them must.
type row struct {
	id        string
	check     func(*testing.T)                      // shows it here
	each      func(*testing.T, resource.SourceType) // shows it here, once for each kind of disk
	elsewhere []string                              // tests that show it: "agent/host.TestX" or "cmd/tenon.TestX/part"
	better    string                                // where Tenon differs on purpose: its rule, which is what is checked
	who       who
	why       string // of a case that is not shown
}

// fault says what is wrong with the row of a case; "" is nothing.
func (r row) fault(c kase) string {
	shown := r.check != nil || r.each != nil || len(r.elsewhere) > 0
	switch {
	case r.who == byAgent && !shown:
		return "nothing shows it"
	case r.who == byAgent && r.why != "":
		return "it is shown, and says why it is not"
	case r.who != byAgent && (shown || r.better != ""):
		return "it is shown, and said to be " + string(r.who)
	case r.who != byAgent && r.why == "":
		return "it does not say why nothing shows it"
	case r.check != nil && c.disks && r.each == nil:
		return "the case is for each kind of disk, the check for one"
	case r.each != nil && !c.disks:
		return "the check is for each kind of disk, the case is not"
	}
	return ""
}

// run makes the checks of a row and says whether all have passed.
func (r row) run(t *testing.T) bool {
	return t.Run(r.id, func(t *testing.T) {
		if r.check != nil {
			r.check(t)
		}
		if r.each == nil {
			return
		}
		for _, kind := range kinds {
			t.Run(name(kind), func(t *testing.T) { r.each(t, kind) })
		}
	})
}

// root is the kind of the root disk, which has no source.
const root resource.SourceType = ""

// kinds are the kinds of disk that cases are shown for.
var kinds = []resource.SourceType{root, resource.SourcePath, resource.SourceMount}

func name(kind resource.SourceType) string {
	if kind == root {
		return "root"
	}
	return strings.ToLower(string(kind))
}
