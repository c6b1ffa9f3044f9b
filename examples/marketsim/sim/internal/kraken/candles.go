package kraken

import (
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/service-islands/islands/examples/marketsim/sim/internal/upstream"
)

// intervals are the lengths of candles, in minutes. They are counted from 1970, so weeks begin on Thursdays.
var intervals = []int{1, 5, 15, 30, 60, 240, 1440, 10080, 21600}

// mostRows is how many candles one call returns.
const mostRows = 720

// ohlc serves the last candles, oldest first; those after since, if it is sent. The last one is open, and always there.
func (s *Service) ohlc(r *upstream.Request) upstream.Reply {
	p := s.byName[r.Query.Get("pair")]
	if r.Query.Get("pair") == "" {
		return words(http.StatusOK, wordsArguments)
	}
	if p == nil || r.Now.Before(p.listed) {
		return words(http.StatusOK, wordsPair)
	}
	minutes, err := strconv.Atoi(r.Query.Get("interval"))
	if r.Query.Get("interval") == "" {
		minutes, err = 1, nil
	}
	if err != nil || !slices.Contains(intervals, minutes) {
		return words(http.StatusOK, wordsArguments+":interval")
	}
	since := int64(-1)
	if text := r.Query.Get("since"); text != "" {
		if since, err = strconv.ParseInt(text, 10, 64); err != nil {
			return words(http.StatusOK, wordsArguments+":since")
		}
	}
	length := time.Duration(minutes) * time.Minute
	last := floor(r.Now, length)
	first := last.Add(-(mostRows - 1) * length)
	for first.Before(floor(p.listed, length)) {
		first = first.Add(length)
	}
	rows := [][8]any{}
	for open := first; !open.After(last); open = open.Add(length) {
		if open.Unix() <= since && open.Before(last) {
			continue
		}
		to := open.Add(length)
		if to.After(r.Now) {
			to = r.Now
		}
		b := p.bar(open, to)
		rows = append(rows, [8]any{
			open.Unix(), p.figure(b.Open), p.figure(b.High), p.figure(b.Low), p.figure(b.Close), p.figure(p.round(b.Typical())),
			lots(b.Volume), b.Trades,
		})
	}
	return result(upstream.Object{{Name: p.key, Value: rows}, {Name: "last", Value: last.Add(-length).Unix()}})
}

// floor is when the interval that holds an instant began.
func floor(t time.Time, length time.Duration) time.Time {
	seconds, span := t.Unix(), int64(length/time.Second)
	return time.Unix(seconds-seconds%span, 0).UTC()
}
