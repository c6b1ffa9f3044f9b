package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/hashicorp/go-hclog"

	"github.com/service-islands/islands/config"
	"github.com/service-islands/islands/sdk"
)

// reloading returns a reloader whose configuration is read by load, and what it logs.
func reloading(load func() (*config.Config, error)) (*reloader, *bytes.Buffer) {
	var log bytes.Buffer
	h := &host{logger: hclog.New(&hclog.LoggerOptions{Output: &log, Mutex: &sync.Mutex{}})}
	h.cfg.Store(&config.Config{})
	return newReloader(h, h.config(), &configFile{path: "/nonexistent/islands.hcl", load: load}), &log
}

func TestReloadsFollowOneAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reads := 0
		goOn := make(chan struct{})
		wrong := errors.New("the file is away")
		r, log := reloading(func() (*config.Config, error) {
			reads++
			<-goOn
			return nil, wrong
		})
		outcomes := make(chan error, 2)
		for range 2 {
			go func() {
				_, err := r.reload(t.Context(), "operator")
				outcomes <- err
			}()
		}
		synctest.Wait()
		if reads != 1 {
			t.Errorf("%d read at once", reads)
		}
		impatient, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := r.reload(impatient, "watch"); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "another reload is under way") {
			t.Errorf("who does not wait: %v", err)
		}
		goOn <- struct{}{}
		goOn <- struct{}{}
		for range 2 {
			if err := <-outcomes; !errors.Is(err, wrong) || !errors.Is(err, sdk.InvalidArgument) {
				t.Errorf("a file that cannot be read: %v", err)
			}
		}
		if got := strings.Count(log.String(), "the configuration was not taken over"); got != 2 {
			t.Errorf("%d lines in %s", got, log)
		}
	})
}

func TestNoReloadWhileTheHostStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		goOn := make(chan struct{})
		r, _ := reloading(func() (*config.Config, error) {
			<-goOn
			return nil, errors.New("the file is away")
		})
		outcomes := make(chan error, 2)
		for range 2 {
			go func() {
				_, err := r.reload(t.Context(), "operator")
				outcomes <- err
			}()
		}
		synctest.Wait()
		closed := make(chan error, 1)
		go func() { closed <- r.close(t.Context()) }()
		synctest.Wait()
		if err := <-outcomes; !errors.Is(err, sdk.Unavailable) || !strings.Contains(err.Error(), "stopping") {
			t.Errorf("who waited for its turn: %v", err)
		}
		if len(closed) > 0 {
			t.Error("the reload under way is not waited for")
		}
		close(goOn)
		if err := <-closed; err != nil {
			t.Error(err)
		}
		if err := <-outcomes; err == nil {
			t.Error("a file that is away was taken over")
		}
		if _, err := r.reload(t.Context(), "SIGHUP"); !errors.Is(err, sdk.Unavailable) {
			t.Errorf("a late one: %v", err)
		}
	})
}

func TestARefusedFileIsOneLineInTheLog(t *testing.T) {
	r, log := reloading(func() (*config.Config, error) {
		return config.Parse([]byte("host {\n  listen = \"3000\"\n}\nstrategy \"x\" {\n}\n"), "islands.hcl", config.Options{})
	})
	_, err := r.reload(t.Context(), "SIGHUP")
	if !errors.Is(err, sdk.InvalidArgument) || !strings.Contains(err.Error(), "islands.hcl line 2") || !strings.Contains(err.Error(), "islands.hcl line 4") {
		t.Errorf("the answer: %v", err)
	}
	if text := strings.TrimSpace(log.String()); strings.Contains(text, "\n") || !strings.Contains(text, "islands.hcl:2") || !strings.Contains(text, "islands.hcl:4") {
		t.Errorf("the log: %s", text)
	}
}

func TestShowReload(t *testing.T) {
	for name, test := range map[string]struct{ answer, want string }{
		"changes": {
			`{"result":"reloaded","added":["b"],"replaced":["c","d"],"updated":[],"removed":["e"],"unchanged":["a"],"needs_restart":["host.listen"]}`,
			"added:         b\nreplaced:      c, d\nremoved:       e\nunchanged:     a\nneeds restart: host.listen\n",
		},
		"none": {
			`{"result":"unchanged","added":[],"replaced":[],"updated":[],"removed":[],"unchanged":["a"],"needs_restart":[]}`,
			"The configuration is what it was.\nunchanged:     a\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			if err := showReload(&out, []byte(test.answer), noon); err != nil || out.String() != test.want {
				t.Errorf("%v\n%s", err, out.String())
			}
		})
	}
}
