package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"github.com/service-islands/islands/sdk"
)

// settings checks an enabled island's config block against its manifest.
func (l *loader) settings(island *Island, b *islandBlock) {
	if !island.Enabled {
		return
	}
	island.Settings = map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(b.config)) {
		attr := b.config[name]
		setting, known := island.Manifest.Setting(name)
		if b.described && !known {
			l.problem(attr.NameRange, "Unknown setting", "%s has no setting %q.%s", b.binary, name, wayOut(name, island.Manifest))
			continue
		}
		secret := !known || setting.Secret
		if !secret {
			l.show(attr.Expr)
		}
		v, ok := l.evaluate(attr.Expr, secret)
		if !ok {
			island.Settings[name] = nil // Present, so not missing too.
			continue
		}
		if known {
			v = fromText(v, setting.Type)
		}
		value, err := plain(v)
		if err != nil {
			l.problem(attr.Expr.Range(), "Wrong type", "%q cannot be used: %v.", name, err)
			continue
		}
		if value == nil {
			continue
		}
		island.Settings[name] = value
		if secret {
			l.keepSecret(value)
		}
		l.checkSetting(island.Name, setting, known, value, attr)
	}
	l.misplaced(island, b)
	for _, s := range island.Manifest.Settings {
		if _, there := island.Settings[s.Name]; s.Required && !there {
			l.problem(b.end, "Missing setting", "The island %q needs the setting %q.%s", island.Name, s.Name, about(s))
		}
	}
}

// checkSetting notes a value that its setting does not take.
func (l *loader) checkSetting(island string, s sdk.Setting, known bool, value any, attr *hcl.Attribute) {
	if !known {
		return
	}
	if err := s.Check(value); err != nil {
		summary := "Wrong type"
		if s.Type == sdk.DurationSetting {
			summary = "Bad duration"
		}
		l.problem(attr.Expr.Range(), summary, "%q %v.%s", s.Name, err, about(s))
		return
	}
	if s.Required && value == "" {
		l.problem(attr.Expr.Range(), "Missing setting", "The island %q needs the setting %q, which is empty.%s", island, s.Name, about(s))
	}
}

// fromText turns a string into the number or truth that its setting wants, because the environment holds strings alone.
// A string that is neither stays as it is, for the check to refuse.
func fromText(v cty.Value, t sdk.SettingType) cty.Value {
	want := map[sdk.SettingType]cty.Type{
		sdk.IntSetting: cty.Number, sdk.FloatSetting: cty.Number, sdk.BoolSetting: cty.Bool,
	}[t]
	if v.IsNull() || v.Type() != cty.String || want == cty.NilType {
		return v
	}
	if converted, err := convert.Convert(v, want); err == nil {
		return converted
	}
	return v
}

// misplaced tells of what HCL has found out of place, around or in the config block, where it belongs.
func (l *loader) misplaced(island *Island, b *islandBlock) {
	if !b.described {
		return
	}
	if b.own != nil {
		for name, attr := range b.own.Attributes {
			setting, known := island.Manifest.Setting(name)
			if known && !ofIslands(name) {
				if setting.Secret {
					l.hidden = append(l.hidden, attr.Expr)
				}
				l.explain(attr.NameRange, "Setting outside of config", "%q is a setting of the island: write it into config { }.%s", name, about(setting))
			}
		}
	}
	if b.inConfig == nil {
		return
	}
	for _, block := range b.inConfig.Blocks {
		setting, known := island.Manifest.Setting(block.Type)
		switch {
		case known && setting.Type == sdk.ListSetting:
			l.explain(block.TypeRange, "Block in config", "%q is a list: write %s = [\"...\"].%s", block.Type, block.Type, about(setting))
		case known:
			l.explain(block.TypeRange, "Block in config", "%q is no block: write %s = followed by its value.%s", block.Type, block.Type, about(setting))
		default:
			l.explain(block.TypeRange, "Block in config", "Settings are written as name = value; %s has no block %q.%s", b.binary, block.Type,
				wayOut(block.Type, island.Manifest))
		}
	}
}

// explain puts other words into what was noted of a place.
func (l *loader) explain(at hcl.Range, summary, format string, args ...any) {
	for _, d := range l.diags {
		if d.Subject != nil && d.Subject.Start == at.Start {
			d.Summary, d.Detail = summary, fmt.Sprintf(format, args...)
		}
	}
}

// ofIslands reports whether a name is one of those of every island's block.
func ofIslands(name string) bool {
	return slices.ContainsFunc(islandSchema.Attributes, func(a hcl.AttributeSchema) bool { return a.Name == name }) ||
		slices.ContainsFunc(islandSchema.Blocks, func(b hcl.BlockHeaderSchema) bool { return b.Type == name })
}

// wayOut ends a message about a name that an island does not have: with the place where it belongs, with the setting that
// was probably meant and what the island says of it, or with all the settings there are.
func wayOut(name string, m sdk.Manifest) string {
	if ofIslands(name) {
		return fmt.Sprintf(" %q belongs to every island: write it beside config { }, not inside.", name)
	}
	if meant, ok := m.Setting(closest(name, m.SettingNames())); ok {
		return fmt.Sprintf(" Did you mean %q?%s", meant.Name, about(meant))
	}
	return suggest(name, "settings", m.SettingNames())
}

// about is what an island says of a setting, and what it is when it is left out.
func about(s sdk.Setting) string {
	const most = 300 // bytes; a sentence
	doc := strings.TrimSpace(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s.Doc))
	if len(doc) > most {
		doc = strings.ToValidUTF8(doc[:most], "") + "…"
	}
	text := ""
	if doc != "" {
		text = fmt.Sprintf(" The island says of it: %s", doc)
		if !strings.HasSuffix(text, ".") && !strings.HasSuffix(text, "…") {
			text += "."
		}
	}
	switch {
	case s.Required:
		text += " It has no default."
	case s.Default != "" && !s.Secret:
		text += fmt.Sprintf(" Left out, it is %.60q.", s.Default)
	}
	return text
}
