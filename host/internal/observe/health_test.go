package observe

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/service-islands/islands/sdk"
)

func TestSystem(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.FixedZone("east", 3600))
	since := at.Add(-time.Minute)
	got := System(at, []IslandState{
		{Name: "cache", Layer: sdk.LayerInfrastructure, State: "running", Since: since, Health: sdk.Degraded("l2 is away")},
		{Name: "sqlite-store", Layer: sdk.LayerInfrastructure, State: "crash_loop", Since: since},
		{Name: "postgres-store", Layer: sdk.LayerInfrastructure, State: "disabled", Since: since},
		{Name: "mood", Layer: sdk.LayerExternalServices, State: "restarting", Since: since, Health: sdk.Failed("old news")},
	}, map[sdk.Layer]sdk.Health{sdk.LayerCommunication: sdk.Degraded("the feed has no leader")})

	body, err := json.MarshalIndent(got, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	const want = `{
  "layer1": {
    "status": "failed",
    "reason": "sqlite-store: crashed too often and waits for a reset or the next probe; cache: l2 is away",
    "islands": [
      {
        "name": "cache",
        "status": "degraded",
        "reason": "l2 is away",
        "since": "2026-03-04T04:05:07Z"
      },
      {
        "name": "sqlite-store",
        "status": "failed",
        "reason": "crashed too often and waits for a reset or the next probe",
        "since": "2026-03-04T04:05:07Z"
      },
      {
        "name": "postgres-store",
        "status": "ok",
        "reason": "disabled",
        "since": "2026-03-04T04:05:07Z"
      }
    ]
  },
  "layer2": {
    "status": "degraded",
    "reason": "mood: is restarting",
    "islands": [
      {
        "name": "mood",
        "status": "degraded",
        "reason": "is restarting",
        "since": "2026-03-04T04:05:07Z"
      }
    ]
  },
  "layer3": {
    "status": "degraded",
    "reason": "the feed has no leader",
    "islands": []
  },
  "layer4": {
    "status": "ok",
    "reason": "",
    "islands": []
  },
  "layer5": {
    "status": "ok",
    "reason": "",
    "islands": []
  },
  "overall": "failed",
  "reasons": [
    "infrastructure: sqlite-store: crashed too often and waits for a reset or the next probe; cache: l2 is away",
    "external_services: mood: is restarting",
    "communication: the feed has no leader"
  ],
  "timestamp": "2026-03-04T04:06:07Z"
}`
	if diff := cmp.Diff(want, string(body)); diff != "" {
		t.Errorf("system health (-want +got):\n%s", diff)
	}
}

func TestStatusOf(t *testing.T) {
	t.Parallel()
	for state, want := range map[string]sdk.Status{
		"running": sdk.StatusOK, "disabled": sdk.StatusOK, "starting": sdk.StatusDegraded, "restarting": sdk.StatusDegraded,
		"crash_loop": sdk.StatusFailed, "failed": sdk.StatusFailed, "stopped": sdk.StatusFailed, "": sdk.StatusFailed,
	} {
		if got, reason := StatusOf(IslandState{State: state}); got != want || (got != sdk.StatusOK && reason == "") {
			t.Errorf("state %q is %s (%q), want %s", state, got, reason, want)
		}
	}
}
