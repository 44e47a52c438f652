-- The tables of format 1. `~name` stands for a name in the schema, with the prefix.

-- One row. `lock` is the number under which advisory locks are taken. The policy is null until limits are first stored.
-- `revision` rises with every change of limits, `epoch` with those after which entries are to be ranked anew. `limited`
-- is how many namespaces have limits. Changes are written down until `feed_until`, for those who follow them. `functions`
-- says which text the functions have.
CREATE TABLE ~state (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    format integer NOT NULL,
    cache_id bytea NOT NULL,
    lock integer NOT NULL,
    policy bytea,
    max_entries bigint,
    max_bytes bigint,
    revision bigint NOT NULL DEFAULT 1,
    epoch integer NOT NULL DEFAULT 1,
    limited integer NOT NULL DEFAULT 0,
    functions integer NOT NULL DEFAULT 0,
    feed_until timestamptz NOT NULL DEFAULT '-infinity'
);

CREATE SEQUENCE ~versions;
CREATE SEQUENCE ~generations;

-- A cleared namespace gets another generation; generation 0 stands for the whole cache.
CREATE TABLE ~namespaces (
    name bytea PRIMARY KEY,
    generation bigint NOT NULL UNIQUE,
    max_entries bigint,
    max_bytes bigint
);

-- The totals are sums over shards, so that no two connections change the same row. Each shard may be below zero.
-- `blob_bytes` belong to entries and stand with generations, `garbage_bytes` and `age` stand with generation 0 alone.
CREATE TABLE ~totals (
    generation bigint NOT NULL,
    shard integer NOT NULL,
    entries bigint NOT NULL DEFAULT 0,
    bytes bigint NOT NULL DEFAULT 0,
    blob_bytes bigint NOT NULL DEFAULT 0,
    garbage_bytes bigint NOT NULL DEFAULT 0,
    age bigint NOT NULL DEFAULT 0,
    hits bigint NOT NULL DEFAULT 0,
    misses bigint NOT NULL DEFAULT 0,
    puts bigint NOT NULL DEFAULT 0,
    removals bigint NOT NULL DEFAULT 0,
    evictions bigint NOT NULL DEFAULT 0,
    expirations bigint NOT NULL DEFAULT 0,
    errors bigint NOT NULL DEFAULT 0,
    bytes_out bigint NOT NULL DEFAULT 0,
    bytes_in bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (generation, shard)
) WITH (fillfactor = 40, autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 2000);

-- `hash` is that of the key: a key may be longer than a row of an index. `rank` means something where `rank_epoch` is the
-- epoch of the state; below it the entry is still to be ranked. `limited` says that its namespace has limits.
CREATE TABLE ~entries (
    generation bigint NOT NULL,
    hash bytea NOT NULL,
    version bigint NOT NULL,
    size bigint NOT NULL,
    created_at bigint NOT NULL,
    accessed_at bigint NOT NULL,
    hits bigint NOT NULL,
    expires_at bigint,
    rank bigint NOT NULL,
    rank_epoch integer NOT NULL,
    priority real NOT NULL,
    limited boolean NOT NULL,
    blob_id bytea,
    key bytea NOT NULL,
    record bytea NOT NULL,
    inline bytea,
    PRIMARY KEY (generation, hash)
) WITH (autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX ~~entries_by_key ON ~entries (generation, substring(key FROM 1 FOR 1024));
CREATE INDEX ~~entries_by_age ON ~entries (generation, created_at);
CREATE INDEX ~~entries_by_expiry ON ~entries (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX ~~entries_by_blob ON ~entries (blob_id) WHERE blob_id IS NOT NULL;
CREATE INDEX ~~entries_by_rank ON ~entries (rank_epoch, priority, rank, version);
CREATE INDEX ~~limited_by_expiry ON ~entries (generation, expires_at) WHERE limited AND expires_at IS NOT NULL;
CREATE INDEX ~~limited_by_rank ON ~entries (generation, rank_epoch, priority, rank, version) WHERE limited;

CREATE TABLE ~garbage (blob_id bytea PRIMARY KEY, not_before bigint NOT NULL, size bigint NOT NULL);
CREATE INDEX ~~garbage_by_time ON ~garbage (not_before);

-- Blobs that were swept away, which no entry may come to name.
CREATE TABLE ~condemned (blob_id bytea PRIMARY KEY, until bigint NOT NULL);
CREATE INDEX ~~condemned_by_time ON ~condemned (until);

-- Generations that were cleared and are still to be taken back; their blobs may be deleted after `not_before`.
CREATE TABLE ~cleared (generation bigint PRIMARY KEY, not_before bigint NOT NULL);

CREATE TABLE ~leases (
    hash bytea PRIMARY KEY,
    namespace bytea NOT NULL,
    name bytea NOT NULL,
    holder bytea NOT NULL,
    token bigint NOT NULL,
    until timestamptz NOT NULL
);
CREATE INDEX ~~leases_by_end ON ~leases (until);

-- What was changed, in the order of `id` for each key: 0 put, 1 invalidated, 2 cleared.
CREATE TABLE ~changes (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    kind smallint NOT NULL,
    namespace bytea NOT NULL,
    key bytea,
    version bigint
) WITH (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 5000);
CREATE INDEX ~~changes_by_xid ON ~changes (xid);
CREATE INDEX ~~changes_by_time ON ~changes (at);
