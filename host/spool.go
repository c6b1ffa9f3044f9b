package main

import (
	"context"
	"path/filepath"
	"time"

	"github.com/service-islands/islands/config"
	"github.com/service-islands/islands/host/internal/spool"
)

// openSpool opens what waits on disk for the store.
func (h *host) openSpool(cfg *config.Config) {
	sync := cfg.Host.Spool.Sync
	if sync == 0 {
		sync = spool.SyncAlways
	}
	h.spool = spool.Open(spool.Options{
		Dir: filepath.Join(cfg.Host.DataDir, "spool"), MaxBytes: int64(cfg.Host.Spool.MaxSize), MaxAge: cfg.Host.Spool.MaxAge, Sync: sync,
		Logger: h.logger.Named("spool"),
	})
	h.opens("spool", func(context.Context) error { return h.spool.Close() })
}

// spoolView is what waits on disk for the store.
type spoolView struct {
	// Records that wait, each a tick's quotes or a load's, and their bytes; when the oldest of them came, null for none.
	Records  uint64     `json:"records"`
	Bytes    int64      `json:"bytes"`
	OldestAt *time.Time `json:"oldest_at"`
	// Writable is false while the disk takes no more and what waits is in memory alone; Synced while what was written may
	// not be on the disk itself.
	Writable bool `json:"writable"`
	Synced   bool `json:"synced"`
	// Since the host was started.
	Appended  uint64 `json:"appended"`
	Confirmed uint64 `json:"confirmed"`
	Dropped   uint64 `json:"dropped"`
	Lost      uint64 `json:"lost"`
	Failures  uint64 `json:"failures"`
}

func (i *insight) spool() spoolView {
	s := i.h.spool.Stats()
	return spoolView{
		Records: s.Records, Bytes: s.Bytes, OldestAt: moment(s.Oldest), Writable: i.h.requests.Stats().Spool.Available, Synced: !s.Unsynced,
		Appended: s.Appended, Confirmed: s.Confirmed, Dropped: s.Dropped, Lost: s.Lost, Failures: s.Failures,
	}
}

// fault says what is wrong with the spool right now, empty for nothing.
func (v spoolView) fault() string {
	switch {
	case !v.Writable:
		return "the spool cannot be written, what waits for the database is in memory alone"
	case !v.Synced:
		return "the spool cannot be synced, a failure of the power may cost what it holds"
	default:
		return ""
	}
}
