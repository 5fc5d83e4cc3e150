package lint

import (
	"go/ast"
	"go/token"
	"maps"
	"regexp"
	"slices"
	"strings"
)

var leftover = regexp.MustCompile(`\b(TODO|FIXME|XXX|HACK)\b`)

func checkLeftovers(t *Tree) (found []Finding) {
	for _, f := range t.files {
		for _, group := range f.syntax.Comments {
			for _, c := range group.List {
				if word := leftover.FindString(c.Text); word != "" {
					found = append(found, t.at(c.Pos(), "%s", word))
				}
			}
		}
	}
	return found
}

// checkPackageComments wants one comment a package. A package that is tests only has
// it in a test.
func checkPackageComments(t *Tree) (found []Finding) {
	packages := map[string][]*file{} // by directory
	for _, f := range t.files {
		if !strings.HasSuffix(f.syntax.Name.Name, "_test") {
			packages[f.dir] = append(packages[f.dir], f)
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(packages)) {
		files := packages[dir]
		var commented []*file
		for _, f := range files {
			if isPackageComment(f) {
				commented = append(commented, f)
			}
		}
		switch {
		case len(commented) == 0:
			found = append(found, Finding{dir, "no package comment"})
		case len(commented) > 1:
			found = append(found, Finding{commented[1].path, "a second package comment; the first is in " + commented[0].path})
		}
	}
	return found
}

// isPackageComment says whether the text above a file's package clause is one.
func isPackageComment(f *file) bool {
	text, name := f.syntax.Doc.Text(), f.syntax.Name.Name
	if name == "main" {
		return strings.HasPrefix(text, "Command ")
	}
	return strings.HasPrefix(text, "Package "+name+" ")
}

// checkExported wants a comment on every exported name: functions, methods of
// exported types, types, methods in interfaces, constants and variables. A comment
// above a group of constants or variables is one for all of them.
func checkExported(t *Tree) (found []Finding) {
	for _, f := range t.files {
		if f.isTest || f.syntax.Name.Name == "main" {
			continue
		}
		for _, decl := range f.syntax.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() && d.Doc == nil && ast.IsExported(receiver(d)) {
					found = append(found, t.at(d.Pos(), "%s has no comment", d.Name.Name))
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					found = append(found, t.undocumented(d, spec)...)
				}
			}
		}
	}
	return found
}

// receiver returns the name of a method's type; a function's own name.
func receiver(d *ast.FuncDecl) string {
	if d.Recv == nil {
		return d.Name.Name
	}
	e := d.Recv.List[0].Type
	for {
		switch x := e.(type) {
		case *ast.StarExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.IndexListExpr:
			e = x.X
		case *ast.Ident:
			return x.Name
		default:
			return ""
		}
	}
}

// undocumented looks at one type, constant or variable.
func (t *Tree) undocumented(d *ast.GenDecl, spec ast.Spec) (found []Finding) {
	switch s := spec.(type) {
	case *ast.TypeSpec:
		if s.Name.IsExported() && d.Doc == nil && s.Doc == nil {
			found = append(found, t.at(s.Pos(), "%s has no comment", s.Name.Name))
		}
		if i, ok := s.Type.(*ast.InterfaceType); ok && s.Name.IsExported() {
			found = append(found, t.undocumentedMethods(s.Name.Name, i)...)
		}
	case *ast.ValueSpec:
		if d.Doc != nil || s.Doc != nil || s.Comment != nil || d.Tok == token.IMPORT {
			return nil
		}
		for _, name := range s.Names {
			if name.IsExported() {
				found = append(found, t.at(name.Pos(), "%s has no comment", name.Name))
			}
		}
	}
	return found
}

// undocumentedMethods looks at an interface, whose methods are contracts.
func (t *Tree) undocumentedMethods(name string, i *ast.InterfaceType) (found []Finding) {
	for _, m := range i.Methods.List {
		if len(m.Names) > 0 && m.Names[0].IsExported() && m.Doc == nil && m.Comment == nil {
			found = append(found, t.at(m.Pos(), "%s.%s has no comment", name, m.Names[0].Name))
		}
	}
	return found
}
