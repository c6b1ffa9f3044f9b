package sdk

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// SettingType is what a setting holds, and how islands.hcl writes it.
type SettingType string

// The types of settings there are.
const (
	StringSetting   SettingType = "string"   // "text"
	IntSetting      SettingType = "int"      // 42
	FloatSetting    SettingType = "float"    // 0.5
	BoolSetting     SettingType = "bool"     // true
	DurationSetting SettingType = "duration" // "1m30s", as time.ParseDuration reads it
	SizeSetting     SettingType = "size"     // "64MiB", or a number of bytes
	ListSetting     SettingType = "list"     // ["a", "b"], a list of strings
)

// Setting is one attribute that an island's config block may hold.
type Setting struct {
	// Name in snake case.
	Name string `json:"name"`
	// Type of the value.
	Type SettingType `json:"type"`
	// Default as islands.hcl would write it, such as "30s" or "true"; a list is written as JSON. Empty with
	// Required, and for a Secret: describe shows it.
	Default string `json:"default"`
	// Doc in one sentence, with units and ranges.
	Doc string `json:"doc"`
	// Secret values are never shown: not in logs, errors, health or describe.
	Secret bool `json:"secret"`
	// Required settings have no default.
	Required bool `json:"required"`
}

// Secret is a string that does not print. Reveal it only where it is used.
type Secret string

// Reveal returns the secret itself.
func (s Secret) Reveal() string { return string(s) }

// String hides the secret; an empty one shows as empty.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "[secret]"
}

// GoString hides the secret from %#v.
func (s Secret) GoString() string { return strconv.Quote(s.String()) }

// LogValue hides the secret from slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalJSON hides the secret.
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// Size is a number of bytes.
type Size int64

// ParseSize reads a size such as "64MiB", "10KB" or "4096". Units are B, KB, MB, GB (powers of 1000) and KiB, MiB, GiB
// (powers of 1024).
func ParseSize(text string) (Size, error) {
	units := []struct {
		suffix string
		factor float64
	}{
		{"KiB", 1 << 10},
		{"MiB", 1 << 20},
		{"GiB", 1 << 30},
		{"KB", 1e3},
		{"MB", 1e6},
		{"GB", 1e9},
		{"B", 1},
		{"", 1},
	}
	for _, u := range units {
		number, ok := strings.CutSuffix(text, u.suffix)
		if !ok {
			continue
		}
		f, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || f < 0 || f*u.factor > math.MaxInt64/2 || math.IsNaN(f) {
			break
		}
		return Size(f * u.factor), nil
	}
	return 0, Errorf(InvalidArgument, "%q is not a size such as \"64MiB\"", text)
}

// Config is what the host hands to Initialize.
type Config struct {
	// Name of the island in islands.hcl.
	Name string
	// Values of the config block, as JSON would hold them: string, bool, json.Number or float64, []any. Settings that the
	// block leaves out are absent; Decode fills in their defaults.
	Values map[string]any
	// Protocol that the host and the island have in common: the minor is the lower of theirs. An island that can do without
	// what a later minor added looks here whether the host knows it. Zero where no host calls, as in a test of its own.
	Protocol Protocol
	// Logger of the island; never nil when the host calls. What is logged with a call's context carries its request id.
	Logger *slog.Logger
}

// SettingsOf lists the settings that a struct's tagged fields declare, in their order:
//
//	type settings struct {
//		URL     string        `setting:"url" default:"https://api.example.com" doc:"Base URL of the service."`
//		APIKey  sdk.Secret    `setting:"api_key" default:"" doc:"Key, empty for anonymous use."`
//		Timeout time.Duration `setting:"timeout" default:"3s" doc:"Bound on one call."`
//	}
//
// Fields may be string, Secret, bool, int, float64, time.Duration, Size or []string. A field without a default tag is
// required. It panics on a struct that cannot be meant, which the first test of an island finds.
func SettingsOf(settings any) []Setting {
	t := reflect.TypeOf(settings)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	var out []Setting
	for i := range t.NumField() {
		field := t.Field(i)
		name, ok := field.Tag.Lookup("setting")
		if !ok {
			continue
		}
		kind, ok := settingTypes[field.Type]
		if !ok {
			panic(fmt.Sprintf("sdk: setting %q: fields of type %s are not supported", name, field.Type))
		}
		def, hasDefault := field.Tag.Lookup("default")
		s := Setting{
			Name: name, Type: kind, Default: def, Doc: field.Tag.Get("doc"),
			Secret: field.Type == reflect.TypeFor[Secret](), Required: !hasDefault,
		}
		if hasDefault {
			if _, err := s.defaultValue(field.Type); err != nil {
				panic(fmt.Sprintf("sdk: default of setting %q: %v", name, err))
			}
		}
		out = append(out, s)
	}
	return out
}

// settingTypes maps the field types that SettingsOf takes to their setting types.
var settingTypes = map[reflect.Type]SettingType{
	reflect.TypeFor[string]():        StringSetting,
	reflect.TypeFor[Secret]():        StringSetting,
	reflect.TypeFor[int]():           IntSetting,
	reflect.TypeFor[float64]():       FloatSetting,
	reflect.TypeFor[bool]():          BoolSetting,
	reflect.TypeFor[time.Duration](): DurationSetting,
	reflect.TypeFor[Size]():          SizeSetting,
	reflect.TypeFor[[]string]():      ListSetting,
}

// Decode writes the values into a struct tagged as SettingsOf describes, defaults included. It is strict: an unknown
// name, a value of the wrong type and a missing required setting are InvalidArgument errors that name the setting, and
// never hold the value of a secret one.
func (c Config) Decode(into any) error {
	v := reflect.ValueOf(into)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return Errorf(Internal, "settings of %T cannot be decoded into: a pointer to a struct is needed", into)
	}
	v = v.Elem()
	declared := SettingsOf(into)
	if err := c.unknownSetting(declared); err != nil {
		return err
	}
	for i := range v.NumField() {
		name, ok := v.Type().Field(i).Tag.Lookup("setting")
		if !ok {
			continue
		}
		setting, _ := Manifest{Settings: declared}.Setting(name)
		value, err := c.value(setting, v.Field(i).Type())
		if err != nil {
			return &Error{Kind: InvalidArgument, Setting: name, Message: fmt.Sprintf("setting %q: %v", name, err)}
		}
		v.Field(i).Set(value)
	}
	return nil
}

// unknownSetting returns an error for the first value, in alphabetical order, that no setting declares.
func (c Config) unknownSetting(declared []Setting) error {
	unknown := ""
	for name := range c.Values {
		_, ok := Manifest{Settings: declared}.Setting(name)
		if !ok && (unknown == "" || name < unknown) {
			unknown = name
		}
	}
	if unknown == "" {
		return nil
	}
	names := make([]string, len(declared))
	for i, s := range declared {
		names[i] = s.Name
	}
	return &Error{
		Kind: InvalidArgument, Setting: unknown,
		Message: fmt.Sprintf("no setting %q; there are: %s", unknown, strings.Join(names, ", ")),
	}
}

// value returns what a setting holds: the given value, or the default.
func (c Config) value(s Setting, t reflect.Type) (reflect.Value, error) {
	given, ok := c.Values[s.Name]
	switch {
	case ok && given != nil:
		return s.parse(given, t)
	case s.Required:
		return reflect.Value{}, fmt.Errorf("is required (%s)", s.Doc)
	default:
		return s.defaultValue(t)
	}
}

// defaultValue returns the parsed default.
func (s Setting) defaultValue(t reflect.Type) (reflect.Value, error) {
	switch s.Type {
	case StringSetting, DurationSetting, SizeSetting:
		return s.parse(s.Default, t)
	default:
		if s.Type == ListSetting && s.Default == "" {
			return reflect.ValueOf([]string{}), nil
		}
		var v any
		d := json.NewDecoder(strings.NewReader(s.Default))
		d.UseNumber()
		if err := d.Decode(&v); err != nil {
			return reflect.Value{}, fmt.Errorf("%q is not a %s", s.Default, s.Type)
		}
		return s.parse(v, t)
	}
}

// Check reports whether a value, as JSON would hold it, is one that the setting takes. The error says what it wants and,
// unless the setting is secret, what it got.
func (s Setting) Check(value any) error {
	for t, kind := range settingTypes {
		if kind == s.Type && t != reflect.TypeFor[Secret]() {
			_, err := s.parse(value, t)
			return err
		}
	}
	return fmt.Errorf("is declared with the unknown type %q", s.Type)
}

// parse turns a value as JSON would hold it into one of the field's type.
func (s Setting) parse(value any, t reflect.Type) (reflect.Value, error) {
	out := reflect.New(t).Elem()
	text, isText := value.(string)
	number, isNumber := numberOf(value)
	switch s.Type {
	case StringSetting:
		if isText {
			out.SetString(text)
			return out, nil
		}
	case BoolSetting:
		if b, ok := value.(bool); ok {
			out.SetBool(b)
			return out, nil
		}
	case IntSetting:
		if isNumber && number == math.Trunc(number) && math.Abs(number) < 1<<53 {
			out.SetInt(int64(number))
			return out, nil
		}
	case FloatSetting:
		if isNumber {
			out.SetFloat(number)
			return out, nil
		}
	case DurationSetting:
		if d, err := time.ParseDuration(text); isText && err == nil && d >= 0 {
			out.SetInt(int64(d))
			return out, nil
		}
	case SizeSetting:
		if isNumber && number >= 0 && number < math.MaxInt64/2 {
			out.SetInt(int64(number))
			return out, nil
		}
		if size, err := ParseSize(text); isText && err == nil {
			out.SetInt(int64(size))
			return out, nil
		}
	case ListSetting:
		if items, ok := stringsOf(value); ok {
			out.Set(reflect.ValueOf(items))
			return out, nil
		}
	}
	return out, fmt.Errorf("wants %s%s", wanted[s.Type], s.got(value))
}

// wanted says what a setting of a type is written like.
var wanted = map[SettingType]string{
	StringSetting:   "a string",
	BoolSetting:     "true or false",
	IntSetting:      "a whole number",
	FloatSetting:    "a number",
	DurationSetting: `a duration such as "30s"`,
	SizeSetting:     `a size such as "64MiB"`,
	ListSetting:     "a list of strings",
}

// got says what was given instead, unless that is secret.
func (s Setting) got(value any) string {
	if s.Secret {
		return ""
	}
	text, err := json.Marshal(value)
	if err != nil {
		return ""
	}
	return fmt.Sprintf(", not %.60s", text)
}

// numberOf reads any of the forms in which a decoded JSON number may come.
func numberOf(value any) (float64, bool) {
	switch n := value.(type) {
	case float64:
		return n, true
	case int:
		return float64(n), true
	case int64:
		return float64(n), true
	case json.Number:
		f, err := n.Float64()
		return f, err == nil
	default:
		return 0, false
	}
}

// stringsOf reads a list of strings.
func stringsOf(value any) ([]string, bool) {
	if items, ok := value.([]string); ok {
		return items, true
	}
	list, ok := value.([]any)
	if !ok {
		return nil, false
	}
	items := make([]string, len(list))
	for i, item := range list {
		if items[i], ok = item.(string); !ok {
			return nil, false
		}
	}
	return items, true
}
