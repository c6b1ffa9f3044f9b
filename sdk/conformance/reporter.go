package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"reflect"
	"slices"
	"unicode/utf8"

	"github.com/service-islands/islands/sdk"
)

// maxReport bounds a report, all its formats together: it has to fit in one message, beside what is wrapped around it.
const maxReport = 8 << 20

func reporterChecks() []Check {
	return []Check{
		{
			Name: "reports/listed", Role: sdk.RoleReporter, run: reportsListed,
			Rule: "Reports lists what the reporter can make. It is constant and may be asked before Initialize",
		},
		{
			Name: "reports/formats", Role: sdk.RoleReporter, run: on(reportFormats),
			Rule: "Report makes one report in every format its spec lists",
		},
		{
			Name: "reports/pure", Role: sdk.RoleReporter, run: reportPure,
			Rule: "A report is a pure function of its request: the same request gives the same bytes, on any machine at any time",
		},
		{
			Name: "reports/concurrent", Role: sdk.RoleReporter, run: on(reportConcurrent),
			Rule: "A report is a pure function of its request: the same request gives the same bytes, on any machine at any time",
		},
		{
			Name: "reports/request-untouched", Role: sdk.RoleReporter, run: on(reportRequestUntouched),
			Rule: "ReportRequest hands a reporter everything it may use, and is the caller's: other calls may hold the same",
		},
		{
			Name: "reports/unknown", Role: sdk.RoleReporter, run: on(reportUnknown),
			Rule: "InvalidArgument when there is no such report",
		},
		{
			Name: "reports/too-little", Role: sdk.RoleReporter, run: on(reportTooLittle),
			Rule: "Unavailable when what was handed over is too little to say anything",
		},
	}
}

func reportsListed(ctx context.Context, b *bench) error {
	island, err := b.fresh(ctx)
	if err != nil {
		return err
	}
	before := island.(sdk.Reporter).Reports()
	if len(before) == 0 {
		return errors.New("a reporter without a report")
	}
	open, err := b.open(ctx)
	if err != nil {
		return err
	}
	if after := open.(sdk.Reporter).Reports(); !reflect.DeepEqual(before, after) {
		return fmt.Errorf("before Initialize %+v, after it %+v", before, after)
	}
	seen := map[string]bool{}
	for _, spec := range before {
		if !islandName.MatchString(spec.Name) || seen[spec.Name] {
			return fmt.Errorf("the name %q is malformed or given twice", spec.Name)
		}
		seen[spec.Name] = true
		formats := slices.Sorted(slices.Values(spec.Formats))
		if len(formats) == 0 || len(slices.Compact(formats)) != len(spec.Formats) || slices.Contains(spec.Formats, "") {
			return fmt.Errorf("report %s: formats %q", spec.Name, spec.Formats)
		}
		if spec.Needs.DailyCandles < 0 || spec.Needs.DailyCandles > 1000 {
			return fmt.Errorf("report %s needs %d daily candles", spec.Name, spec.Needs.DailyCandles)
		}
		if !slices.ContainsFunc(b.ReportRequests, func(r sdk.ReportRequest) bool { return r.Report == spec.Name }) {
			return fmt.Errorf("subject.ReportRequests has none for the report %s", spec.Name)
		}
	}
	return nil
}

// specOf returns the spec of a report.
func specOf(reporter sdk.Reporter, name string) (sdk.ReportSpec, error) {
	for _, spec := range reporter.Reports() {
		if spec.Name == name {
			return spec, nil
		}
	}
	return sdk.ReportSpec{}, fmt.Errorf("no report %q is listed", name)
}

func reportFormats(ctx context.Context, b *bench, reporter sdk.Reporter) error {
	for _, req := range b.ReportRequests {
		spec, err := specOf(reporter, req.Report)
		if err != nil {
			return err
		}
		report, err := reporter.Report(ctx, req)
		if err != nil {
			return fmt.Errorf("report %s: %w", req.Report, err)
		}
		if len(report.Documents) != len(spec.Formats) {
			return fmt.Errorf("report %s: %d documents for the formats %q", req.Report, len(report.Documents), spec.Formats)
		}
		size := 0
		for _, format := range spec.Formats {
			document, ok := report.Document(format)
			if !ok {
				return fmt.Errorf("report %s lacks the format %q", req.Report, format)
			}
			if err := documentFault(document); err != nil {
				return fmt.Errorf("report %s as %s: %w", req.Report, format, err)
			}
			size += len(document.Body)
		}
		if size > maxReport {
			return fmt.Errorf("report %s has %d bytes in all its formats; at most %d", req.Report, size, maxReport)
		}
	}
	return nil
}

// contentTypes are those of the formats that everybody knows.
var contentTypes = map[string]string{"json": "application/json", "md": "text/markdown", "html": "text/html"}

// documentFault reports what is wrong with a document.
func documentFault(d sdk.Document) error {
	kind, _, err := mime.ParseMediaType(d.ContentType)
	if err != nil {
		return fmt.Errorf("content type %q: %w", d.ContentType, err)
	}
	if want, known := contentTypes[d.Format]; known && kind != want {
		return fmt.Errorf("content type %q, want %q", d.ContentType, want)
	}
	if len(bytes.TrimSpace(d.Body)) == 0 {
		return errors.New("an empty body")
	}
	if _, known := contentTypes[d.Format]; known && !utf8.Valid(d.Body) {
		return errors.New("a body that is not UTF-8")
	}
	if d.Format == "json" && !json.Valid(d.Body) {
		return fmt.Errorf("a body that is not JSON: %.80s", d.Body)
	}
	return nil
}

func reportPure(ctx context.Context, b *bench) error {
	for _, req := range b.ReportRequests {
		var first sdk.Report
		for i := range 4 {
			island, err := b.open(ctx)
			if err != nil {
				return err
			}
			report, err := island.(sdk.Reporter).Report(ctx, req)
			if err != nil {
				return fmt.Errorf("report %s: %w", req.Report, err)
			}
			if i == 0 {
				first = report
			} else if err := sameReport(first, report); err != nil {
				return fmt.Errorf("report %s by two islands: %w", req.Report, err)
			}
		}
	}
	return nil
}

// sameReport returns an error unless two reports have the same bytes.
func sameReport(a, b sdk.Report) error {
	for i, d := range a.Documents {
		if i >= len(b.Documents) || d.Format != b.Documents[i].Format || d.ContentType != b.Documents[i].ContentType {
			return errors.New("the documents differ")
		}
		other := b.Documents[i].Body
		for at := range d.Body {
			if at >= len(other) || d.Body[at] != other[at] {
				return fmt.Errorf("the format %s differs from byte %d on: %.60q and %.60q", d.Format, at, d.Body[at:], other[min(at, len(other)):])
			}
		}
		if len(other) != len(d.Body) {
			return fmt.Errorf("the format %s has %d and %d bytes", d.Format, len(d.Body), len(other))
		}
	}
	return nil
}

func reportConcurrent(ctx context.Context, b *bench, reporter sdk.Reporter) error {
	want := make([]sdk.Report, len(b.ReportRequests))
	for i, req := range b.ReportRequests {
		report, err := reporter.Report(ctx, req)
		if err != nil {
			return fmt.Errorf("report %s: %w", req.Report, err)
		}
		want[i] = report
	}
	return together(func(i int) error {
		i %= len(want)
		report, err := reporter.Report(ctx, b.ReportRequests[i])
		if err != nil {
			return fmt.Errorf("report %s: %w", b.ReportRequests[i].Report, err)
		}
		return sameReport(want[i], report)
	})
}

func reportRequestUntouched(ctx context.Context, b *bench, reporter sdk.Reporter) error {
	for _, req := range b.ReportRequests {
		before, err := json.Marshal(req)
		if err != nil {
			return err
		}
		if _, err := reporter.Report(ctx, req); err != nil {
			return fmt.Errorf("report %s: %w", req.Report, err)
		}
		after, err := json.Marshal(req)
		if err != nil {
			return err
		}
		if !bytes.Equal(before, after) {
			return fmt.Errorf("report %s changed its request from\n%s to\n%s", req.Report, before, after)
		}
	}
	return nil
}

func reportUnknown(ctx context.Context, b *bench, reporter sdk.Reporter) error {
	for _, name := range []string{"", "no-such-report"} {
		req := b.ReportRequests[0]
		req.Report = name
		_, err := reporter.Report(ctx, req)
		if err := wantKind(fmt.Sprintf("report %q", name), err, sdk.InvalidArgument); err != nil {
			return err
		}
	}
	return nil
}

func reportTooLittle(ctx context.Context, b *bench, reporter sdk.Reporter) error {
	for _, spec := range reporter.Reports() {
		req := sdk.ReportRequest{Report: spec.Name, Asset: b.ReportRequests[0].Asset, VsCurrency: b.VsCurrency, Now: b.ReportRequests[0].Now}
		if _, err := reporter.Report(ctx, req); err != nil {
			if err := wantKind("report "+spec.Name+" of nothing", err, sdk.Unavailable); err != nil {
				return err
			}
		}
	}
	return nil
}
