package sdk_test

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// public are the folders of the packages that authors of islands read.
var public = []string{".", "process", "upstream", "latest", "islandtest", "islandtest/servers", "conformance"}

// TestEveryExportedNameIsDocumented finds a package, type, function, method, constant, variable or field that an author meets
// without a word. A group of constants or of fields may share a comment, and so may each have one at the end of its line.
func TestEveryExportedNameIsDocumented(t *testing.T) {
	for _, folder := range public {
		t.Run(folder, func(t *testing.T) {
			pkg := parsed(t, folder)
			if pkg.Doc == "" {
				t.Error("the package has no comment")
			}
			names(t, "", pkg.Consts, pkg.Vars, pkg.Funcs)
			for _, typ := range pkg.Types {
				if typ.Doc == "" {
					t.Errorf("the type %s has no comment", typ.Name)
				}
				names(t, typ.Name+".", typ.Consts, typ.Vars, append(typ.Funcs, typ.Methods...))
				for _, spec := range typ.Decl.Specs {
					if s, ok := spec.(*ast.TypeSpec); ok {
						members(t, s, typ.Doc)
					}
				}
			}
		})
	}
}

// parsed is the documentation of the package in a folder, whatever systems its files are for.
func parsed(t *testing.T, folder string) *doc.Package {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	var files []*ast.File
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(fset, path, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	pkg, err := doc.NewFromFiles(fset, files, "github.com/service-islands/islands/sdk/"+folder)
	if err != nil {
		t.Fatal(err)
	}
	return pkg
}

// names finds what has no comment among constants, variables and functions.
func names(t *testing.T, of string, consts, vars []*doc.Value, funcs []*doc.Func) {
	t.Helper()
	for _, value := range append(consts, vars...) {
		for _, spec := range value.Decl.Specs {
			s, ok := spec.(*ast.ValueSpec)
			if !ok {
				continue
			}
			for _, name := range s.Names {
				if name.IsExported() && value.Doc == "" && s.Doc.Text() == "" && s.Comment.Text() == "" {
					t.Errorf("%s has no comment", name.Name)
				}
			}
		}
	}
	for _, f := range funcs {
		if f.Doc == "" {
			t.Errorf("%s%s has no comment", of, f.Name)
		}
	}
}

// members finds what has no comment among the exported fields of a struct and the methods of an interface. The comment of the
// type or of a neighbour will do if it names the field.
func members(t *testing.T, spec *ast.TypeSpec, said string) {
	t.Helper()
	var list []*ast.Field
	switch typ := spec.Type.(type) {
	case *ast.StructType:
		list = typ.Fields.List
	case *ast.InterfaceType:
		list = typ.Methods.List
	}
	for _, field := range list {
		said += field.Doc.Text()
	}
	for _, field := range list {
		if strings.TrimSpace(field.Doc.Text()+field.Comment.Text()) != "" {
			continue
		}
		for _, name := range field.Names {
			if name.IsExported() && !regexp.MustCompile(`\b`+name.Name+`\b`).MatchString(said) {
				t.Errorf("%s.%s has no comment", spec.Name.Name, name.Name)
			}
		}
	}
}
