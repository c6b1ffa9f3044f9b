package sdk

import (
	"context"
	"time"
)

// Reporter turns market data into reports. A report is a pure function of its request: the same request gives the same
// bytes, on any machine at any time.
type Reporter interface {
	// Reports lists what the reporter can make. It is constant and may be asked before Initialize.
	Reports() []ReportSpec
	// Report makes one report in every format its spec lists. InvalidArgument when there is no such report; Unavailable
	// when what was handed over is too little to say anything.
	Report(ctx context.Context, req ReportRequest) (Report, error)
}

// ReportSpec describes one kind of report.
type ReportSpec struct {
	// Name such as "crypto-report".
	Name string `json:"name"`
	// Formats it is made in, such as "json", "md" and "html".
	Formats []string `json:"formats"`
	Needs   Needs    `json:"needs"`
}

// Needs is what the host fetches before it asks for a report. A need that cannot be met is handed over as nil, with a
// warning.
type Needs struct {
	Quote     bool `json:"quote"`
	Global    bool `json:"global"`
	Sentiment bool `json:"sentiment"`
	// DailyCandles is how many daily candles are wanted, 0 for none.
	DailyCandles int `json:"daily_candles"`
	// CrossCheck asks for the same quote from a second source.
	CrossCheck bool `json:"cross_check"`
}

// ReportRequest hands a reporter everything it may use.
type ReportRequest struct {
	// Report is the name of the kind of report.
	Report string
	// Asset as it was resolved.
	Asset      Asset
	VsCurrency string
	// Now is the report's time: what is closed and how old things are is judged by it alone.
	Now time.Time
	// ResolvedFrom is the symbol that was asked for.
	ResolvedFrom string
	// Ambiguous lists the other assets of the same symbol, highest market capitalisation first.
	Ambiguous []Asset
	Quote     *Quote
	Candles   *Candles
	Global    *Global
	Sentiment *Sentiment
	// CrossCheck holds the same quote from other sources.
	CrossCheck []Quote
	// Stale names the parts ("quote", "candles", "global", "sentiment") that are older than they should be.
	Stale []string
	// Warnings of the host, such as that no source could give a part.
	Warnings []string
}

// Report is a finished report, the same content in each format.
type Report struct {
	Documents []Document
}

// Document is a report in one format.
type Document struct {
	Format string
	// ContentType such as "application/json".
	ContentType string
	Body        []byte
}

// Document returns the report in a format.
func (r Report) Document(format string) (Document, bool) {
	for _, d := range r.Documents {
		if d.Format == format {
			return d, true
		}
	}
	return Document{}, false
}
