package report

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // The page and its style are part of the program.
	"encoding/base64"
	"fmt"
	"html/template"
	"strings"
)

//go:embed page.html.tmpl
var pageText string

//go:embed page.css
var pageStyle string

// StyleHash is what a Content-Security-Policy allows the page's style by: a source of style-src, with its quotes.
func StyleHash() string {
	sum := sha256.Sum256([]byte(pageStyle))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// parsePage parses the page. The style is the project's own and goes in as it is; all else is escaped where it stands.
func parsePage() (*template.Template, error) {
	style := template.CSS(pageStyle) //nolint:gosec // It is embedded, no part of it comes from outside.
	page, err := template.New("page").Funcs(template.FuncMap{"style": func() template.CSS { return style }}).Parse(pageText)
	if err != nil {
		return nil, fmt.Errorf("parse the page: %w", err)
	}
	return page, nil
}

// html writes an outline as a document of its own.
func html(page *template.Template, o outline) ([]byte, error) {
	var b bytes.Buffer
	if err := page.Execute(&b, o.printable()); err != nil {
		return nil, fmt.Errorf("write the page: %w", err)
	}
	return b.Bytes(), nil
}

// printable returns the outline without the invisible runes that names and notes may hold.
func (o outline) printable() outline {
	clean := func(t string) string {
		return strings.Join(strings.FieldsFunc(strings.ToValidUTF8(t, "\uFFFD"), unprintable), " ")
	}
	all := func(texts []string) []string {
		out := make([]string, len(texts))
		for i, t := range texts {
			out[i] = clean(t)
		}
		return out
	}
	out := outline{Title: clean(o.Title), Lead: all(o.Lead), Disclaimer: clean(o.Disclaimer)}
	for _, s := range o.Sections {
		next := section{Heading: s.Heading, Paragraphs: all(s.Paragraphs), Items: all(s.Items)}
		for _, t := range s.Tables {
			rows := make([][]string, len(t.Rows))
			for i, row := range t.Rows {
				rows[i] = all(row)
			}
			next.Tables = append(next.Tables, table{Header: t.Header, Rows: rows})
		}
		out.Sections = append(out.Sections, next)
	}
	return out
}
