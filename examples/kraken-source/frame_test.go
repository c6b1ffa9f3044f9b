package main

import (
	"bufio"
	"strings"
	"testing"
	"time"
)

func TestFrames(t *testing.T) {
	want := []frameKind{
		frameStatus, frameReply, frameReply, frameTickers, frameTickers, frameMinutes, frameHeartbeat, framePong, frameReply, frameUnknown,
	}
	lines := bufio.NewScanner(strings.NewReader(recorded(t, "frames.txt")))
	for i := 0; lines.Scan(); i++ {
		got := decodeFrame(lines.Bytes())
		if got.kind != want[i] {
			t.Errorf("line %d is %d, want %d: %s", i+1, got.kind, want[i], lines.Text())
			continue
		}
		switch i {
		case 1:
			if r := got.reply; !r.ok || r.channel != channelTicker || r.symbol != "BTC/USD" || r.id != 1 || got.at.Nanosecond() != 481058000 {
				t.Errorf("%+v at %v", r, got.at)
			}
		case 2:
			if r := got.reply; r.ok || r.symbol != "FOO/USD" || r.complaint != "Currency pair not supported FOO/USD" {
				t.Errorf("%+v", r)
			}
		case 3, 4:
			k := got.tickers[0]
			if got.snapshot != (i == 3) || k.symbol != "BTC/USD" || k.at.IsZero() || k.price.Or(0) < 87250 || !k.change.IsKnown() {
				t.Errorf("%+v", got)
			}
		case 5:
			if len(got.minutes) != 2 || !got.minutes[1].opens.Equal(time.Date(2026, 11, 25, 15, 25, 0, 0, time.UTC)) || got.minutes[1].volume.Or(0) != 1.04 {
				t.Errorf("%+v", got.minutes)
			}
		case 8:
			if r := got.reply; r.ok || r.symbol != "" || r.complaint != "Exceeded msg rate" {
				t.Errorf("%+v", r)
			}
		}
	}
}

func TestFramesOfNoUse(t *testing.T) {
	for name, tc := range map[string]struct {
		text string
		want frameKind
	}{
		"nothing":               {``, frameMalformed},
		"no JSON":               {`{"channel":`, frameMalformed},
		"an array":              {`[42,{}]`, frameMalformed},
		"an empty object":       {`{}`, frameMalformed},
		"a ticker of nothing":   {`{"channel":"ticker","type":"update","data":[]}`, frameMalformed},
		"a ticker without data": {`{"channel":"ticker","type":"update"}`, frameMalformed},
		"a price below zero":    {`{"channel":"ticker","type":"update","data":[{"symbol":"BTC/USD","last":-1}]}`, frameMalformed},
		"no price":              {`{"channel":"ticker","type":"update","data":[{"symbol":"BTC/USD"}]}`, frameMalformed},
		"no pair":               {`{"channel":"ticker","type":"update","data":[{"last":1}]}`, frameMalformed},
		"a minute at a second":  {`{"channel":"ohlc","data":[{"symbol":"A/B","open":1,"high":1,"low":1,"close":1,"volume":1,"interval":1,"interval_begin":"2026-11-25T15:25:01Z"}]}`, frameMalformed},
		"a minute at no time":   {`{"channel":"ohlc","data":[{"symbol":"A/B","open":1,"high":1,"low":1,"close":1,"volume":1,"interval":1}]}`, frameMalformed},
		"an hour":               {`{"channel":"ohlc","data":[{"symbol":"A/B","open":1,"high":1,"low":1,"close":1,"volume":1,"interval":60,"interval_begin":"2026-11-25T15:00:00Z"}]}`, frameUnknown},
		"an empty snapshot":     {`{"channel":"ohlc","type":"snapshot","data":[]}`, frameMinutes},
		"a success of nothing":  {`{"method":"subscribe","success":true}`, frameMalformed},
		"a bare error":          {`{"error":"Malformed message"}`, frameReply},
		"another method":        {`{"method":"unsubscribe","success":true}`, frameUnknown},
		"a status of nothing":   {`{"channel":"status","data":[]}`, frameMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			if got := decodeFrame([]byte(tc.text)); got.kind != tc.want {
				t.Errorf("%+v, want %d", got, tc.want)
			}
		})
	}
}

func FuzzFrames(f *testing.F) {
	for line := range strings.SplitSeq(recorded(f, "frames.txt"), "\n") {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		got := decodeFrame(text)
		for _, k := range got.tickers {
			if k.symbol == "" || k.price.Or(-1) < 0 {
				t.Errorf("%+v of %s", k, text)
			}
		}
		for i, m := range got.minutes {
			if m.symbol == "" || m.close.Or(-1) < 0 || m.opens.Second() != 0 || i > 0 && m.opens.Before(got.minutes[i-1].opens) {
				t.Errorf("%+v of %s", m, text)
			}
		}
	})
}

func FuzzWords(f *testing.F) {
	for _, words := range []string{"EAPI:Rate limit exceeded", "EService: Throttled: 1795564830", "EQuery:Unknown asset pair", "", ":", "\xff"} {
		f.Add(words)
	}
	f.Fuzz(func(t *testing.T, words string) {
		err := meaning(words, time.Unix(1795564800, 0))
		if err == nil || len(err.Message) > mostWords || err.RetryAfter < 0 || err.RetryAfter > lockedFor {
			t.Errorf("%+v", err)
		}
	})
}
