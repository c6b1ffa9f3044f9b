// Package report writes reports about one asset: the full crypto report and the technical analysis alone, each as JSON,
// Markdown and HTML.
//
// # Design
//
// Pure. A report is a function of its request and the disclaimer: no clock, no randomness, no map in its output, so that
// the same request gives the same bytes.
//
// Stable. Every key is always there; what no source gave is null, and a warning says so. Nested objects keep their keys
// too, so that a reader never has to ask twice whether something exists. Numbers are plain decimals at full precision;
// only the renderings for people round.
//
// One outline, two renderings. Markdown and HTML are made from the same outline of headings, paragraphs, tables and
// lists, which is made from the same content as the JSON; so none can say more than another. What comes from outside
// (names, notes, warnings) is escaped by each rendering in its own way.
//
// The HTML has no script and loads nothing. Its one style element is constant; a gateway with a strict
// Content-Security-Policy allows it by its hash, StyleHash. Without the style the page reads just as well.
//
// Mistrust. A quote or a global figure in another currency than the report's, or a quote of another symbol, is not used.
// A price that is not positive, and a volume, capitalisation or supply below zero, count as unknown. Dominance is the
// asset's market capitalisation in percent of the whole market's. The cross check compares with sources other than the
// quote's own: deviation_bps is the largest |other - price| / price in hundredths of a percent, and above 100 a warning.
//
// A quote divides support from resistance unless it is older than the newest close.
package report
