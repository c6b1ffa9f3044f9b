package sdk_test

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"testing"

	"github.com/service-islands/islands/sdk"
)

// mood has one role.
type mood struct{ sdk.Life }

func (mood) Initialize(context.Context, sdk.Config) error { return nil }
func (mood) Sentiment(context.Context, sdk.SentimentRequest) (sdk.Sentiment, error) {
	return sdk.Sentiment{}, nil
}

// writer has another.
type writer struct{ mood }

func (writer) Reports() []sdk.ReportSpec {
	return []sdk.ReportSpec{{Name: "mood-report", Formats: []string{"json"}, Needs: sdk.Needs{Sentiment: true, DailyCandles: 30}}}
}

func (writer) Report(context.Context, sdk.ReportRequest) (sdk.Report, error) {
	return sdk.Report{}, nil
}

func TestCompleteAndRoles(t *testing.T) {
	m := sdk.Manifest{Name: "mood"}.Complete(writer{})
	if !reflect.DeepEqual(m.Roles, []sdk.Role{sdk.RoleSentiment, sdk.RoleReporter}) || len(m.Reports) != 1 ||
		m.Protocol != (sdk.Protocol{Major: sdk.ProtocolMajor, Minor: sdk.ProtocolMinor}) {
		t.Errorf("%+v", m)
	}
	if !m.Has(sdk.RoleReporter) || m.Has(sdk.RoleCache) {
		t.Error("Has is wrong")
	}
	if m := (sdk.Manifest{}).Complete(mood{}); m.Reports != nil {
		t.Errorf("reports without a reporter: %+v", m)
	}
}

func TestManifestJSON(t *testing.T) {
	m := sdk.Manifest{
		Name: "mood", Version: "1.0.0", Layer: sdk.LayerExternalServices, Description: "How the market feels.", Settings: sdk.SettingsOf(every{}),
	}.Complete(writer{})
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var back sdk.Manifest
	if err := json.Unmarshal(text, &back); err != nil || !reflect.DeepEqual(back, m) {
		t.Errorf("%s\nreads back as %+v, %v", text, back, err)
	}
	var keys map[string]any
	if err := json.Unmarshal(text, &keys); err != nil || keys["layer"] != "external_services" {
		t.Errorf("%s, %v", text, err)
	}
	if err := json.Unmarshal([]byte(`{"layer":"cellar"}`), &back); !errors.Is(err, sdk.InvalidArgument) {
		t.Errorf("an unknown layer: %v", err)
	}
	if s, ok := m.Setting("key"); !ok || !s.Secret {
		t.Errorf("%+v", s)
	}
	if _, ok := m.Setting("none"); ok {
		t.Error("a setting that is not declared")
	}
}

func TestLayers(t *testing.T) {
	for layer := sdk.LayerInfrastructure; layer <= sdk.LayerBusinessLogic; layer++ {
		if back, err := sdk.ParseLayer(layer.String()); err != nil || back != layer {
			t.Errorf("%v is read back as %v, %v", layer, back, err)
		}
	}
	if sdk.Layer(0).String() != "layer(0)" || sdk.Layer(6).String() != "layer(6)" {
		t.Error("layers that there are not have names")
	}
	for _, name := range []string{"", "Infrastructure", "layer(1)"} {
		if _, err := sdk.ParseLayer(name); !errors.Is(err, sdk.InvalidArgument) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestHealth(t *testing.T) {
	if sdk.Worst() != sdk.StatusOK || sdk.Worst(sdk.StatusOK, sdk.StatusFailed, sdk.StatusDegraded) != sdk.StatusFailed {
		t.Error("Worst is wrong")
	}
	h := sdk.Degraded("l2 is down", sdk.Part{Name: "l1"}, sdk.Part{Name: "l2", Status: sdk.StatusFailed, Details: map[string]any{"n": 1.0}})
	text, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	var back sdk.Health
	if err := json.Unmarshal(text, &back); err != nil || !reflect.DeepEqual(back, h) {
		t.Errorf("%s reads back as %+v, %v", text, back, err)
	}
	if err := json.Unmarshal([]byte(`{"status":"fine"}`), &back); err == nil {
		t.Error("an unknown status is read")
	}
	if p, ok := h.Part("l2"); !ok || p.Status != sdk.StatusFailed {
		t.Errorf("%+v", p)
	}
	if _, ok := h.Part("l3"); ok {
		t.Error("a part that is not there")
	}
	if sdk.Status(9).String() != "status(9)" {
		t.Errorf("%v", sdk.Status(9))
	}
}

func TestMetricsValue(t *testing.T) {
	labelled := sdk.Counter("b_total", "B.", 0)
	labelled.Samples = []sdk.Sample{{Labels: map[string]string{"x": "1"}, Value: 4}, {Labels: map[string]string{"x": "1", "y": "2"}, Value: 5}}
	m := sdk.Metrics{sdk.Gauge("a_bytes", "bytes", "A.", 3), labelled}
	for name, tc := range map[string]struct {
		metric string
		labels map[string]string
		want   float64
		ok     bool
	}{
		"unlabelled":                  {"a_bytes", nil, 3, true},
		"unlabelled by an empty set":  {"a_bytes", map[string]string{}, 3, true},
		"labelled":                    {"b_total", map[string]string{"x": "1"}, 4, true},
		"labelled twice":              {"b_total", map[string]string{"y": "2", "x": "1"}, 5, true},
		"a labelled one without them": {"b_total", nil, 0, false},
		"other labels":                {"b_total", map[string]string{"x": "2"}, 0, false},
		"another name":                {"c", nil, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got, ok := m.Value(tc.metric, tc.labels); got != tc.want || ok != tc.ok {
				t.Errorf("%v, %v", got, ok)
			}
		})
	}
	if m[0].Type != sdk.GaugeType || m[0].Unit != "bytes" || m[1].Type != sdk.CounterType {
		t.Errorf("%+v", m)
	}
}

func TestLifeHoldsNothing(t *testing.T) {
	var life sdk.Life
	metrics, err := life.Metrics(t.Context())
	if h := life.Health(t.Context()); h.Status != sdk.StatusOK || metrics != nil || err != nil || life.Shutdown(t.Context()) != nil {
		t.Errorf("%+v, %v, %v", h, metrics, err)
	}
}

func TestReportDocument(t *testing.T) {
	r := sdk.Report{Documents: []sdk.Document{{Format: "json"}, {Format: "md", Body: []byte("m")}}}
	if d, ok := r.Document("md"); !ok || string(d.Body) != "m" {
		t.Errorf("%+v", d)
	}
	if _, ok := r.Document("pdf"); ok {
		t.Error("a format that is not there")
	}
}

func TestRequestID(t *testing.T) {
	if id := sdk.RequestID(t.Context()); id != "" {
		t.Errorf("%q", id)
	}
	if id := sdk.RequestID(sdk.WithRequestID(t.Context(), "r1")); id != "r1" {
		t.Errorf("%q", id)
	}
}
