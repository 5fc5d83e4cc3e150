package lint

import (
	"fmt"
	"go/ast"
)

const (
	maxFileLines     = 400
	maxFunctionLines = 60
)

// longFiles are files that may be longer, each with its reason. Tests may: a table of
// cases is long where the thing has many.
var longFiles = map[string]string{}

// longFunctions are functions that may be longer, as "file.go:name", each with its
// reason.
var longFunctions = map[string]string{}

func checkFileLengths(t *Tree) (found []Finding) {
	for _, f := range t.files {
		if _, may := longFiles[f.path]; f.lines > maxFileLines && !f.isTest && !may {
			found = append(found, Finding{f.path, fmt.Sprintf("%d lines", f.lines)})
		}
	}
	return found
}

func checkFunctionLengths(t *Tree) (found []Finding) {
	for _, f := range t.files {
		for _, fn := range functions(f) {
			_, may := longFunctions[f.path+":"+fn.Name.Name]
			if lines := t.functionLines(fn); lines > maxFunctionLines && !may {
				found = append(found, t.at(fn.Pos(), "%s has %d lines", fn.Name.Name, lines))
			}
		}
	}
	return found
}

// functions returns a file's functions and methods that have a body.
func functions(f *file) (list []*ast.FuncDecl) {
	for _, decl := range f.syntax.Decls {
		if fn, ok := decl.(*ast.FuncDecl); ok && fn.Body != nil {
			list = append(list, fn)
		}
	}
	return list
}

// functionLines counts a function's lines without those that are only there because
// a composite literal, that is a table, has more than one.
func (t *Tree) functionLines(fn *ast.FuncDecl) int {
	lines := t.line(fn.End()) - t.line(fn.Pos()) + 1
	ast.Inspect(fn, func(n ast.Node) bool {
		table, ok := n.(*ast.CompositeLit)
		if ok {
			lines -= t.line(table.End()) - t.line(table.Pos())
		}
		return !ok
	})
	return lines
}
