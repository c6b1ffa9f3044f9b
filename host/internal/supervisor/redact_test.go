package supervisor

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/service-islands/islands/sdk"
)

func TestRedactor(t *testing.T) {
	t.Parallel()
	manifest := sdk.Manifest{Settings: []sdk.Setting{{Name: "key", Secret: true}, {Name: "url", Secret: true}, {Name: "region"}, {Name: "pins", Secret: true}}}
	for name, test := range map[string]struct {
		settings map[string]any
		env      map[string]string
		text     string
		want     string
	}{
		"as it is":                  {settings: map[string]any{"key": "s3cret"}, text: "a s3cret here", want: "a [redacted] here"},
		"what is no secret":         {settings: map[string]any{"region": "europe"}, text: "in europe", want: "in europe"},
		"too short to be one":       {settings: map[string]any{"key": "abc"}, text: "abc", want: "abc"},
		"of the environment":        {env: map[string]string{"TOKEN": "t0ken-7"}, text: "bad t0ken-7", want: "bad [redacted]"},
		"in a query":                {settings: map[string]any{"key": "a b&c/d"}, text: "?key=a+b%26c%2Fd", want: "?key=[redacted]"},
		"in a path":                 {settings: map[string]any{"key": "a b&c/d"}, text: "/v1/a%20b&c%2Fd/x", want: "/v1/[redacted]/x"},
		"quoted":                    {settings: map[string]any{"key": `say "hi"`}, text: fmt.Sprintf("%q", `say "hi"`), want: `"[redacted]"`},
		"in JSON":                   {settings: map[string]any{"key": "a<b>c"}, text: `{"k":"a\u003cb\u003ec"}`, want: `{"k":"[redacted]"}`},
		"the password of a URL":     {settings: map[string]any{"url": "redis://me:pass123@x:1/0"}, text: "me/pass123 refused", want: "me/[redacted] refused"},
		"in a list":                 {settings: map[string]any{"pins": []any{"first-pin", 123456.0}}, text: "first-pin 123456", want: "[redacted] [redacted]"},
		"one that is part of other": {settings: map[string]any{"pins": []any{"abcd", "abcdef"}}, text: "abcdef abcd", want: "[redacted] [redacted]"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hide := &redactor{}
			hide.learn(&Spec{Settings: test.settings, Env: test.env}, manifest)
			if got := hide.text(test.text); got != test.want {
				t.Errorf("%q became %q, want %q", test.text, got, test.want)
			}
		})
	}
}

// TestRedactorOfAnErrorOfHTTP takes the key out of the text that net/http makes by itself.
func TestRedactorOfAnErrorOfHTTP(t *testing.T) {
	t.Parallel()
	const key = "key with /odd\" signs"
	hide := &redactor{}
	hide.learn(&Spec{Settings: map[string]any{"key": key}}, sdk.Manifest{Settings: []sdk.Setting{{Name: "key", Secret: true}}})
	for _, at := range []string{"?key=" + url.QueryEscape(key), url.PathEscape(key)} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1:1/"+at, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			_ = resp.Body.Close()
			t.Fatal("somebody listens on port 1")
		}
		if text := hide.text(err.Error()); strings.Contains(text, "signs") || !strings.Contains(text, redacted) {
			t.Errorf("%s", text)
		}
	}
}

// TestNoSecretCostsNothing has nothing looked for where there is nothing to hide.
func TestNoSecretCostsNothing(t *testing.T) {
	t.Parallel()
	hide := &redactor{}
	hide.learn(&Spec{Settings: map[string]any{"key": ""}, Env: map[string]string{"A": "b"}}, sdk.Manifest{Settings: []sdk.Setting{{Name: "key", Secret: true}}})
	if hide.replace.Load() != nil {
		t.Error("a replacer of nothing")
	}
	if got := hide.text("text"); got != "text" {
		t.Error(got)
	}
}
