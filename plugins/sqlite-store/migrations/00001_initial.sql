-- Every time is in nanoseconds since 1970 UTC; read one with datetime(as_of / 1000000000, 'unixepoch').
-- The asset column is 'id:' and the asset's id, or 'symbol:' and its symbol where there is no id.

-- +goose Up
CREATE TABLE quotes (
    id          INTEGER PRIMARY KEY,
    asset       TEXT    NOT NULL,
    symbol      TEXT    NOT NULL,
    vs_currency TEXT    NOT NULL,
    source      TEXT    NOT NULL,
    as_of       INTEGER NOT NULL,
    price       REAL,
    quote       TEXT    NOT NULL, -- the whole quote as JSON
    UNIQUE (asset, vs_currency, source, as_of)
) STRICT;
CREATE INDEX quotes_history ON quotes (symbol, vs_currency, as_of, id);
CREATE INDEX quotes_as_of ON quotes (as_of);

CREATE TABLE series (
    id          INTEGER PRIMARY KEY,
    asset       TEXT    NOT NULL,
    asset_id    TEXT    NOT NULL,
    symbol      TEXT    NOT NULL,
    vs_currency TEXT    NOT NULL,
    source      TEXT    NOT NULL,
    interval    TEXT    NOT NULL,
    as_of       INTEGER NOT NULL,
    note        TEXT    NOT NULL,
    UNIQUE (asset, vs_currency, interval, source)
) STRICT;
CREATE INDEX series_symbol ON series (symbol, vs_currency, interval);

CREATE TABLE candles (
    series    INTEGER NOT NULL REFERENCES series (id),
    open_time INTEGER NOT NULL,
    as_of     INTEGER NOT NULL, -- when the source was asked for this candle
    open      REAL,
    high      REAL,
    low       REAL,
    close     REAL,
    volume    REAL,
    closed    INTEGER NOT NULL,
    PRIMARY KEY (series, open_time)
) STRICT, WITHOUT ROWID;

CREATE TABLE entries (
    key         TEXT    NOT NULL PRIMARY KEY,
    value       BLOB    NOT NULL,
    stored_at   INTEGER NOT NULL,
    fresh_until INTEGER NOT NULL,
    stale_until INTEGER NOT NULL
) STRICT;
CREATE INDEX entries_stale_until ON entries (stale_until);

-- +goose Down
DROP TABLE entries;
DROP TABLE candles;
DROP TABLE series;
DROP TABLE quotes;
