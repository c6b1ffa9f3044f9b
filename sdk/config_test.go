package sdk_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/service-islands/islands/sdk"
)

// every has a field of each type that a setting may have.
type every struct {
	Text   string        `setting:"text" default:"a b" doc:"Text."`
	Key    sdk.Secret    `setting:"key" default:"" doc:"Key."`
	Yes    bool          `setting:"yes" default:"true" doc:"Yes."`
	Count  int           `setting:"count" default:"42" doc:"Count."`
	Share  float64       `setting:"share" default:"0.5" doc:"Share."`
	Wait   time.Duration `setting:"wait" default:"1m30s" doc:"Wait."`
	Room   sdk.Size      `setting:"room" default:"64MiB" doc:"Room."`
	List   []string      `setting:"list" default:"[\"a\"]" doc:"List."`
	Nobody string
}

type needy struct {
	URL   string     `setting:"url" doc:"Base URL."`
	Token sdk.Secret `setting:"token" doc:"Token."`
}

func TestSettingsOf(t *testing.T) {
	want := []sdk.Setting{
		{Name: "text", Type: sdk.StringSetting, Default: "a b", Doc: "Text."},
		{Name: "key", Type: sdk.StringSetting, Doc: "Key.", Secret: true},
		{Name: "yes", Type: sdk.BoolSetting, Default: "true", Doc: "Yes."},
		{Name: "count", Type: sdk.IntSetting, Default: "42", Doc: "Count."},
		{Name: "share", Type: sdk.FloatSetting, Default: "0.5", Doc: "Share."},
		{Name: "wait", Type: sdk.DurationSetting, Default: "1m30s", Doc: "Wait."},
		{Name: "room", Type: sdk.SizeSetting, Default: "64MiB", Doc: "Room."},
		{Name: "list", Type: sdk.ListSetting, Default: `["a"]`, Doc: "List."},
	}
	for _, given := range []any{every{}, &every{}} {
		if got := sdk.SettingsOf(given); !reflect.DeepEqual(got, want) {
			t.Errorf("of %T: %+v", given, got)
		}
	}
	if got := sdk.SettingsOf(needy{}); len(got) != 2 || !got[0].Required || !got[1].Required || !got[1].Secret {
		t.Errorf("%+v", got)
	}
	if got := sdk.SettingsOf(struct{}{}); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}

func TestSettingsThatCannotBeMeantPanic(t *testing.T) {
	for name, settings := range map[string]any{
		"a type": struct {
			N int32 `setting:"n" default:"1"`
		}{},
		"a bad duration": struct {
			D time.Duration `setting:"d" default:"30"`
		}{},
		"an empty duration": struct {
			D time.Duration `setting:"d" default:""`
		}{},
		"a bad number": struct {
			N int `setting:"n" default:"many"` //nolint:revive // The fault is the point.
		}{},
		"a broken number": struct {
			N int `setting:"n" default:"1.5"` //nolint:revive // The fault is the point.
		}{},
		"a bad list": struct {
			L []string `setting:"l" default:"a,b"`
		}{},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			sdk.SettingsOf(settings)
		})
	}
}

func TestDecode(t *testing.T) {
	defaults := every{Text: "a b", Yes: true, Count: 42, Share: 0.5, Wait: 90 * time.Second, Room: 64 << 20, List: []string{"a"}}
	for name, tc := range map[string]struct {
		values map[string]any
		change func(*every)
	}{
		"nothing":       {nil, func(*every) {}},
		"null":          {map[string]any{"text": nil, "count": nil}, func(*every) {}},
		"text":          {map[string]any{"text": ""}, func(e *every) { e.Text = "" }},
		"a secret":      {map[string]any{"key": "k"}, func(e *every) { e.Key = "k" }},
		"false":         {map[string]any{"yes": false}, func(e *every) { e.Yes = false }},
		"a number":      {map[string]any{"count": float64(-7)}, func(e *every) { e.Count = -7 }},
		"an int":        {map[string]any{"count": 7}, func(e *every) { e.Count = 7 }},
		"an int64":      {map[string]any{"count": int64(7)}, func(e *every) { e.Count = 7 }},
		"a json.Number": {map[string]any{"count": json.Number("9007199254740991")}, func(e *every) { e.Count = 1<<53 - 1 }},
		"a share":       {map[string]any{"share": json.Number("1e-3")}, func(e *every) { e.Share = 0.001 }},
		"a duration":    {map[string]any{"wait": "250ms"}, func(e *every) { e.Wait = 250 * time.Millisecond }},
		"no duration":   {map[string]any{"wait": "0s"}, func(e *every) { e.Wait = 0 }},
		"a size":        {map[string]any{"room": "10KB"}, func(e *every) { e.Room = 10_000 }},
		"bytes":         {map[string]any{"room": float64(4096)}, func(e *every) { e.Room = 4096 }},
		"a list":        {map[string]any{"list": []any{"x", "y"}}, func(e *every) { e.List = []string{"x", "y"} }},
		"a typed list":  {map[string]any{"list": []string{"x"}}, func(e *every) { e.List = []string{"x"} }},
		"an empty list": {map[string]any{"list": []any{}}, func(e *every) { e.List = []string{} }},
		"several at once": {map[string]any{"text": "t", "count": 1.0}, func(e *every) {
			e.Text, e.Count = "t", 1
		}},
	} {
		t.Run(name, func(t *testing.T) {
			want := defaults
			tc.change(&want)
			var got every
			if err := (sdk.Config{Values: tc.values}).Decode(&got); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v, want %+v, error: %v", got, want, err)
			}
		})
	}
}

func TestDecodeRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		values  map[string]any
		setting string
		words   string
	}{
		"an unknown name":      {map[string]any{"txet": "x"}, "txet", "there are: text, key"},
		"the first unknown":    {map[string]any{"zz": 1.0, "aa": 1.0, "text": "x"}, "aa", "no setting"},
		"a number for text":    {map[string]any{"text": 5.0}, "text", "wants a string, not 5"},
		"text for a number":    {map[string]any{"count": "5"}, "count", `wants a whole number, not "5"`},
		"a broken number":      {map[string]any{"count": 1.5}, "count", "wants a whole number, not 1.5"},
		"a number too large":   {map[string]any{"count": 1e18}, "count", "wants a whole number"},
		"not a number":         {map[string]any{"count": json.Number("x")}, "count", "wants a whole number"},
		"text for a share":     {map[string]any{"share": "half"}, "share", "wants a number"},
		"text for a bool":      {map[string]any{"yes": "true"}, "yes", "wants true or false"},
		"a bare duration":      {map[string]any{"wait": "30"}, "wait", `wants a duration such as "30s", not "30"`},
		"a number of duration": {map[string]any{"wait": 30.0}, "wait", "wants a duration"},
		"a negative duration":  {map[string]any{"wait": "-1s"}, "wait", "wants a duration"},
		"an odd size":          {map[string]any{"room": "64 potatoes"}, "room", `wants a size such as "64MiB"`},
		"a negative size":      {map[string]any{"room": -1.0}, "room", "wants a size"},
		"a list of numbers":    {map[string]any{"list": []any{"a", 1.0}}, "list", "wants a list of strings"},
		"text for a list":      {map[string]any{"list": "a"}, "list", "wants a list of strings"},
		"a number for a key":   {map[string]any{"key": 1234567.0}, "key", "wants a string"},
		"what JSON cannot say": {map[string]any{"text": make(chan int)}, "text", "wants a string"},
	} {
		t.Run(name, func(t *testing.T) {
			var into every
			err := sdk.Config{Values: tc.values}.Decode(&into)
			var e *sdk.Error
			if !errors.As(err, &e) || e.Kind != sdk.InvalidArgument || e.Setting != tc.setting {
				t.Fatalf("%#v", err)
			}
			if !strings.Contains(err.Error(), tc.words) || !strings.Contains(err.Error(), tc.setting) {
				t.Errorf("%v", err)
			}
			if strings.Contains(err.Error(), "1234567") {
				t.Errorf("shows a secret: %v", err)
			}
		})
	}
	var e *sdk.Error
	if err := (sdk.Config{Values: map[string]any{"url": "u"}}).Decode(&needy{}); !errors.As(err, &e) || e.Setting != "token" {
		t.Errorf("a missing one: %v", err)
	}
	for _, into := range []any{every{}, new(int), map[string]any{}} {
		if err := (sdk.Config{}).Decode(into); !errors.Is(err, sdk.Internal) {
			t.Errorf("into %T: %v", into, err)
		}
	}
}

func TestCheckAgreesWithDecode(t *testing.T) {
	values := []any{"x", "", "30s", "64MiB", "-1s", true, 0.0, -1.0, 1.5, 42.0, 1e300, json.Number("7"), []any{"a"}, []any{1.0}, nil, map[string]any{}}
	for _, setting := range sdk.SettingsOf(every{}) {
		for _, value := range values {
			if value == nil {
				continue // Absent for Decode.
			}
			check := setting.Check(value)
			decode := sdk.Config{Values: map[string]any{setting.Name: value}}.Decode(&every{})
			if (check == nil) != (decode == nil) {
				t.Errorf("%s = %#v: Check says %v, Decode %v", setting.Name, value, check, decode)
			}
		}
	}
	if err := (sdk.Setting{Name: "x", Type: "color"}).Check("red"); err == nil {
		t.Error("an unknown type takes a value")
	}
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]sdk.Size{
		"0": 0, "4096": 4096, "1B": 1, "10KB": 10_000, "10MB": 10_000_000, "2GB": 2_000_000_000, "1KiB": 1024, "64MiB": 64 << 20,
		"3GiB": 3 << 30, "1.5KiB": 1536, "64 MiB": 64 << 20, "1e3": 1000,
	} {
		if got, err := sdk.ParseSize(text); err != nil || got != want {
			t.Errorf("%q is %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "MiB", "-1", "-1MiB", "1TB", "1mib", "MiB1", "1 2", "NaN", "Inf", "1e30", "9999999999GiB", "0x", "1MiBMiB"} {
		if got, err := sdk.ParseSize(text); !errors.Is(err, sdk.InvalidArgument) {
			t.Errorf("%q is %d, %v", text, got, err)
		}
	}
}

func FuzzParseSize(f *testing.F) {
	for _, seed := range []string{"64MiB", "0", "-1", "1e308GiB", "NaN", "٣", ".5KB", "0x1p-2MB"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		size, err := sdk.ParseSize(text)
		if err == nil && (size < 0 || size > math.MaxInt64/2) {
			t.Errorf("%q is %d", text, size)
		}
		if err != nil && size != 0 {
			t.Errorf("%q is %d and an error", text, size)
		}
	})
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{`{}`, `{"text":1}`, `{"count":1e400}`, `{"wait":"1h","room":"1KB","list":["a"]}`, `{"room":-0.5}`, `{"key":["k"]}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var values map[string]any
		decoder := json.NewDecoder(strings.NewReader(text))
		decoder.UseNumber()
		if decoder.Decode(&values) != nil {
			return
		}
		var got every
		err := sdk.Config{Values: values}.Decode(&got)
		if err != nil {
			var e *sdk.Error
			if !errors.As(err, &e) || e.Kind != sdk.InvalidArgument {
				t.Errorf("%#v", err)
			}
			return
		}
		if got.Wait < 0 || got.Room < 0 || got.List == nil {
			t.Errorf("%q gave %+v", text, got)
		}
	})
}

func TestSecretDoesNotPrint(t *testing.T) {
	const key = "s3cr3t"
	secret := sdk.Secret(key)
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("m", "key", secret, "set", every{Key: secret})
	text, err := json.Marshal(needy{Token: secret})
	if err != nil {
		t.Fatal(err)
	}
	for _, shown := range []string{
		secret.String(), fmt.Sprintf("%v %+v %#v %s %q", secret, needy{Token: secret}, needy{Token: secret}, secret, secret), log.String(), string(text),
	} {
		if strings.Contains(shown, key) {
			t.Errorf("shown: %s", shown)
		}
	}
	if secret.Reveal() != key || sdk.Secret("").String() != "" {
		t.Error("a secret does not reveal itself, or an empty one hides")
	}
}
