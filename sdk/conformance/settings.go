package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/service-islands/islands/sdk"
)

var (
	islandName  = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)
	semantic    = regexp.MustCompile(`^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$`)
	snakeCase   = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)
	settingType = []sdk.SettingType{
		sdk.StringSetting, sdk.IntSetting, sdk.FloatSetting, sdk.BoolSetting, sdk.DurationSetting, sdk.SizeSetting, sdk.ListSetting,
	}
)

func manifestChecks() []Check {
	return []Check{
		{
			Name: "manifest/names", early: true, run: manifestNames,
			Rule: "Name of the kind of island, lower case with dashes; Version semantic; Description in one sentence",
		},
		{
			Name: "manifest/layer", early: true, run: manifestLayer,
			Rule: "Islands live in layers 1, 2 and 5: infrastructure remembers, external services fetch, business logic reports",
		},
		{
			Name: "manifest/settings", early: true, run: manifestSettings,
			Rule: "Setting: Name in snake case; Default as islands.hcl would write it, empty with Required and for a Secret, which describe would show; Doc in one sentence, with units and ranges",
		},
		{
			Name: "manifest/complete", early: true, run: manifestComplete, meant: func(s Subject) bool { return s.Component != nil },
			Rule: "Complete returns the manifest with everything that follows from the component filled in",
		},
	}
}

func manifestNames(_ context.Context, b *bench) error {
	var errs []error
	if m := b.Manifest; !islandName.MatchString(m.Name) {
		errs = append(errs, fmt.Errorf("name %q", m.Name))
	}
	if !semantic.MatchString(b.Manifest.Version) {
		errs = append(errs, fmt.Errorf("version %q", b.Manifest.Version))
	}
	if d := b.Manifest.Description; strings.TrimSpace(d) != d || len(d) < 10 || strings.Contains(d, "\n") {
		errs = append(errs, fmt.Errorf("description %q", d))
	}
	return errors.Join(errs...)
}

// layerOf is the layer that each role belongs in.
var layerOf = map[sdk.Role]sdk.Layer{
	sdk.RoleQuotes: sdk.LayerExternalServices, sdk.RoleCandles: sdk.LayerExternalServices, sdk.RoleGlobal: sdk.LayerExternalServices,
	sdk.RoleSentiment: sdk.LayerExternalServices, sdk.RoleCatalogue: sdk.LayerExternalServices, sdk.RoleStream: sdk.LayerExternalServices,
	sdk.RoleCache: sdk.LayerInfrastructure, sdk.RoleCoordinator: sdk.LayerInfrastructure, sdk.RoleStore: sdk.LayerInfrastructure,
	sdk.RoleReporter: sdk.LayerBusinessLogic,
}

func manifestLayer(_ context.Context, b *bench) error {
	switch b.Manifest.Layer {
	case sdk.LayerInfrastructure, sdk.LayerExternalServices, sdk.LayerBusinessLogic:
	default:
		return fmt.Errorf("layer %s", b.Manifest.Layer)
	}
	for _, role := range b.Roles {
		if want := layerOf[role]; want != b.Manifest.Layer {
			return fmt.Errorf("role %s belongs in the layer %s, the manifest says %s", role, want, b.Manifest.Layer)
		}
	}
	return nil
}

func manifestSettings(_ context.Context, b *bench) error {
	var errs []error
	seen := map[string]bool{}
	for _, s := range b.Manifest.Settings {
		if !snakeCase.MatchString(s.Name) || seen[s.Name] {
			errs = append(errs, fmt.Errorf("setting %q: a bad name, or one given twice", s.Name))
		}
		seen[s.Name] = true
		if !slices.Contains(settingType, s.Type) {
			errs = append(errs, fmt.Errorf("setting %q: type %q", s.Name, s.Type))
		}
		if strings.TrimSpace(s.Doc) == "" {
			errs = append(errs, fmt.Errorf("setting %q has no Doc", s.Name))
		}
		if s.Secret && s.Default != "" { // Which is not repeated here either.
			errs = append(errs, fmt.Errorf("setting %q is secret and has a default, which describe shows", s.Name))
			continue
		}
		if s.Required {
			if s.Default != "" {
				errs = append(errs, fmt.Errorf("setting %q is required and has the default %q", s.Name, s.Default))
			}
			continue
		}
		value, err := writtenDefault(s)
		if err == nil {
			err = s.Check(value)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("setting %q: its default %q: %w", s.Name, s.Default, err))
		}
	}
	return errors.Join(errs...)
}

// writtenDefault is a default as JSON would hold it.
func writtenDefault(s sdk.Setting) (any, error) {
	switch {
	case s.Type == sdk.StringSetting, s.Type == sdk.DurationSetting, s.Type == sdk.SizeSetting:
		return s.Default, nil
	case s.Type == sdk.ListSetting && s.Default == "":
		return []any{}, nil
	}
	var value any
	err := json.Unmarshal([]byte(s.Default), &value)
	return value, err
}

func manifestComplete(_ context.Context, b *bench) error {
	island := b.Component()
	once := b.Manifest.Complete(island)
	if twice := once.Complete(b.Component()); !reflect.DeepEqual(once, twice) {
		return fmt.Errorf("completed once: %+v, twice: %+v", once, twice)
	}
	if len(once.Roles) == 0 {
		return errors.New("the component has no role at all: no host would ever call it")
	}
	text, err := json.Marshal(once)
	if err != nil {
		return fmt.Errorf("describe: %w", err)
	}
	var back sdk.Manifest
	if err := json.Unmarshal(text, &back); err != nil {
		return fmt.Errorf("read what describe prints: %w", err)
	}
	if again, err := json.Marshal(back); err != nil || !bytes.Equal(again, text) {
		return fmt.Errorf("describe prints %s, which reads back as %s", text, again)
	}
	return nil
}

func settingsChecks() []Check {
	return []Check{
		{
			Name: "settings/unknown", run: settingsUnknown,
			Rule: "an unknown name, a value of the wrong type and a missing required setting are InvalidArgument errors that name the setting",
		},
		{
			Name: "settings/mistyped", run: settingsMistyped,
			Rule: "an unknown name, a value of the wrong type and a missing required setting are InvalidArgument errors that name the setting",
		},
		{
			Name: "settings/required", run: settingsRequired,
			Rule: "an unknown name, a value of the wrong type and a missing required setting are InvalidArgument errors that name the setting",
		},
		{
			Name: "settings/secret", run: settingsSecret, meant: hasSecret,
			Rule: "Secret values are never shown: not in logs, errors, health or describe",
		},
		{
			Name: "settings/default", run: settingsDefault,
			Rule: "Settings that the block leaves out are absent; Decode fills in their defaults",
		},
	}
}

// refusal initializes a fresh island with values that cannot be meant and returns an error unless it is refused for
// that setting.
func (b *bench) refusal(ctx context.Context, values map[string]any, setting string) error {
	island, err := b.fresh(ctx)
	if err != nil {
		return err
	}
	err = island.Initialize(ctx, b.config(values))
	if kindErr := wantKind("Initialize", err, sdk.InvalidArgument); kindErr != nil {
		return fmt.Errorf("setting %q: %w", setting, kindErr)
	}
	var e *sdk.Error
	if !errors.As(err, &e) || e.Setting != setting {
		return fmt.Errorf("the error does not name the setting %q in its Setting: %w", setting, err)
	}
	if !strings.Contains(err.Error(), setting) {
		return fmt.Errorf("the error's message does not name the setting %q: %w", setting, err)
	}
	return nil
}

// with returns the subject's values with one exchanged.
func (b *bench) with(name string, value any) map[string]any {
	values := b.settings()
	values[name] = value
	return values
}

func settingsUnknown(ctx context.Context, b *bench) error {
	return b.refusal(ctx, b.with("no_such_setting", "x"), "no_such_setting")
}

// mistyped is a value that a setting of a type cannot hold.
func mistyped(t sdk.SettingType) any {
	switch t {
	case sdk.StringSetting, sdk.ListSetting:
		return float64(42)
	case sdk.DurationSetting, sdk.SizeSetting, sdk.IntSetting, sdk.FloatSetting, sdk.BoolSetting:
		return "a few"
	default:
		return struct{}{}
	}
}

func settingsMistyped(ctx context.Context, b *bench) error {
	var errs []error
	for _, s := range b.Manifest.Settings {
		errs = append(errs, b.refusal(ctx, b.with(s.Name, mistyped(s.Type)), s.Name))
	}
	return errors.Join(errs...)
}

func settingsRequired(ctx context.Context, b *bench) error {
	var errs []error
	for _, s := range b.Manifest.Settings {
		if s.Required {
			values := b.with(s.Name, nil)
			delete(values, s.Name)
			errs = append(errs, b.refusal(ctx, values, s.Name))
		}
	}
	return errors.Join(errs...)
}

// hasSecret leaves out the islands that have nothing to hide.
func hasSecret(s Subject) bool {
	return slices.ContainsFunc(s.Manifest.Settings, func(setting sdk.Setting) bool { return setting.Secret })
}

func settingsSecret(ctx context.Context, b *bench) error {
	for _, s := range b.Manifest.Settings {
		if !s.Secret {
			continue
		}
		for form, value := range map[string]any{
			"of the right type": "canary7f3a9c", "of odd characters": "canary\x00 canary", "in a list": []any{"canary"}, "in an object": map[string]any{"canary": "canary"},
		} {
			island, err := b.fresh(ctx)
			if err != nil {
				return err
			}
			var log recorder
			cfg := b.config(b.with(s.Name, value))
			cfg.Logger = log.logger()
			err = island.Initialize(ctx, cfg)
			if err != nil && strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), "canary") {
				return fmt.Errorf("setting %q, a value %s: the error shows it: %w", s.Name, form, err)
			}
			if err == nil {
				if shown := fmt.Sprintf("%+v", island.Health(ctx)); strings.Contains(shown, "canary") {
					return fmt.Errorf("setting %q: health shows its value: %s", s.Name, shown)
				}
				metrics, err := island.Metrics(ctx)
				if shown := fmt.Sprintf("%+v %v", metrics, err); strings.Contains(shown, "canary") {
					return fmt.Errorf("setting %q: metrics show its value: %s", s.Name, shown)
				}
			}
			if text := log.String(); strings.Contains(text, "canary") {
				return fmt.Errorf("setting %q: the log shows its value: %s", s.Name, text)
			}
			if b.Binary == nil {
				continue
			}
			b.close() // All that it has said is read then.
			if line := b.Binary.said.line("canary"); line != "" {
				return fmt.Errorf("setting %q: what the island logs or prints shows its value: %.200s", s.Name, line)
			}
		}
	}
	return nil
}

// settingsDefault writes every default down as an operator would, which must change nothing.
func settingsDefault(ctx context.Context, b *bench) error {
	values := b.settings()
	for _, s := range b.Manifest.Settings {
		if _, given := values[s.Name]; given || s.Required {
			continue
		}
		value, err := writtenDefault(s)
		if err != nil {
			return fmt.Errorf("setting %q: %w", s.Name, err)
		}
		values[s.Name] = value
	}
	island, err := b.fresh(ctx)
	if err != nil {
		return err
	}
	if err := island.Initialize(ctx, b.config(values)); err != nil {
		return fmt.Errorf("with every default written down: %w", err)
	}
	return nil
}
