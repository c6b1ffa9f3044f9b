package report

import (
	"encoding/json"
	"fmt"
	"html/template"

	"github.com/service-islands/islands/sdk"
)

// The reports there are.
const (
	CryptoReport      = "crypto-report"
	TechnicalAnalysis = "technical-analysis"
)

// dailyCandles is how many days a report asks for: a year for the drawdown, and enough more for the long averages to
// forget how they started.
const dailyCandles = 400

// Specs lists the reports with what each needs.
func Specs() []sdk.ReportSpec {
	return []sdk.ReportSpec{
		{
			Name: CryptoReport, Formats: []string{"json", "md", "html"},
			Needs: sdk.Needs{Quote: true, Global: true, Sentiment: true, DailyCandles: dailyCandles, CrossCheck: true},
		},
		{
			Name: TechnicalAnalysis, Formats: []string{"json", "md", "html"},
			Needs: sdk.Needs{Quote: true, DailyCandles: dailyCandles},
		},
	}
}

// Writer writes reports. It may be used concurrently.
type Writer struct {
	page       *template.Template
	disclaimer string
}

// NewWriter makes a writer whose reports end with the disclaimer.
func NewWriter(disclaimer string) (*Writer, error) {
	page, err := parsePage()
	if err != nil {
		return nil, err
	}
	return &Writer{page: page, disclaimer: disclaimer}, nil
}

// Write makes the report that the request names in every format. InvalidArgument when there is no such report or the
// request cannot be meant; Unavailable when what was handed over is too little: neither a price nor a closed daily candle,
// and for a technical analysis no closed daily candle.
func (w *Writer) Write(req sdk.ReportRequest) (sdk.Report, error) {
	switch req.Report {
	case CryptoReport:
		c, err := build(req, w.disclaimer)
		if err != nil {
			return sdk.Report{}, err
		}
		return w.documents(c, outlineOf(c))
	case TechnicalAnalysis:
		c, err := buildTechnical(req, w.disclaimer)
		if err != nil {
			return sdk.Report{}, err
		}
		return w.documents(c, technicalOutlineOf(c))
	default:
		return sdk.Report{}, sdk.Errorf(sdk.InvalidArgument, "no report %.64q; the reports are %s and %s",
			req.Report, CryptoReport, TechnicalAnalysis)
	}
}

// documents encodes a content and renders its outline.
func (w *Writer) documents(content any, o outline) (sdk.Report, error) {
	encoded, err := json.Marshal(content)
	if err != nil {
		return sdk.Report{}, fmt.Errorf("encode the report: %w", err)
	}
	page, err := html(w.page, o)
	if err != nil {
		return sdk.Report{}, err
	}
	return sdk.Report{Documents: []sdk.Document{
		{Format: "json", ContentType: "application/json", Body: encoded},
		{Format: "md", ContentType: "text/markdown; charset=utf-8", Body: markdown(o)},
		{Format: "html", ContentType: "text/html; charset=utf-8", Body: page},
	}}, nil
}
