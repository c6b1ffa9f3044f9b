package pipeline

import (
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/service-islands/islands/sdk"
)

// entryFault is why a remembered value is not taken.
func entryFault(e sdk.Entry, now time.Time) fault {
	switch {
	case len(e.Value) > maxRemembered:
		return faultSize
	case e.StoredAt.After(now.Add(aheadTolerance)):
		return faultFuture
	case e.FreshUntil.Before(e.StoredAt), e.StaleUntil.Before(e.FreshUntil):
		return faultOrder
	default:
		return faultNone
	}
}

// lookups takes what a cache found; what is not taken is a miss. Nil means that the answer has not one result per key.
func (v *verdict) lookups(keys []string, results []sdk.Lookup, now time.Time) []sdk.Lookup {
	if len(results) != len(keys) {
		v.drop(faultSurplus)
		v.lies++
		return nil
	}
	for i, l := range results {
		if !l.Found {
			continue
		}
		f := entryFault(l.Entry, now)
		if l.Entry.Key != "" && l.Entry.Key != keys[i] {
			f = faultNotAsked
		}
		if f != faultNone {
			v.drop(f)
			results[i] = sdk.Lookup{Entry: sdk.Entry{Key: keys[i]}, Version: l.Version}
			continue
		}
		v.taken++
	}
	return results
}

// recalled takes what a store kept.
func (v *verdict) recalled(keys []string, entries []sdk.Entry, now time.Time) []sdk.Entry {
	left := make(map[string]bool, len(keys))
	for _, key := range keys {
		left[key] = true
	}
	taken := make([]sdk.Entry, 0, min(len(entries), len(keys)))
	for _, e := range entries {
		f := entryFault(e, now)
		if !left[e.Key] {
			f = faultNotAsked
		}
		if f != faultNone {
			v.drop(f)
			continue
		}
		delete(left, e.Key)
		v.taken++
		taken = append(taken, e)
	}
	return taken
}

// history takes a page of stored quotes: as many as were asked for, of the time that was asked for.
func (v *verdict) history(req sdk.HistoryRequest, page sdk.HistoryPage, now time.Time) sdk.HistoryPage {
	quotes := page.Quotes
	page.Quotes = make([]sdk.Quote, 0, len(quotes))
	for _, q := range quotes {
		f := quoteFault(q, now)
		if f == faultAncient {
			f = faultNone
		}
		switch {
		case f != faultNone:
		case (q.Symbol != req.Symbol && q.ID != req.Symbol) || (q.VsCurrency != "" && q.VsCurrency != req.VsCurrency),
			q.AsOf.Before(req.From), !req.To.IsZero() && !q.AsOf.Before(req.To):
			f = faultNotAsked
		case req.Limit > 0 && len(page.Quotes) == req.Limit:
			f = faultSurplus
		}
		if f != faultNone {
			v.drop(f)
			continue
		}
		v.tidyQuote(&q, now)
		v.taken++
		page.Quotes = append(page.Quotes, q)
	}
	slices.SortStableFunc(page.Quotes, func(a, b sdk.Quote) int { return a.AsOf.Compare(b.AsOf) })
	return page
}

// contentTypes are what documents of the usual formats may be.
var contentTypes = map[string]string{"json": "application/json", "md": "text/markdown", "html": "text/html", "txt": "text/plain"}

// report takes the documents of a report, of the formats that were declared; nil declares none in particular.
func (v *verdict) report(formats []string, report sdk.Report) sdk.Report {
	documents := report.Documents
	report.Documents = nil
	for _, d := range documents {
		f := documentFault(d, formats)
		if _, twice := report.Document(d.Format); f == faultNone && (twice || len(report.Documents) == maxDocuments) {
			f = faultSurplus
		}
		if f != faultNone {
			v.drop(f)
			continue
		}
		v.taken++
		report.Documents = append(report.Documents, d)
	}
	return report
}

// documentFault is why a document is not taken.
func documentFault(d sdk.Document, formats []string) fault {
	kind, _, _ := strings.Cut(d.ContentType, ";")
	kind = strings.ToLower(strings.TrimSpace(kind))
	want := contentTypes[d.Format]
	switch {
	case !legible(d.Format, maxLabelText) || !legible(d.ContentType, maxIDText):
		return faultText
	case formats != nil && !slices.Contains(formats, d.Format):
		return faultFormat
	case want != "" && kind != want, want == "" && !strings.Contains(kind, "/"):
		return faultFormat
	// A browser runs what is HTML: only a document that says so by its format may be.
	case want == "" && (strings.Contains(kind, "html") || strings.Contains(kind, "script") || strings.Contains(kind, "svg")):
		return faultFormat
	case len(d.Body) > maxDocument:
		return faultSize
	case want != "" && !utf8.Valid(d.Body):
		return faultText
	default:
		return faultNone
	}
}
