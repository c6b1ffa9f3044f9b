package upstream_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/upstream"
)

func TestAWrongAddressIsNotAMissingAsset(t *testing.T) {
	page := "<!DOCTYPE html><html><body>404 Not Found</body></html>"
	knows := func(status int, _ http.Header, body []byte) error {
		if status == 404 && strings.Contains(string(body), "no such coin") {
			return sdk.Errorf(sdk.NotFound, "no such coin")
		}
		return nil
	}
	for name, tc := range map[string]struct {
		status   int
		body     string
		fixed    bool
		classify func(int, http.Header, []byte) error
		kind     sdk.Kind
	}{
		"an object":                       {404, ` {"error":"x"}`, false, nil, sdk.NotFound},
		"an array":                        {410, `["x"]`, false, nil, sdk.NotFound},
		"a page":                          {404, page, false, nil, sdk.BadUpstream},
		"a page, gone":                    {410, page, false, nil, sdk.BadUpstream},
		"text":                            {404, "404 page not found", false, nil, sdk.BadUpstream},
		"a number":                        {404, "404", false, nil, sdk.BadUpstream},
		"half an object":                  {404, `{"error":`, false, nil, sdk.BadUpstream},
		"nothing":                         {404, "", false, nil, sdk.BadUpstream},
		"a page that Classify leaves":     {404, page, false, knows, sdk.BadUpstream},
		"what Classify knows":             {404, "no such coin", false, knows, sdk.NotFound},
		"an object, path fixed":           {404, `{"error":"x"}`, true, nil, sdk.BadUpstream},
		"what Classify knows, path fixed": {404, "no such coin", true, knows, sdk.BadUpstream},
		"another failure, path fixed":     {400, `{"error":"x"}`, true, nil, sdk.InvalidArgument},
	} {
		t.Run(name, func(t *testing.T) {
			c := clientOf(t, always(tc.status, tc.body), func(o *upstream.Options) { o.Classify = tc.classify })
			var v struct{}
			err := c.GetJSON(t.Context(), upstream.Request{Path: "/coins", Fixed: tc.fixed}, &v)
			wantKind(t, err, tc.kind)
			degraded := c.Health().Status == sdk.StatusDegraded
			if wrong := tc.kind == sdk.BadUpstream; degraded != wrong || strings.Contains(err.Error(), "is the address right?") != wrong {
				t.Errorf("%v, health %+v", err, c.Health())
			}
		})
	}
}
