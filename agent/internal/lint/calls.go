package lint

import (
	"go/ast"
	"slices"
	"strings"
)

// checkPrinting finds what writes to standard output or error behind everybody's back.
func checkPrinting(t *Tree) (found []Finding) {
	for _, f := range t.files {
		if f.isTest || covers("cmd/...", f.dir) {
			continue
		}
		each(f, func(call *ast.CallExpr) {
			pkg, name := selected(call.Fun)
			id, _ := call.Fun.(*ast.Ident)
			switch {
			case pkg == "fmt" && strings.HasPrefix(name, "Print"):
				found = append(found, t.at(call.Pos(), "fmt.%s", name))
			case id != nil && id.Name == "println": // print may well be a parameter
				found = append(found, t.at(call.Pos(), "println"))
			case pkg == "slog" && (name == "Default" || name == "SetDefault"):
				found = append(found, t.at(call.Pos(), "slog.%s: the logger is handed in", name))
			}
		})
	}
	return found
}

// checkSleeping finds sleeps in tests. In a file that uses testing/synctest they pass
// in a bubble's own time.
func checkSleeping(t *Tree) (found []Finding) {
	for _, f := range t.files {
		if !f.isTest || f.imports("testing/synctest") {
			continue
		}
		each(f, func(call *ast.CallExpr) {
			if pkg, name := selected(call.Fun); pkg == "time" && name == "Sleep" {
				found = append(found, t.at(call.Pos(), "time.Sleep"))
			}
		})
	}
	return found
}

// skippers are the files and packages whose helpers may skip a test.
var skippers = map[string]string{
	"agent/host/io_test.go":           "requireIO: a controller of input and output, and a disk",
	"cmd/tenon/fuse_test.go":          "mountFuse: /dev/fuse",
	"agent/master/mastertest/etcd.go": "StartEtcd: the server of etcd",
	"agent/pool/power_test.go":        "newDisk: mkfs and loop devices",
	"isolator/cgroup/io_test.go":      "onDisk, limiting: a disk, a controller of input and output",
	"isolator/quota/disk_test.go":     "newDisk: mkfs, loop devices and project quotas",
	"isolator/quota/off_test.go":      "runAll: programs that know simple quotas",
	"mount/mounttest":                 "the Require helpers",
	"systemd/main_test.go":            "requireThing: the service manager and its tools",
}

// checkSkipping finds skips outside the helpers.
func checkSkipping(t *Tree) (found []Finding) {
	for _, f := range t.files {
		if !f.imports("testing") || allowed(skippers, f) {
			continue
		}
		each(f, func(call *ast.CallExpr) {
			x, name := selected(call.Fun)
			if x != "" && (name == "Skip" || name == "Skipf" || name == "SkipNow") {
				found = append(found, t.at(call.Pos(), "%s.%s", x, name))
			}
		})
	}
	return found
}

// logKeys are the keys of log attributes. Sizes are in bytes, durations are
// time.Duration, err is an error.
var logKeys = []string{
	"addr", "agent", "bytes", "cgroup", "count", "disk", "err", "file", "generation", "group", "level", "master",
	"method", "mode", "offset", "op", "path", "phase", "pid", "pool", "principal", "project", "reason",
	"role", "signal", "socket", "status", "step", "target", "task", "took", "unit", "version", "volume",
}

// logMethods are the functions and methods that take keys: the position of the first
// one, and of the message before it, -1 if there is none.
var logMethods = map[string]struct{ message, key int }{
	"Debug": {0, 1}, "Info": {0, 1}, "Warn": {0, 1}, "Error": {0, 1},
	"DebugContext": {1, 2}, "InfoContext": {1, 2}, "WarnContext": {1, 2}, "ErrorContext": {1, 2},
	"Log": {2, 3}, "LogAttrs": {2, 3}, "With": {-1, 0},
}

// attrMakers are the functions of log/slog whose first argument is a key.
var attrMakers = []string{"Any", "Bool", "Duration", "Float64", "Group", "Int", "Int64", "String", "Time", "Uint64"}

// checkLogKeys finds keys that are not in the table, and messages that vary or do not
// begin in lower case. Without types, a call counts as logging by its name and the
// text that its message is.
func checkLogKeys(t *Tree) (found []Finding) {
	for _, f := range t.files {
		if f.isTest || !f.imports("log/slog") {
			continue
		}
		each(f, func(call *ast.CallExpr) {
			pkg, name := selected(call.Fun)
			if pkg == "slog" && slices.Contains(attrMakers, name) && len(call.Args) > 0 {
				found = append(found, t.badKey(call.Args[0])...)
			}
			method, ok := logMethods[name]
			if !ok || len(call.Args) <= method.key-1 {
				return
			}
			if method.message >= 0 {
				message, constant := literal(call.Args[method.message])
				if !constant {
					return
				}
				if message == "" || message[0] >= 'A' && message[0] <= 'Z' {
					found = append(found, t.at(call.Pos(), "message %q begins in upper case", message))
				}
			}
			found = append(found, t.badKeys(call.Args[method.key:])...)
		})
	}
	return found
}

// badKeys looks at arguments that are keys and values by turns; an attribute made by
// a call takes the place of both.
func (t *Tree) badKeys(args []ast.Expr) (found []Finding) {
	for i := 0; i < len(args); i++ {
		if _, attr := args[i].(*ast.CallExpr); attr {
			continue
		}
		found = append(found, t.badKey(args[i])...)
		i++
	}
	return found
}

// badKey looks at one key. What is not a literal is a constant or a variable that
// stands for one; those are not known here.
func (t *Tree) badKey(e ast.Expr) []Finding {
	key, ok := literal(e)
	if !ok || slices.Contains(logKeys, key) {
		return nil
	}
	return []Finding{t.at(e.Pos(), "log key %q", key)}
}
