package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/upstream"
)

// A client keeps to a budget, tries again when that makes sense, and answers every failure as a kind. Its key never shows.
func ExampleClient_GetJSON() {
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/price/btc" {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusNotFound)
			_, _ = fmt.Fprintf(w, `{"error": "no such coin, %s"}`, r.Header.Get("X-Api-Key"))
			return
		}
		_, _ = fmt.Fprint(w, `{"price": "64000.10"}`)
	}))
	defer service.Close()
	client := upstream.New(upstream.Options{
		BaseURL: service.URL + "/v1",
		Headers: map[string]sdk.Secret{"X-Api-Key": "k-123456789"},
		Limit:   upstream.Limit{PerMinute: 60},
	})
	defer client.Close()

	var body struct{ Price sdk.Number }
	err := client.GetJSON(context.Background(), upstream.Request{Path: "/price/btc", Retries: 2}, &body)
	fmt.Println(body.Price, err)

	err = client.GetJSON(context.Background(), upstream.Request{Path: "/price/nosuch"}, &body)
	fmt.Println(errors.Is(err, sdk.NotFound), err)
	// Output:
	// 64000.1 <nil>
	// true GET /price/nosuch: 404 Not Found
}
