package config

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
)

// What a function may return. Settings are names, addresses and paths; without a bound, a few nested calls to replace
// make a string that no memory holds.
const (
	maxText  = 4 << 10 // bytes
	maxItems = 1000
)

// errTooLong is returned by a function whose result is beyond the bounds.
var errTooLong = fmt.Errorf("the result is longer than %d bytes or %d items", maxText, maxItems)

// functions lists what an expression may call.
func functions(env func(string) (string, bool)) map[string]function.Function {
	return map[string]function.Function{
		"env":       envFunction(env),
		"upper":     bounded(stdlib.UpperFunc, nil),
		"lower":     bounded(stdlib.LowerFunc, nil),
		"trimspace": bounded(stdlib.TrimSpaceFunc, nil),
		"format":    bounded(stdlib.FormatFunc, formatCost),
		"join":      bounded(stdlib.JoinFunc, joinCost),
		"split":     bounded(stdlib.SplitFunc, nil),
		"replace":   bounded(stdlib.ReplaceFunc, replaceCost),
		"coalesce":  bounded(stdlib.CoalesceFunc, nil),
		"concat":    bounded(stdlib.ConcatFunc, concatCost),
		"contains":  bounded(stdlib.ContainsFunc, nil),
		"length":    bounded(stdlib.LengthFunc, nil),
	}
}

// unsetError is returned by env for a variable that is not set and has no default.
type unsetError struct{ name string }

// Error names the variable.
func (e *unsetError) Error() string { return fmt.Sprintf("environment variable %s is not set", e.name) }

// envFunction is env(name) and env(name, default). A default of null leaves the attribute out.
func envFunction(lookup func(string) (string, bool)) function.Function {
	return function.New(&function.Spec{
		Params:   []function.Parameter{{Name: "name", Type: cty.String}},
		VarParam: &function.Parameter{Name: "default", Type: cty.String, AllowNull: true},
		Type:     function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			if len(args) > 2 {
				return cty.NilVal, errors.New("takes a name and at most one default")
			}
			name := args[0].AsString()
			if name == "" || strings.ContainsAny(name, "=\x00") {
				return cty.NilVal, function.NewArgErrorf(0, "%q is not the name of an environment variable", name)
			}
			if value, ok := lookup(name); ok && value != "" {
				return cty.StringVal(strings.ToValidUTF8(value, "\uFFFD")), nil
			}
			if len(args) == 2 {
				return args[1], nil
			}
			return cty.NilVal, &unsetError{name: name}
		},
	})
}

// bounded wraps a function so that what it returns stays within the bounds. Cost, where given, says before the call how
// many bytes or items there would be at most.
func bounded(f function.Function, cost func(args []cty.Value) int) function.Function {
	return function.New(&function.Spec{
		Params:   f.Params(),
		VarParam: f.VarParam(),
		Type: func(args []cty.Value) (cty.Type, error) {
			// Some result types depend on the values, and to know them is to make the call.
			if cost != nil && cost(args) > maxText {
				return cty.NilType, errTooLong
			}
			return f.ReturnTypeForValues(args)
		},
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			out, err := f.Call(args)
			if err != nil {
				return out, err
			}
			if size(out) > maxText || out.CanIterateElements() && out.LengthInt() > maxItems {
				return cty.NilVal, errTooLong
			}
			return out, nil
		},
	})
}

// size is how many bytes a value is when written out, roughly, or how many items it has; at most just beyond maxText.
func size(v cty.Value) int {
	switch {
	case v.IsNull() || !v.IsKnown():
		return 1
	case v.Type() == cty.String:
		return len(v.AsString())
	case v.Type() == cty.Number:
		exponent := v.AsBigFloat().MantExp(nil) // Three binary places are about one digit.
		return 32 + max(exponent, -exponent)/3
	case v.CanIterateElements():
		total := 0
		for _, item := range v.AsValueSlice() {
			if total > maxText {
				break
			}
			total += 1 + size(item)
		}
		return total
	default:
		return 32
	}
}

// wideVerb matches a verb of format whose width or precision has more than two digits.
var wideVerb = regexp.MustCompile(`%[^a-zA-Z%]*\d{3}`)

// formatCost bounds what format returns: every verb shows its largest argument.
func formatCost(args []cty.Value) int {
	if len(args) == 0 || args[0].IsNull() || !args[0].IsKnown() {
		return 0
	}
	text := args[0].AsString()
	if len(text) > maxText || wideVerb.MatchString(text) {
		return maxText + 1
	}
	largest := 100 // The widest a short verb can be.
	for _, arg := range args[1:] {
		largest = max(largest, size(arg))
	}
	return len(text) + min(strings.Count(text, "%"), maxText)*min(largest, maxText+1)
}

// joinCost bounds what join returns.
func joinCost(args []cty.Value) int {
	if len(args) == 0 || args[0].IsNull() || !args[0].IsKnown() {
		return 0
	}
	separator, total := min(size(args[0]), maxText), 0
	for _, list := range args[1:] {
		total += size(list)
		if !list.IsNull() && list.IsKnown() && list.CanIterateElements() {
			total += separator * list.LengthInt()
		}
		if total > maxText {
			break
		}
	}
	return total
}

// replaceCost bounds what replace returns.
func replaceCost(args []cty.Value) int {
	if len(args) != 3 {
		return 0
	}
	for _, arg := range args {
		if arg.IsNull() || !arg.IsKnown() {
			return 0
		}
		if len(arg.AsString()) > maxText {
			return maxText + 1
		}
	}
	text, from, to := args[0].AsString(), args[1].AsString(), args[2].AsString()
	return len(text) + strings.Count(text, from)*len(to)
}

// concatCost is how many items concat returns, in its bytes.
func concatCost(args []cty.Value) int {
	total := 0
	for _, list := range args {
		if total > maxText {
			break
		}
		total += size(list)
	}
	return total
}
