package pipeline

// WarmReport answers a report from the near cache when that holds a fresh one that is known to be true. It waits for
// nobody, loads nothing, allocates nothing and keeps none of its arguments; what it does not answer is for Report, and
// counted there.
func (r *Requests) WarmReport(name, symbol, vsCurrency string) (Answer, bool) {
	rk, ok := r.routes.Load().reports[name]
	if !ok {
		return Answer{}, false
	}
	var room [128]byte // More than a key takes.
	key := append(append(append(room[:0], rk.KeyPrefix...), '_'), symbol...)
	if vsCurrency != "usd" {
		key = append(append(key, '_'), vsCurrency...)
	}
	e := r.near.get(key)
	if e == nil || e.err != nil || !r.near.trusted(e) {
		return Answer{}, false
	}
	now := r.opts.Now()
	if !now.Before(e.freshUntil) {
		return Answer{}, false
	}
	if second := now.Unix(); e.used.Load() != second {
		e.used.Store(second)
	}
	r.near.hits.Add(1)
	return Answer{entry: e, reps: e.reps, Tier: TierNear}, true
}
