package lint

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// Module is the path that imports of this repository begin with.
const Module = "tenon"

// Tree is a repository, parsed.
type Tree struct {
	fsys  fs.FS
	fset  *token.FileSet
	files []*file
}

// file is one Go file.
type file struct {
	path   string // from the repository's root, with slashes
	dir    string // "." for the root
	isTest bool
	lines  int
	syntax *ast.File
}

// Finding is one place where a rule does not hold.
type Finding struct {
	// Where is a file, with the line where there is one.
	Where string

	// What is wrong there.
	What string
}

// Load parses all Go files of a repository. A file that does not parse is an error.
func Load(fsys fs.FS) (*Tree, error) {
	t := &Tree{fsys: fsys, fset: token.NewFileSet()}
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && passedOver(d.Name()):
			return fs.SkipDir
		case d.IsDir() || path.Ext(name) != ".go":
			return nil
		}
		return t.parse(name)
	})
	if err != nil {
		return nil, fmt.Errorf("load repository: %w", err)
	}
	return t, nil
}

// passedOver says whether the go command passes a directory over.
func passedOver(name string) bool {
	return name == "testdata" || name != "." && (name[0] == '.' || name[0] == '_')
}

// parse adds one Go file.
func (t *Tree) parse(name string) error {
	source, err := fs.ReadFile(t.fsys, name)
	if err != nil {
		return err
	}
	syntax, err := parser.ParseFile(t.fset, name, source, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	t.files = append(t.files, &file{
		path:   name,
		dir:    path.Dir(name),
		isTest: strings.HasSuffix(name, "_test.go"),
		lines:  t.fset.File(syntax.FileStart).LineCount(),
		syntax: syntax,
	})
	return nil
}

// at makes a finding of a place in a file.
func (t *Tree) at(pos token.Pos, format string, args ...any) Finding {
	p := t.fset.Position(pos)
	return Finding{Where: fmt.Sprintf("%s:%d", p.Filename, p.Line), What: fmt.Sprintf(format, args...)}
}

// line returns the line of a place.
func (t *Tree) line(pos token.Pos) int { return t.fset.Position(pos).Line }

// each calls visit for every node of type N in the file.
func each[N ast.Node](f *file, visit func(N)) {
	ast.Inspect(f.syntax, func(n ast.Node) bool {
		if n, ok := n.(N); ok {
			visit(n)
		}
		return true
	})
}

// imports says whether the file imports a package.
func (f *file) imports(name string) bool {
	for _, spec := range f.syntax.Imports {
		if imported(spec) == name {
			return true
		}
	}
	return false
}

// imported returns the path of an import.
func imported(spec *ast.ImportSpec) string {
	name, _ := literal(spec.Path)
	return name
}

// literal returns the value of a string literal.
func literal(e ast.Expr) (value string, ok bool) {
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return "", false
	}
	value, err := strconv.Unquote(lit.Value)
	return value, err == nil
}

// selected returns the parts of an expression x.name; x is "" where it is not a
// plain name.
func selected(e ast.Expr) (x, name string) {
	s, ok := e.(*ast.SelectorExpr)
	if !ok {
		return "", ""
	}
	if id, ok := s.X.(*ast.Ident); ok {
		x = id.Name
	}
	return x, s.Sel.Name
}

// covers says whether a pattern of the tables covers a directory or a file: exactly,
// by path.Match, or everything beneath "dir/...".
func covers(pattern, name string) bool {
	if dir, ok := strings.CutSuffix(pattern, "/..."); ok {
		return name == dir || strings.HasPrefix(name, dir+"/")
	}
	ok, err := path.Match(pattern, name)
	return ok && err == nil
}
