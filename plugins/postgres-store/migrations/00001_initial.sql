-- Every time is in nanoseconds since 1970 UTC; read one with to_timestamp(as_of / 1e9).
-- The asset column is 'id:' and the asset's id, or 'symbol:' and its symbol where there is no id.

-- +goose Up
CREATE TABLE quotes (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    asset       text   NOT NULL,
    symbol      text   NOT NULL,
    vs_currency text   NOT NULL,
    source      text   NOT NULL,
    as_of       bigint NOT NULL,
    price       double precision,
    quote       text   NOT NULL, -- the whole quote as JSON
    UNIQUE (asset, vs_currency, source, as_of)
);
CREATE INDEX quotes_history ON quotes (symbol, vs_currency, as_of, id);
CREATE INDEX quotes_as_of ON quotes (as_of);

CREATE TABLE series (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    asset       text   NOT NULL,
    asset_id    text   NOT NULL,
    symbol      text   NOT NULL,
    vs_currency text   NOT NULL,
    source      text   NOT NULL,
    interval    text   NOT NULL,
    as_of       bigint NOT NULL,
    note        text   NOT NULL,
    UNIQUE (asset, vs_currency, interval, source)
);
CREATE INDEX series_symbol ON series (symbol, vs_currency, interval);

-- A row's series is made by the statement that inserts the row and is never dropped, so no foreign key looks it up again.
CREATE TABLE candles (
    series    bigint  NOT NULL,
    open_time bigint  NOT NULL,
    as_of     bigint  NOT NULL, -- when the source was asked for this candle
    open      double precision,
    high      double precision,
    low       double precision,
    close     double precision,
    volume    double precision,
    closed    boolean NOT NULL,
    PRIMARY KEY (series, open_time)
);

CREATE TABLE entries (
    key         text   COLLATE "C" NOT NULL PRIMARY KEY,
    value       bytea  NOT NULL,
    stored_at   bigint NOT NULL,
    fresh_until bigint NOT NULL,
    stale_until bigint NOT NULL
);
CREATE INDEX entries_stale_until ON entries (stale_until);

-- +goose Down
DROP TABLE entries;
DROP TABLE candles;
DROP TABLE series;
DROP TABLE quotes;
