package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"github.com/service-islands/islands/sdk"
)

// reader reads the attributes of one block. Each method writes what the attribute says to where it is told, leaves the
// default there when the attribute is absent or null, and reports whether what stands there now is good.
type reader struct {
	l *loader
	// content is empty for a block that the file does not have.
	content *hcl.BodyContent
	// at is the block's own line, or the file's start.
	at hcl.Range
}

// read checks a block against what it may consist of. A nil block reads as an empty one.
func (l *loader) read(block *hcl.Block, schema *hcl.BodySchema) reader {
	if block == nil {
		return reader{l: l, content: &hcl.BodyContent{}, at: l.start()}
	}
	content, diags := block.Body.Content(schema)
	l.note(diags)
	return reader{l: l, content: content, at: block.DefRange}
}

// attributes is a schema of optional attributes.
func attributes(names ...string) *hcl.BodySchema {
	schema := &hcl.BodySchema{}
	for _, name := range names {
		schema.Attributes = append(schema.Attributes, hcl.AttributeSchema{Name: name})
	}
	return schema
}

// with adds blocks without a label to a schema.
func with(schema *hcl.BodySchema, types ...string) *hcl.BodySchema {
	for _, t := range types {
		schema.Blocks = append(schema.Blocks, hcl.BlockHeaderSchema{Type: t})
	}
	return schema
}

// sub returns the block's one block of a type, nil when there is none.
func (r reader) sub(blockType string) *hcl.Block {
	return r.l.only(r.content.Blocks.ByType()[blockType])
}

// where is the place of an attribute's value, or of the block.
func (r reader) where(name string) hcl.Range {
	if attr, ok := r.content.Attributes[name]; ok {
		return attr.Expr.Range()
	}
	return r.at
}

// value returns what an attribute comes to. Present is false for an absent or null one, ok for one that fails.
func (r reader) value(name string) (v cty.Value, present, ok bool) {
	attr, there := r.content.Attributes[name]
	if !there {
		return cty.NilVal, false, true
	}
	v, ok = r.l.evaluate(attr.Expr, soundsSecret(name))
	if !ok || v.IsNull() {
		return cty.NilVal, false, ok
	}
	return v, true, true
}

// given reports whether an attribute says something: it is there, and not null.
func (r reader) given(name string) bool {
	_, present, _ := r.value(name)
	return present
}

// wants notes that an attribute has the wrong type.
func (r reader) wants(name, what string, got cty.Value) bool {
	r.l.problem(r.where(name), "Wrong type", "%q wants %s%s.", name, what, not(name, got))
	return false
}

// not says what was given instead, unless the attribute is secret by its name.
func not(name string, got cty.Value) string {
	if soundsSecret(name) {
		return ""
	}
	value, err := plain(got)
	if err != nil {
		return ""
	}
	text, err := json.Marshal(value)
	if err != nil {
		return ""
	}
	return fmt.Sprintf(", not %.60s", text)
}

// missing notes that a block lacks an attribute that it must have.
func (r reader) missing(name, why string) {
	r.l.problem(r.at, "Missing attribute", "%q is required here: %s.", name, why)
}

// text reads a string.
func (r reader) text(name string, into *string) bool {
	v, present, ok := r.value(name)
	if !present {
		return ok
	}
	if v.Type() != cty.String {
		return r.wants(name, "a string", v)
	}
	*into = v.AsString()
	return true
}

// oneOf reads a string that is one of a few.
func (r reader) oneOf(name string, into *string, choices ...string) {
	if r.text(name, into) && !slices.Contains(choices, *into) {
		r.l.problem(r.where(name), "Unknown value", "%q cannot be %q.%s", name, *into, suggest(*into, "choices", choices))
	}
}

// boolean reads true or false, or a string that says so: the environment holds nothing else.
func (r reader) boolean(name string, into *bool) bool {
	v, present, ok := r.value(name)
	if !present {
		return ok
	}
	b, err := convert.Convert(v, cty.Bool)
	if err != nil || b.IsNull() {
		return r.wants(name, "true or false", v)
	}
	*into = b.True()
	return true
}

// whole reads a whole number from 1 to most, or a string that holds one.
func (r reader) whole(name string, into *int, most int) {
	v, present, _ := r.value(name)
	if !present {
		return
	}
	n, err := convert.Convert(v, cty.Number)
	if err != nil || n.IsNull() || !n.AsBigFloat().IsInt() {
		r.wants(name, "a whole number", v)
		return
	}
	i, accuracy := n.AsBigFloat().Int64()
	if accuracy != big.Exact || i < 1 || i > int64(most) {
		r.l.problem(r.where(name), "Out of range", "%q is a number from 1 to %d.", name, most)
		return
	}
	*into = int(i)
}

// duration reads a positive duration such as "30s".
func (r reader) duration(name string, into *time.Duration) bool {
	return r.durationFrom(name, into, 1, "longer than nothing")
}

// durationOrNone reads a duration that may be "0s".
func (r reader) durationOrNone(name string, into *time.Duration) {
	r.durationFrom(name, into, 0, "not negative")
}

// longest bounds durations, so that adding a few of them to a time stays a time.
const longest = 10 * 365 * 24 * time.Hour

// durationFrom reads a duration from least to longest.
func (r reader) durationFrom(name string, into *time.Duration, least time.Duration, is string) bool {
	v, present, ok := r.value(name)
	if !present {
		return ok
	}
	var d time.Duration
	var err error
	if v.Type() == cty.String {
		d, err = time.ParseDuration(v.AsString())
	}
	switch {
	case v.Type() != cty.String || err != nil:
		r.l.problem(r.where(name), "Bad duration", "%q wants a duration such as \"30s\"%s.", name, not(name, v))
		return false
	case d < least:
		r.l.problem(r.where(name), "Bad duration", "%q is a duration that is %s, not %s.", name, is, d)
		return false
	case d > longest:
		r.l.problem(r.where(name), "Bad duration", "%q is at most ten years.", name)
		return false
	}
	*into = d
	return true
}

// size reads a positive number of bytes, such as "64MiB".
func (r reader) size(name string, into *sdk.Size) bool {
	v, present, ok := r.value(name)
	if !present {
		return ok
	}
	value, err := plain(v)
	if err != nil || (sdk.Setting{Type: sdk.SizeSetting}).Check(value) != nil {
		return r.wants(name, `a size such as "64MiB"`, v)
	}
	size, err := sdk.ParseSize(fmt.Sprint(value)) // A number is a size in bytes.
	if err != nil || size <= 0 {
		return r.wants(name, "a size above nothing", v)
	}
	*into = size
	return true
}

// sizeBetween reads a size from least to most.
func (r reader) sizeBetween(name string, into *sdk.Size, least, most sdk.Size) {
	switch size := *into; {
	case !r.size(name, &size):
	case size < least || size > most:
		r.l.problem(r.where(name), "Out of range", "%q is a size from %s to %s, not %s.", name, inUnits(least), inUnits(most), inUnits(size))
	default:
		*into = size
	}
}

// inUnits writes a size as a file would, in the largest unit that takes it whole.
func inUnits(size sdk.Size) string {
	units := []string{"B", "KiB", "MiB", "GiB"}
	for len(units) > 1 && size > 0 && size%1024 == 0 {
		size, units = size/1024, units[1:]
	}
	return fmt.Sprintf("%d%s", size, units[0])
}

// above notes that what one attribute comes to is above what another allows, and both ways out. Where the file sets but
// one of the two, that is the place, and the other is shown to be the default.
func (r reader) above(name string, value any, bound string, most any) {
	place, shown := name, func(attr string, v any) string {
		if _, there := r.content.Attributes[attr]; !there {
			return fmt.Sprintf("%s (%v by default)", attr, v)
		}
		return fmt.Sprintf("%s (%v)", attr, v)
	}
	if _, there := r.content.Attributes[name]; !there {
		place = bound
	}
	r.l.problem(r.where(place), "Out of range", "%s is above %s. Set %s to at most %v, or %s to at least %v.",
		shown(name, value), shown(bound, most), name, most, bound, value)
}

// word is a string and its place.
type word struct {
	text string
	at   hcl.Range
}

// names reads a list of strings, or one string as a list of one. The second result is whether it is there and good.
func (r reader) names(attr string) ([]word, bool) {
	a, there := r.content.Attributes[attr]
	if !there {
		return nil, false
	}
	exprs, diags := hcl.ExprList(a.Expr)
	if diags.HasErrors() { // Not written as a list, so it has to come to one.
		exprs = []hcl.Expression{a.Expr}
	}
	var out []word
	good := true
	for _, expr := range exprs {
		v, ok := r.l.evaluate(expr, false)
		if !ok {
			good = false
			continue
		}
		if v.IsNull() {
			continue
		}
		items := []cty.Value{v}
		if !v.Type().IsPrimitiveType() && v.CanIterateElements() && !v.Type().IsObjectType() && !v.Type().IsMapType() {
			items = v.AsValueSlice()
		}
		for _, item := range items {
			if item.IsNull() || item.Type() != cty.String {
				r.l.problem(expr.Range(), "Wrong type", "%q wants a list of strings%s.", attr, not(attr, item))
				good = false
				continue
			}
			out = append(out, word{text: item.AsString(), at: expr.Range()})
		}
		if len(out) > maxItems {
			r.l.problem(a.Expr.Range(), "Too many names", "%q lists at most %d.", attr, maxItems)
			return nil, false
		}
	}
	for i, n := range out {
		if slices.ContainsFunc(out[:i], func(before word) bool { return before.text == n.text }) {
			r.l.problem(n.at, "Duplicate name", "%q is listed twice. List it once, where it should stand.", n.text)
			good = false
		}
	}
	return out, good
}

// plain returns a value as decoded JSON would hold it: nil, string, bool, json.Number, []any, map[string]any.
func plain(v cty.Value) (any, error) {
	t := v.Type()
	switch {
	case v.IsNull():
		return nil, nil
	case t == cty.String:
		return v.AsString(), nil
	case t == cty.Bool:
		return v.True(), nil
	case t == cty.Number:
		return plainNumber(v.AsBigFloat())
	case t.IsListType() || t.IsTupleType() || t.IsSetType():
		out := make([]any, 0, v.LengthInt())
		for _, item := range v.AsValueSlice() {
			p, err := plain(item)
			if err != nil {
				return nil, err
			}
			out = append(out, p)
		}
		return out, nil
	case t.IsMapType() || t.IsObjectType():
		out := make(map[string]any, v.LengthInt())
		for key, item := range v.AsValueMap() {
			p, err := plain(item)
			if err != nil {
				return nil, err
			}
			out[key] = p
		}
		return out, nil
	default:
		return nil, fmt.Errorf("a %s is no setting", t.FriendlyName())
	}
}

// plainNumber writes a number out as shortly as a float64 reads it back, whole numbers with all their digits.
func plainNumber(n *big.Float) (json.Number, error) {
	f, _ := n.Float64()
	switch {
	case n.Sign() == 0:
		return "0", nil
	case math.IsInf(f, 0) || f == 0:
		return "", errors.New("the number is out of range")
	case n.IsInt():
		return json.Number(n.Text('f', 0)), nil
	default:
		return json.Number(strconv.FormatFloat(f, 'g', -1, 64)), nil
	}
}
