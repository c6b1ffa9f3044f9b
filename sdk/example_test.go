package sdk_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/service-islands/islands/sdk"
)

// The settings of an island are the tagged fields of a struct: its manifest lists them, and Initialize decodes into them.
func ExampleSettingsOf() {
	type settings struct {
		URL     string        `setting:"url" default:"https://api.example.com" doc:"Base URL of the service."`
		APIKey  sdk.Secret    `setting:"api_key" doc:"Key of the service."`
		Timeout time.Duration `setting:"timeout" default:"3s" doc:"Bound on one call."`
	}
	for _, s := range sdk.SettingsOf(settings{}) {
		fmt.Printf("%s (%s, %q, secret %t, required %t): %s\n", s.Name, s.Type, s.Default, s.Secret, s.Required, s.Doc)
	}
	// Output:
	// url (string, "https://api.example.com", secret false, required false): Base URL of the service.
	// api_key (string, "", secret true, required true): Key of the service.
	// timeout (duration, "3s", secret false, required false): Bound on one call.
}

// Decode fills in the defaults, and refuses what no setting takes: the error names the setting, which the host shows beside
// its line in islands.hcl.
func ExampleConfig_Decode() {
	type settings struct {
		Room sdk.Size      `setting:"room" default:"64MiB" doc:"Bound on memory."`
		Wait time.Duration `setting:"wait" default:"3s" doc:"Bound on one call."`
	}
	var set settings
	err := sdk.Config{Values: map[string]any{"room": "1KiB"}}.Decode(&set)
	fmt.Println(int64(set.Room), set.Wait, err)

	err = sdk.Config{Values: map[string]any{"wait": "soon"}}.Decode(&set)
	var wrong *sdk.Error
	if errors.As(err, &wrong) {
		fmt.Println(wrong.Kind, "/", wrong.Setting, "/", wrong)
	}
	// Output:
	// 1024 3s <nil>
	// invalid argument / wait / setting "wait": wants a duration such as "30s", not "soon"
}

// A figure that nobody gave stays unknown: it is null in JSON and never 0.
func ExampleNumber() {
	var quote struct {
		Price, Volume, High sdk.Number
	}
	if err := json.Unmarshal([]byte(`{"Price": "64000.10", "Volume": null}`), &quote); err != nil {
		fmt.Println(err)
	}
	fmt.Println(quote.Price, quote.Volume, quote.High.IsKnown(), quote.High.Or(-1))
	text, _ := json.Marshal(sdk.Known(0.00000012))
	fmt.Println(string(text))
	// Output:
	// 64000.1 null false -1
	// 0.00000012
}

// A Kind is what the host goes by: it asks another source, waits, or gives up. It stays true through whatever is wrapped
// around it, and across the process boundary.
func ExampleKind() {
	err := fmt.Errorf("quotes of btc: %w", &sdk.Error{Kind: sdk.RateLimited, Message: "too many calls", RetryAfter: 30 * time.Second})
	fmt.Println(errors.Is(err, sdk.RateLimited), errors.Is(err, sdk.NotFound), sdk.KindOf(err), err)

	err = sdk.Errorf(sdk.NotFound, "there is no asset %q", "nosuch")
	fmt.Println(errors.Is(err, sdk.NotFound), err)
	// Output:
	// true false rate limited quotes of btc: too many calls
	// true there is no asset "nosuch"
}

// A secret shows nowhere but where it is revealed.
func ExampleSecret() {
	key := sdk.Secret("k-123")
	fmt.Println(key, len(key.Reveal()))
	fmt.Printf("%v %+v %#v\n", key, struct{ Key sdk.Secret }{key}, key)
	// Output:
	// [secret] 5
	// [secret] {Key:[secret]} "[secret]"
}

// Host and island work with what both know.
func ExampleProtocol_Common() {
	island, host := sdk.Protocol{Major: 1, Minor: 7}, sdk.Protocol{Major: 1, Minor: 4}
	fmt.Println(island.Common(host), island.Check(host))
	fmt.Println(sdk.Protocol{Major: 2}.Check(host))
	// Output:
	// 1.4 <nil>
	// it speaks protocol 2 and this host protocol 1: upgrade the host to one that speaks protocol 2, or use a release of the island that was built for protocol 1
}
