package sim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// maxControlBody bounds what can be posted.
const maxControlBody = 64 << 10

// control serves the switches under /_sim/.
func (s *Server) control(w http.ResponseWriter, r *http.Request) {
	allow := func(methods ...string) {
		w.Header().Set("Allow", strings.Join(methods, ", "))
		problem(w, http.StatusMethodNotAllowed, r.Method+" is not allowed here")
	}
	switch r.URL.Path {
	case "/_sim/faults":
		switch r.Method {
		case http.MethodGet:
		case http.MethodPost:
			faults, err := readFaults(http.MaxBytesReader(w, r.Body, maxControlBody))
			if err == nil {
				err = s.Inject(faults...)
			}
			if err != nil {
				problem(w, http.StatusBadRequest, err.Error())
				return
			}
		case http.MethodDelete:
			s.Clear()
		default:
			allow(http.MethodGet, http.MethodPost, http.MethodDelete)
			return
		}
		answer(w, http.StatusOK, s.Faults())
	case "/_sim/requests":
		switch r.Method {
		case http.MethodGet:
		case http.MethodDelete:
			s.ResetRequests()
		default:
			allow(http.MethodGet, http.MethodDelete)
			return
		}
		answer(w, http.StatusOK, s.Requests())
	case "/_sim/streams":
		if r.Method != http.MethodGet {
			allow(http.MethodGet)
			return
		}
		answer(w, http.StatusOK, s.Streams())
	case "/_sim/channels":
		if r.Method != http.MethodGet {
			allow(http.MethodGet)
			return
		}
		answer(w, http.StatusOK, s.Channels())
	case "/_sim/env":
		if r.Method != http.MethodGet {
			allow(http.MethodGet)
			return
		}
		answer(w, http.StatusOK, Environment(r.Host))
	default:
		problem(w, http.StatusNotFound, "want /_sim/faults, /_sim/requests, /_sim/streams, /_sim/channels or /_sim/env")
	}
}

// Environment is what points a host at a simulation that listens on an address such as "127.0.0.1:8900".
func Environment(address string) map[string]string {
	return map[string]string{
		"COINGECKO_URL":      "http://" + address + "/coingecko/api/v3",
		"BINANCE_URL":        "http://" + address + "/binance",
		"BINANCE_STREAM_URL": "ws://" + address + "/binance",
		"KRAKEN_URL":         "http://" + address + "/kraken",
		"KRAKEN_STREAM_URL":  "ws://" + address + "/kraken" + krakenRoute,
		"FEAR_GREED_URL":     "http://" + address + "/fng/",
	}
}

// readFaults reads one fault or a list of them, and refuses what it does not know.
func readFaults(body io.Reader) ([]Fault, error) {
	text, err := io.ReadAll(body)
	if err != nil {
		return nil, fmt.Errorf("read the body: %w", err)
	}
	text = bytes.TrimSpace(text)
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	var faults []Fault
	if len(text) > 0 && text[0] == '[' {
		err = decoder.Decode(&faults)
	} else {
		faults = make([]Fault, 1)
		err = decoder.Decode(&faults[0])
	}
	switch {
	case errors.Is(err, io.EOF):
		return nil, errors.New("the body is empty: want a fault or a list of faults")
	case err != nil:
		return nil, fmt.Errorf("the body is not a fault or a list of faults: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("the body goes on after the fault or the list of faults")
	}
	return faults, nil
}

func problem(w http.ResponseWriter, status int, message string) {
	answer(w, status, map[string]string{"error": message})
}

func answer(w http.ResponseWriter, status int, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// A client that went away is no concern of the server's.
	_, _ = w.Write(append(body, '\n'))
}
