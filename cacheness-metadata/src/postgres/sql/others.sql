-- Adds to the statistics, and to the hits and access times of entries that still have the version they were read at. Rows
-- of the answer: of kind 3 where the epoch is another one and nothing was done; of kind 2, by way 4, an entry that the
-- caller is to rank anew, with the uses that were added.
CREATE OR REPLACE FUNCTION ~record_v1(
    a_lock integer, a_epoch integer, a_way smallint,
    c_names bytea[], c_hits bigint[], c_misses bigint[], c_puts bigint[], c_removals bigint[], c_evictions bigint[],
    c_expirations bigint[], c_errors bigint[], c_bytes_out bigint[], c_bytes_in bigint[],
    u_name bytea[], u_hash bytea[], u_version bigint[], u_accessed bigint[], u_hits bigint[]
) RETURNS TABLE (
    o_kind smallint, o_generation bigint, o_hash bytea, o_version bigint, o_rank bigint, o_accessed bigint, o_used bigint,
    o_hits bigint, o_size bigint, o_expires bigint, o_age bigint
) LANGUAGE plpgsql AS $cacheness$
DECLARE
    epoch integer;
    age bigint;
    most CONSTANT bigint := 1 << 56;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(a_lock, 0);
    PERFORM ~mine_v1(a_lock);
    SELECT x.epoch INTO epoch FROM ~state x;
    IF epoch <> a_epoch THEN
        o_kind := 3;
        RETURN NEXT;
        RETURN;
    END IF;
    IF array_length(u_hash, 1) > 0 THEN
        PERFORM 1 FROM ~entries e
        JOIN ~namespaces n ON n.generation = e.generation
        JOIN unnest(u_name, u_hash, u_version) u(name, hash, version)
            ON u.name = n.name AND u.hash = e.hash AND u.version = e.version
        ORDER BY e.generation, e.hash FOR UPDATE OF e;
        IF a_way = 4 THEN
            SELECT COALESCE(max(t.age), 0) INTO age FROM ~totals t WHERE t.generation = 0;
        END IF;
        RETURN QUERY UPDATE ~entries e SET
            accessed_at = GREATEST(e.accessed_at, u.accessed),
            hits = LEAST(e.hits, 9223372036854775807 - u.hits) + u.hits,
            rank = CASE e.rank_epoch WHEN a_epoch THEN ~rank_after_v1(a_way, e.rank, u.accessed, u.hits, e.expires_at) ELSE e.rank END
        FROM (
            SELECT n.generation, y.hash, y.version, max(y.accessed) AS accessed, LEAST(sum(y.hits), 9223372036854775807)::bigint AS hits
            FROM unnest(u_name, u_hash, u_version, u_accessed, u_hits) y(name, hash, version, accessed, hits)
            JOIN ~namespaces n ON n.name = y.name GROUP BY n.generation, y.hash, y.version
        ) u
        WHERE e.generation = u.generation AND e.hash = u.hash AND e.version = u.version
        RETURNING 2::smallint, e.generation, e.hash, e.version, e.rank, u.accessed, u.hits, e.hits, e.size, e.expires_at, age;
    END IF;
    IF array_length(c_names, 1) > 0 THEN
        INSERT INTO ~namespaces (name, generation)
        SELECT x.name, nextval('~generations') FROM unnest(c_names) x(name)
        WHERE NOT EXISTS (SELECT FROM ~namespaces n WHERE n.name = x.name) ORDER BY x.name
        ON CONFLICT DO NOTHING;
        INSERT INTO ~totals AS t (
            generation, shard, hits, misses, puts, removals, evictions, expirations, errors, bytes_out, bytes_in
        )
        SELECT n.generation, pg_backend_pid() % 64, x.hits, x.misses, x.puts, x.removals, x.evictions, x.expirations, x.errors,
            x.bytes_out, x.bytes_in
        FROM unnest(
            c_names, c_hits, c_misses, c_puts, c_removals, c_evictions, c_expirations, c_errors, c_bytes_out, c_bytes_in
        ) x(name, hits, misses, puts, removals, evictions, expirations, errors, bytes_out, bytes_in)
        JOIN ~namespaces n ON n.name = x.name ORDER BY n.generation
        ON CONFLICT (generation, shard) DO UPDATE SET
            hits = LEAST(t.hits + excluded.hits, most),
            misses = LEAST(t.misses + excluded.misses, most),
            puts = LEAST(t.puts + excluded.puts, most),
            removals = LEAST(t.removals + excluded.removals, most),
            evictions = LEAST(t.evictions + excluded.evictions, most),
            expirations = LEAST(t.expirations + excluded.expirations, most),
            errors = LEAST(t.errors + excluded.errors, most),
            bytes_out = LEAST(t.bytes_out + excluded.bytes_out, most),
            bytes_in = LEAST(t.bytes_in + excluded.bytes_in, most);
    END IF;
END
$cacheness$;

-- Gives a namespace a generation without entries, or drops it, and leaves the old one to be taken back. Returns how many
-- entries there were, or null where there was no such namespace.
CREATE OR REPLACE FUNCTION ~clear_v1(a_lock integer, a_name bytea, a_due bigint, a_drop boolean, a_until bigint) RETURNS bigint
LANGUAGE plpgsql AS $cacheness$
DECLARE
    n record;
    t record;
    fresh bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(a_lock, 0);
    PERFORM ~mine_v1(a_lock);
    PERFORM ~late_v1(a_until);
    SELECT * INTO n FROM ~namespaces x WHERE x.name = a_name;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    SELECT GREATEST(COALESCE(sum(x.entries), 0), 0)::bigint AS entries, COALESCE(sum(x.bytes), 0)::bigint AS bytes,
        COALESCE(sum(x.blob_bytes), 0)::bigint AS blob_bytes
    INTO t FROM ~totals x WHERE x.generation = n.generation;
    IF a_drop OR t.entries > 0 THEN
        fresh := nextval('~generations');
        INSERT INTO ~cleared (generation, not_before) VALUES (n.generation, a_due);
        PERFORM ~count_v1(ARRAY[0::bigint], ARRAY[-t.entries], ARRAY[-t.bytes], ARRAY[0::bigint], ARRAY[t.blob_bytes],
            ARRAY[0::bigint], ARRAY[0::bigint], 0);
        IF a_drop THEN
            DELETE FROM ~namespaces x WHERE x.name = a_name;
            IF n.max_entries IS NOT NULL OR n.max_bytes IS NOT NULL THEN
                UPDATE ~state SET limited = limited - 1, revision = revision + 1;
            END IF;
        ELSE
            UPDATE ~namespaces x SET generation = fresh WHERE x.name = a_name;
            INSERT INTO ~totals (
                generation, shard, hits, misses, puts, removals, evictions, expirations, errors, bytes_out, bytes_in
            )
            SELECT fresh, 0, sum(x.hits), sum(x.misses), sum(x.puts), sum(x.removals), sum(x.evictions), sum(x.expirations),
                sum(x.errors), sum(x.bytes_out), sum(x.bytes_in)
            FROM ~totals x WHERE x.generation = n.generation;
        END IF;
        DELETE FROM ~totals x WHERE x.generation = n.generation;
    END IF;
    INSERT INTO ~changes (kind, namespace) SELECT 2, a_name FROM ~state s WHERE s.feed_until > clock_timestamp();
    PERFORM ~late_v1(a_until);
    RETURN t.entries;
END
$cacheness$;

-- Sets the counters of one namespace to zero, or of all where it is null.
CREATE OR REPLACE FUNCTION ~reset_v1(a_lock integer, a_name bytea, a_until bigint) RETURNS void LANGUAGE plpgsql AS $cacheness$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(a_lock, 0);
    PERFORM ~mine_v1(a_lock);
    -- In the order in which puts change them.
    PERFORM 1 FROM ~totals t
    WHERE a_name IS NULL OR t.generation = (SELECT n.generation FROM ~namespaces n WHERE n.name = a_name)
    ORDER BY t.generation, t.shard FOR UPDATE;
    PERFORM ~late_v1(a_until);
    UPDATE ~totals t SET hits = 0, misses = 0, puts = 0, removals = 0, evictions = 0, expirations = 0, errors = 0,
        bytes_out = 0, bytes_in = 0
    WHERE a_name IS NULL OR t.generation = (SELECT n.generation FROM ~namespaces n WHERE n.name = a_name);
END
$cacheness$;

-- Stores limits, unless others have changed some since the revision that the caller knows: of the cache, or where a name is
-- given of a namespace. True where they were stored.
CREATE OR REPLACE FUNCTION ~limit_v1(
    a_lock integer, a_revision bigint, a_name bytea, a_entries bigint, a_bytes bigint, a_policy bytea, a_until bigint
) RETURNS boolean LANGUAGE plpgsql AS $cacheness$
DECLARE
    s record;
    n record;
    limited_now boolean := a_entries IS NOT NULL OR a_bytes IS NOT NULL;
    limited_before boolean;
BEGIN
    PERFORM pg_advisory_xact_lock(a_lock, 0);
    PERFORM ~mine_v1(a_lock);
    PERFORM ~late_v1(a_until);
    SELECT * INTO s FROM ~state;
    IF s.revision <> a_revision THEN
        RETURN false;
    END IF;
    IF a_name IS NULL THEN
        UPDATE ~state SET policy = a_policy, max_entries = a_entries, max_bytes = a_bytes, revision = revision + 1,
            epoch = epoch + CASE WHEN s.policy IS DISTINCT FROM a_policy THEN 1 ELSE 0 END;
        IF s.policy IS DISTINCT FROM a_policy THEN
            UPDATE ~totals t SET age = 0 WHERE t.generation = 0;
        END IF;
        PERFORM ~late_v1(a_until);
        RETURN true;
    END IF;
    SELECT x.max_entries, x.max_bytes INTO n FROM ~namespaces x WHERE x.name = a_name;
    limited_before := FOUND AND (n.max_entries IS NOT NULL OR n.max_bytes IS NOT NULL);
    INSERT INTO ~namespaces AS x (name, generation, max_entries, max_bytes)
    VALUES (a_name, nextval('~generations'), a_entries, a_bytes)
    ON CONFLICT (name) DO UPDATE SET max_entries = excluded.max_entries, max_bytes = excluded.max_bytes;
    -- Entries have to be known as those of a namespace with limits; that others are known so, too, does no harm.
    UPDATE ~state SET revision = revision + 1,
        limited = limited + limited_now::integer - limited_before::integer,
        epoch = epoch + CASE WHEN limited_now AND NOT limited_before AND EXISTS (
            SELECT FROM ~entries e JOIN ~namespaces x ON x.generation = e.generation
            WHERE x.name = a_name AND NOT e.limited
        ) THEN 1 ELSE 0 END;
    PERFORM ~late_v1(a_until);
    RETURN true;
END
$cacheness$;

-- Gives entries the ranks of an epoch, those that are as they were when the ranks were made.
CREATE OR REPLACE FUNCTION ~rank_v1(
    a_lock integer, a_epoch integer, u_generation bigint[], u_hash bytea[], u_version bigint[], u_accessed bigint[],
    u_hits bigint[], u_rank bigint[]
) RETURNS void LANGUAGE plpgsql AS $cacheness$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(a_lock, 0);
    PERFORM ~mine_v1(a_lock);
    IF (SELECT s.epoch FROM ~state s) <> a_epoch THEN
        RETURN;
    END IF;
    PERFORM 1 FROM ~entries e JOIN unnest(u_generation, u_hash) u(generation, hash)
        ON u.generation = e.generation AND u.hash = e.hash
    ORDER BY e.generation, e.hash FOR UPDATE OF e;
    UPDATE ~entries e SET rank = u.rank, rank_epoch = a_epoch, limited = EXISTS (
        SELECT FROM ~namespaces n WHERE n.generation = e.generation AND (n.max_entries IS NOT NULL OR n.max_bytes IS NOT NULL)
    )
    FROM unnest(u_generation, u_hash, u_version, u_accessed, u_hits, u_rank) u(generation, hash, version, accessed, hits, rank)
    WHERE e.generation = u.generation AND e.hash = u.hash AND e.version = u.version AND e.accessed_at = u.accessed
        AND e.hits = u.hits AND e.rank_epoch < a_epoch;
END
$cacheness$;

-- A part of a listing in the order of names and keys: from a key of a namespace on, keys up to an end, at most so many
-- rows and so many bytes. Where it stops before the end, the last row, of kind 1, says where to go on.
CREATE OR REPLACE FUNCTION ~list_v1(
    a_name bytea, a_one boolean, a_from bytea, a_prefix bytea, a_end bytea, a_limit integer, a_bytes bigint, a_names integer
) RETURNS TABLE (
    o_kind smallint, o_namespace bytea, o_version bigint, o_key bytea, o_accessed bigint, o_hits bigint, o_expires bigint,
    o_is_inline boolean, o_record bytea
) LANGUAGE plpgsql STABLE AS $cacheness$
DECLARE
    n record;
    e record;
    rows integer := 0;
    bytes bigint := 0;
    names integer := 0;
    first bytea;
BEGIN
    FOR n IN SELECT x.name, x.generation FROM ~namespaces x
        WHERE x.name >= a_name AND (NOT a_one OR x.name <= a_name) ORDER BY x.name
        LIMIT CASE WHEN a_one THEN 1 ELSE a_names + 1 END
    LOOP
        names := names + 1;
        IF names > a_names THEN
            o_kind := 1;
            o_namespace := n.name;
            o_key := '';
            RETURN NEXT;
            RETURN;
        END IF;
        first := CASE WHEN n.name = a_name THEN GREATEST(a_from, a_prefix) ELSE a_prefix END;
        FOR e IN SELECT x.version, x.key, x.accessed_at, x.hits, x.expires_at, x.blob_id IS NULL AS is_inline, x.record
            FROM ~entries x
            WHERE x.generation = n.generation
                AND substring(x.key FROM 1 FOR 1024) >= substring(first FROM 1 FOR 1024)
                AND substring(x.key FROM 1 FOR 1024) <= substring(a_end FROM 1 FOR 1024)
                AND x.key >= first AND x.key < a_end
            ORDER BY substring(x.key FROM 1 FOR 1024), x.key LIMIT a_limit - rows + 1
        LOOP
            o_namespace := n.name;
            o_key := e.key;
            bytes := bytes + length(e.key) + length(e.record);
            IF rows >= a_limit OR (bytes > a_bytes AND rows > 0) THEN
                o_kind := 1;
                o_record := NULL;
                RETURN NEXT;
                RETURN;
            END IF;
            rows := rows + 1;
            o_kind := 0;
            o_version := e.version;
            o_accessed := e.accessed_at;
            o_hits := e.hits;
            o_expires := e.expires_at;
            o_is_inline := e.is_inline;
            o_record := e.record;
            RETURN NEXT;
        END LOOP;
    END LOOP;
END
$cacheness$;

-- Forgets blobs that were deleted.
CREATE OR REPLACE FUNCTION ~forget_v1(a_lock integer, a_now bigint, a_blobs bytea[]) RETURNS void LANGUAGE plpgsql AS $cacheness$
DECLARE
    gone bigint;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(a_lock, 0);
    PERFORM ~mine_v1(a_lock);
    WITH found AS (
        SELECT g.blob_id FROM ~garbage g WHERE g.blob_id = ANY (a_blobs) AND g.not_before <= a_now ORDER BY 1 FOR UPDATE
    ), deleted AS (
        DELETE FROM ~garbage g USING found f WHERE g.blob_id = f.blob_id RETURNING g.size
    )
    SELECT COALESCE(sum(d.size), 0) INTO gone FROM deleted d;
    IF gone > 0 THEN
        PERFORM ~less_garbage_v1(gone);
    END IF;
END
$cacheness$;

-- Notes that blobs are about to be deleted, and forgets those of long ago. It waits for all puts that do not know of it, at
-- last and for no more than that: others wait behind the lock.
CREATE OR REPLACE FUNCTION ~condemn_v1(a_lock integer, a_now bigint, a_until bigint, a_blobs bytea[]) RETURNS void
LANGUAGE plpgsql AS $cacheness$
BEGIN
    PERFORM ~mine_v1(a_lock);
    DELETE FROM ~condemned x WHERE x.blob_id IN (
        SELECT y.blob_id FROM ~condemned y WHERE y.until < a_now ORDER BY y.until LIMIT 10000 FOR UPDATE SKIP LOCKED
    );
    INSERT INTO ~condemned (blob_id, until) SELECT DISTINCT b, a_until FROM unnest(a_blobs) b ORDER BY 1
    ON CONFLICT (blob_id) DO UPDATE SET until = excluded.until;
    PERFORM pg_advisory_xact_lock(a_lock, 0);
END
$cacheness$;
