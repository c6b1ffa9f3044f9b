package sdk_test

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/service-islands/islands/sdk"
)

func TestNumberJSON(t *testing.T) {
	for want, n := range map[string]sdk.Number{
		"null": {}, "0": sdk.Known(0), "-0.5": sdk.Known(-0.5), "77671.01": sdk.Known(77671.01), "0.00000001": sdk.Known(1e-8),
		"123456789012345680000": sdk.Known(123456789012345680000), "0.1": sdk.Known(0.1),
	} {
		text, err := json.Marshal(n)
		if err != nil || string(text) != want || n.String() != want {
			t.Errorf("%v is written %s, want %s (%v)", n, text, want, err)
		}
		var back sdk.Number
		if err := json.Unmarshal(text, &back); err != nil || back != n {
			t.Errorf("%s reads back as %v, %v", text, back, err)
		}
	}
}

func TestNumberReadsWhatUpstreamsWrite(t *testing.T) {
	for text, want := range map[string]sdk.Number{
		`1.5e-3`: sdk.Known(0.0015), `"77671.01000000"`: sdk.Known(77671.01), `null`: {}, `"-1"`: sdk.Known(-1), `1E5`: sdk.Known(100_000),
	} {
		var got sdk.Number
		if err := json.Unmarshal([]byte(text), &got); err != nil || got != want {
			t.Errorf("%s is %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{`"x"`, `true`, `""`, `[]`, `{}`, `"NaN"`, `"Inf"`, `1e999`, `"null"`} {
		got := sdk.Known(7)
		if err := json.Unmarshal([]byte(text), &got); err == nil {
			t.Errorf("%s is %v", text, got)
		}
	}
}

func TestNumberIsUnknownRatherThanInvented(t *testing.T) {
	for _, f := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		if n := sdk.Known(f); n.IsKnown() || n != (sdk.Number{}) {
			t.Errorf("%v is known as %v", f, n)
		}
	}
	if f, known := (sdk.Number{}).Float64(); known || f != 0 {
		t.Errorf("%v, %v", f, known)
	}
	if (sdk.Number{}).Or(3) != 3 || sdk.Known(0).Or(3) != 0 {
		t.Error("Or confuses unknown and zero")
	}
}

func FuzzNumber(f *testing.F) {
	for _, seed := range []float64{0, math.Copysign(0, -1), 1e-300, 1e300, math.MaxFloat64, math.SmallestNonzeroFloat64, 0.1, math.NaN()} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value float64) {
		n := sdk.Known(value)
		text, err := json.Marshal(n)
		if err != nil || bytes.ContainsAny(text, "eE") {
			t.Fatalf("%v is written %s, %v", value, text, err)
		}
		var back sdk.Number
		if err := json.Unmarshal(text, &back); err != nil || back != n {
			t.Errorf("%v is written %s and read back as %v, %v", value, text, back, err)
		}
	})
}

func FuzzNumberRead(f *testing.F) {
	for _, seed := range []string{"1", `"1"`, "null", `"`, `""`, "1e5", `"0x1p4"`, "-"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var n sdk.Number
		if err := n.UnmarshalJSON([]byte(text)); err == nil && n.IsKnown() && (math.IsNaN(n.Or(0)) || math.IsInf(n.Or(0), 0)) {
			t.Errorf("%q is %v", text, n)
		}
	})
}

func TestIntervals(t *testing.T) {
	last := time.Duration(0)
	for _, i := range sdk.Intervals() {
		if !i.Valid() || i.Duration() <= last {
			t.Errorf("%s lasts %v after %v", i, i.Duration(), last)
		}
		last = i.Duration()
	}
	if !slices.IsSortedFunc(sdk.Intervals(), func(a, b sdk.Interval) int { return int(a.Duration() - b.Duration()) }) {
		t.Error("not shortest first")
	}
	for _, i := range []sdk.Interval{"", "1M", "1D", "2h"} {
		if i.Valid() || i.Duration() != 0 {
			t.Errorf("%q is valid", i)
		}
	}
	list := sdk.Intervals()
	list[0] = "spoiled"
	if sdk.Intervals()[0] != sdk.Interval1m {
		t.Error("the list can be spoiled")
	}
}
