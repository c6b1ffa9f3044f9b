package supervisor

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"

	"github.com/service-islands/islands/sdk"
)

// Shortest values that are redacted. Shorter ones protect nothing, and replacing them would make any text unreadable.
const (
	minSecret = 4
	minEnv    = 6
)

// redacted stands for a secret.
const redacted = "[redacted]"

// redactor replaces in what an island wrote or said about itself what its configuration calls a secret: settings that its
// manifest marks so, and the values of its environment. It cannot recognise a secret that the island has transformed.
type redactor struct {
	replace atomic.Pointer[strings.Replacer]
}

// learn takes over an island's secrets.
func (r *redactor) learn(spec *Spec, manifest sdk.Manifest) {
	var secrets []string
	add := func(value string, least int) {
		if len(value) < least {
			return
		}
		secrets = append(secrets, value)
		// As it stands in a log line, in JSON and in a URL.
		if quoted := strconv.Quote(value); quoted[1:len(quoted)-1] != value {
			secrets = append(secrets, quoted[1:len(quoted)-1])
		}
		if quoted, err := json.Marshal(value); err == nil && string(quoted[1:len(quoted)-1]) != value {
			secrets = append(secrets, string(quoted[1:len(quoted)-1]))
		}
		secrets = append(secrets, url.QueryEscape(value), url.PathEscape(value))
		if u, err := url.Parse(value); err == nil && u.User != nil {
			if password, _ := u.User.Password(); len(password) >= minSecret {
				secrets = append(secrets, password, url.QueryEscape(password), url.PathEscape(password))
			}
		}
	}
	for _, setting := range manifest.Settings {
		if setting.Secret {
			each(spec.Settings[setting.Name], func(value string) { add(value, minSecret) })
		}
	}
	for _, value := range spec.Env {
		add(value, minEnv)
	}
	if len(secrets) == 0 {
		return // Looking for nothing in every text has its price, too.
	}
	// The longest first: one may be a part of another.
	slices.SortFunc(secrets, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	pairs := make([]string, 0, 2*len(secrets))
	for _, secret := range slices.Compact(secrets) {
		pairs = append(pairs, secret, redacted)
	}
	r.replace.Store(strings.NewReplacer(pairs...))
}

// each calls do with every text in a setting's value.
func each(value any, do func(string)) {
	switch value := value.(type) {
	case nil, bool:
	case string:
		do(value)
	case []any:
		for _, v := range value {
			each(v, do)
		}
	case []string:
		for _, v := range value {
			do(v)
		}
	case map[string]any:
		for _, v := range value {
			each(v, do)
		}
	default:
		do(fmt.Sprint(value))
	}
}

// text returns a text without the secrets in it.
func (r *redactor) text(text string) string {
	if r == nil {
		return text
	}
	if replace := r.replace.Load(); replace != nil {
		return replace.Replace(text)
	}
	return text
}

// crash redacts everything that the island may have written.
func (r *redactor) crash(c *Crash) {
	c.Error, c.Stderr, c.Stack = r.text(c.Error), r.text(c.Stderr), r.text(c.Stack)
}

// logger returns a logger that redacts what is logged through it.
func (r *redactor) logger(to hclog.Logger) hclog.Logger { return &redactingLogger{to, r} }

// redactingLogger is where the log lines of one island pass.
type redactingLogger struct {
	hclog.Logger
	hide *redactor
}

var _ hclog.Logger = (*redactingLogger)(nil)

// args redacts the values of a log line.
func (l *redactingLogger) args(args []any) []any {
	out := slices.Clone(args)
	for i, arg := range out {
		switch arg := arg.(type) {
		case string:
			out[i] = l.hide.text(arg)
		case error:
			out[i] = l.hide.text(arg.Error())
		case []byte:
			out[i] = l.hide.text(string(arg))
		case map[string]any, []any:
			if text := fmt.Sprint(arg); l.hide.text(text) != text {
				out[i] = l.hide.text(text)
			}
		}
	}
	return out
}

// Log implements hclog.Logger.
func (l *redactingLogger) Log(level hclog.Level, msg string, args ...any) {
	l.Logger.Log(level, l.hide.text(msg), l.args(args)...)
}

// Trace implements hclog.Logger.
func (l *redactingLogger) Trace(msg string, args ...any) { l.Log(hclog.Trace, msg, args...) }

// Debug implements hclog.Logger.
func (l *redactingLogger) Debug(msg string, args ...any) { l.Log(hclog.Debug, msg, args...) }

// Info implements hclog.Logger.
func (l *redactingLogger) Info(msg string, args ...any) { l.Log(hclog.Info, msg, args...) }

// Warn implements hclog.Logger.
func (l *redactingLogger) Warn(msg string, args ...any) { l.Log(hclog.Warn, msg, args...) }

// Error implements hclog.Logger.
func (l *redactingLogger) Error(msg string, args ...any) { l.Log(hclog.Error, msg, args...) }

// With implements hclog.Logger.
func (l *redactingLogger) With(args ...any) hclog.Logger {
	return &redactingLogger{l.Logger.With(l.args(args)...), l.hide}
}

// Named implements hclog.Logger.
func (l *redactingLogger) Named(name string) hclog.Logger {
	return &redactingLogger{l.Logger.Named(name), l.hide}
}

// ResetNamed implements hclog.Logger.
func (l *redactingLogger) ResetNamed(name string) hclog.Logger {
	return &redactingLogger{l.Logger.ResetNamed(name), l.hide}
}
