package report

import (
	"strings"
	"unicode"
)

// markdown writes an outline as GitHub-flavoured Markdown.
func markdown(o outline) []byte {
	var b strings.Builder
	b.WriteString("# " + escape(o.Title) + "\n")
	paragraphs := func(texts []string) {
		for _, t := range texts {
			b.WriteString("\n" + escape(t) + "\n")
		}
	}
	paragraphs(o.Lead)
	for _, s := range o.Sections {
		b.WriteString("\n## " + escape(s.Heading) + "\n")
		paragraphs(s.Paragraphs)
		for _, t := range s.Tables {
			b.WriteString("\n")
			markdownRow(&b, t.Header)
			b.WriteString(strings.Repeat("| --- ", len(t.Header)) + "|\n")
			for _, row := range t.Rows {
				markdownRow(&b, row)
			}
		}
		if len(s.Items) > 0 {
			b.WriteString("\n")
		}
		for _, item := range s.Items {
			b.WriteString("- " + escape(item) + "\n")
		}
	}
	if o.Disclaimer != "" {
		b.WriteString("\n---\n\n" + escape(o.Disclaimer) + "\n")
	}
	return []byte(b.String())
}

// markdownRow writes one row of a table.
func markdownRow(b *strings.Builder, cells []string) {
	for _, cell := range cells {
		b.WriteString("| " + escape(cell) + " ")
	}
	b.WriteString("|\n")
}

// escape makes a text mean itself in Markdown, on one line: in a paragraph, a heading, a list item or a table's cell.
func escape(text string) string {
	line := []rune(strings.Join(strings.FieldsFunc(strings.ToValidUTF8(text, "\uFFFD"), unprintable), " "))
	var b strings.Builder
	digits := true // Whether all runes so far are digits: a number, a dot and a space would begin a list.
	for i, r := range line {
		switch r {
		case '\\', '`', '*', '[', ']', '|', '~', '$':
			b.WriteByte('\\')
		case '_':
			if i == 0 || i == len(line)-1 || !wordly(line[i-1]) || !wordly(line[i+1]) {
				b.WriteByte('\\')
			}
		case '#', '=':
			if i == 0 {
				b.WriteByte('\\')
			}
		case '-', '+': // A sign stays; a list or a rule would begin here.
			if i == 0 && (i == len(line)-1 || line[i+1] == ' ' || line[i+1] == r) {
				b.WriteByte('\\')
			}
		case '.', ')':
			if i > 0 && digits && (i == len(line)-1 || line[i+1] == ' ') {
				b.WriteByte('\\')
			}
		case '<':
			b.WriteString("&lt;")
			continue
		case '>':
			b.WriteString("&gt;")
			continue
		case '&':
			b.WriteString("&amp;")
			continue
		}
		digits = digits && r >= '0' && r <= '9'
		b.WriteRune(r)
	}
	return b.String()
}

// unprintable reports whether a rune is white space, or would show as nothing or turn the text's direction.
func unprintable(r rune) bool {
	return unicode.IsSpace(r) || unicode.IsControl(r) || unicode.Is(unicode.Cf, r)
}

// wordly reports whether a rune is part of a word, within which an underscore stands for itself.
func wordly(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }
