-- Evicts entries of one generation, or of all where it is null, until `a_entries` and `a_bytes` are free or `a_most` are
-- gone: first what has expired, then by priority and rank. What others have locked is passed over, so this waits for
-- nobody. Entries with versions from `a_own` on, the one under `a_not`, and those after `a_bound_…` stay. Totals are the
-- caller's business.
--
-- Where `a_keep` is given, another call with the same number in this transaction goes on where this one stopped: what was
-- looked at, deleted or put since is not looked at again, which would make a batch's time grow with its square.
--
-- CN003: there are entries that are not ranked yet, or very many rows of cleared generations are in the way.
CREATE OR REPLACE FUNCTION ~victims_v1(
    a_generation bigint, a_epoch integer, a_refuses boolean, a_now bigint, a_due bigint,
    a_entries bigint, a_bytes bigint, a_most integer, a_own bigint, a_not_generation bigint, a_not bytea,
    a_bound_priority real, a_bound_rank bigint, a_bound_version bigint, a_feed boolean, a_keep integer
) RETURNS TABLE (
    o_reason smallint, o_generation bigint, o_namespace bytea, o_key bytea, o_size bigint, o_blob boolean, o_garbage boolean,
    o_rank bigint
) LANGUAGE plpgsql AS $cacheness$
DECLARE
    found_rows refcursor;
    v record;
    gone integer := 0;
    reclaimed integer := 0;
    entries bigint := 0;
    bytes bigint := 0;
BEGIN
    FOR phase IN 0..1 LOOP
        EXIT WHEN entries >= a_entries AND bytes >= a_bytes;
        IF phase = 1 THEN
            EXIT WHEN a_refuses;
            IF EXISTS (SELECT FROM ~entries e WHERE e.rank_epoch < a_epoch) THEN
                RAISE EXCEPTION USING ERRCODE = 'CN003', MESSAGE = 'entries are to be ranked first';
            END IF;
        END IF;
        found_rows := 'cacheness_' || a_keep || '_' || phase;
        IF EXISTS (SELECT FROM pg_cursors p WHERE p.name = found_rows::text) THEN
            NULL;
        ELSIF phase = 0 AND a_generation IS NULL THEN
            OPEN found_rows FOR
                SELECT e.generation, e.hash, e.key, e.size, e.blob_id, e.rank, n.name
                FROM ~entries e LEFT JOIN ~namespaces n ON n.generation = e.generation
                WHERE e.expires_at <= a_now AND e.version < a_own
                    AND (e.generation, e.hash) IS DISTINCT FROM (a_not_generation, a_not)
                ORDER BY e.expires_at FOR UPDATE OF e SKIP LOCKED;
        ELSIF phase = 0 THEN
            OPEN found_rows FOR
                SELECT e.generation, e.hash, e.key, e.size, e.blob_id, e.rank, n.name
                FROM ~entries e LEFT JOIN ~namespaces n ON n.generation = e.generation
                WHERE e.generation = a_generation AND e.limited AND e.expires_at <= a_now AND e.version < a_own
                    AND (e.generation, e.hash) IS DISTINCT FROM (a_not_generation, a_not)
                ORDER BY e.expires_at FOR UPDATE OF e SKIP LOCKED;
        ELSIF a_generation IS NULL THEN
            OPEN found_rows FOR
                SELECT e.generation, e.hash, e.key, e.size, e.blob_id, e.rank, n.name
                FROM ~entries e LEFT JOIN ~namespaces n ON n.generation = e.generation
                WHERE e.rank_epoch = a_epoch AND e.version < a_own
                    AND (e.generation, e.hash) IS DISTINCT FROM (a_not_generation, a_not)
                    AND (e.priority, e.rank, e.version) <= (a_bound_priority, a_bound_rank, a_bound_version)
                ORDER BY e.priority, e.rank, e.version FOR UPDATE OF e SKIP LOCKED;
        ELSE
            OPEN found_rows FOR
                SELECT e.generation, e.hash, e.key, e.size, e.blob_id, e.rank, n.name
                FROM ~entries e LEFT JOIN ~namespaces n ON n.generation = e.generation
                WHERE e.generation = a_generation AND e.limited AND e.rank_epoch = a_epoch AND e.version < a_own
                    AND (e.generation, e.hash) IS DISTINCT FROM (a_not_generation, a_not)
                    AND (e.priority, e.rank, e.version) <= (a_bound_priority, a_bound_rank, a_bound_version)
                ORDER BY e.priority, e.rank, e.version FOR UPDATE OF e SKIP LOCKED;
        END IF;
        reclaimed := 0;
        LOOP
            EXIT WHEN gone >= a_most OR (entries >= a_entries AND bytes >= a_bytes);
            FETCH found_rows INTO v;
            EXIT WHEN NOT FOUND;
            -- What was opened for an earlier put of the call knows of that one only.
            CONTINUE WHEN v.generation = a_not_generation AND v.hash = a_not;
            DELETE FROM ~entries e WHERE e.generation = v.generation AND e.hash = v.hash;
            IF v.name IS NULL THEN
                -- It was cleared, and counted as garbage then.
                IF v.blob_id IS NOT NULL THEN
                    INSERT INTO ~garbage (blob_id, not_before, size)
                    SELECT v.blob_id, COALESCE((SELECT c.not_before FROM ~cleared c WHERE c.generation = v.generation), a_due), v.size
                    ON CONFLICT DO NOTHING;
                    IF NOT FOUND THEN
                        PERFORM ~less_garbage_v1(v.size);
                    END IF;
                END IF;
                reclaimed := reclaimed + 1;
                IF reclaimed > 500 THEN
                    -- Among what has expired they hide little; the caller takes them back in time.
                    EXIT WHEN phase = 0;
                    RAISE EXCEPTION USING ERRCODE = 'CN003', MESSAGE = 'cleared entries are to be taken back first';
                END IF;
                CONTINUE;
            END IF;
            o_garbage := false;
            IF v.blob_id IS NOT NULL THEN
                INSERT INTO ~garbage (blob_id, not_before, size) VALUES (v.blob_id, a_due, v.size) ON CONFLICT DO NOTHING;
                o_garbage := FOUND;
            END IF;
            IF a_feed THEN
                INSERT INTO ~changes (kind, namespace, key) VALUES (1, v.name, v.key);
            END IF;
            gone := gone + 1;
            entries := entries + 1;
            bytes := bytes + v.size;
            o_reason := phase;
            o_generation := v.generation;
            o_namespace := v.name;
            o_key := v.key;
            o_size := v.size;
            o_blob := v.blob_id IS NOT NULL;
            o_rank := v.rank;
            RETURN NEXT;
        END LOOP;
        IF a_keep IS NULL THEN
            CLOSE found_rows;
        END IF;
    END LOOP;
END
$cacheness$;

-- Takes back up to `a_limit` entries of cleared generations. Returns how many.
CREATE OR REPLACE FUNCTION ~reclaim_v1(a_limit integer) RETURNS integer LANGUAGE plpgsql AS $cacheness$
DECLARE
    c record;
    n integer;
    lost bigint;
    done integer := 0;
BEGIN
    FOR c IN SELECT t.generation, t.not_before FROM ~cleared t ORDER BY t.generation FOR UPDATE SKIP LOCKED LOOP
        EXIT WHEN done >= a_limit;
        WITH gone AS (
            DELETE FROM ~entries e WHERE e.generation = c.generation AND e.hash IN (
                SELECT x.hash FROM ~entries x WHERE x.generation = c.generation LIMIT a_limit - done FOR UPDATE SKIP LOCKED
            ) RETURNING e.blob_id, e.size
        ), listed AS (
            INSERT INTO ~garbage (blob_id, not_before, size)
            SELECT g.blob_id, c.not_before, g.size FROM gone g WHERE g.blob_id IS NOT NULL
            ON CONFLICT DO NOTHING RETURNING size
        )
        SELECT count(*), COALESCE(sum(g.size) FILTER (WHERE g.blob_id IS NOT NULL), 0) - (SELECT COALESCE(sum(l.size), 0) FROM listed l)
        INTO n, lost FROM gone g;
        IF lost > 0 THEN
            PERFORM ~less_garbage_v1(lost);
        END IF;
        done := done + n;
        IF NOT EXISTS (SELECT FROM ~entries e WHERE e.generation = c.generation) THEN
            DELETE FROM ~cleared t WHERE t.generation = c.generation;
        END IF;
    END LOOP;
    RETURN done;
END
$cacheness$;

-- Adds to the totals of generations, in their order, so that nobody waits for somebody who waits.
CREATE OR REPLACE FUNCTION ~count_v1(
    a_generation bigint[], a_entries bigint[], a_bytes bigint[], a_blob_bytes bigint[], a_garbage_bytes bigint[],
    a_evictions bigint[], a_expirations bigint[], a_age bigint
) RETURNS void LANGUAGE sql AS $cacheness$
    INSERT INTO ~totals AS t (generation, shard, entries, bytes, blob_bytes, garbage_bytes, evictions, expirations, age)
    SELECT d.generation, pg_backend_pid() % 64, sum(d.entries), sum(d.bytes), sum(d.blob_bytes), sum(d.garbage_bytes),
        sum(d.evictions), sum(d.expirations), CASE d.generation WHEN 0 THEN a_age ELSE 0 END
    FROM unnest(a_generation, a_entries, a_bytes, a_blob_bytes, a_garbage_bytes, a_evictions, a_expirations)
        AS d(generation, entries, bytes, blob_bytes, garbage_bytes, evictions, expirations)
    GROUP BY d.generation ORDER BY d.generation
    ON CONFLICT (generation, shard) DO UPDATE SET
        entries = t.entries + excluded.entries,
        bytes = t.bytes + excluded.bytes,
        blob_bytes = t.blob_bytes + excluded.blob_bytes,
        garbage_bytes = t.garbage_bytes + excluded.garbage_bytes,
        evictions = t.evictions + excluded.evictions,
        expirations = t.expirations + excluded.expirations,
        age = GREATEST(t.age, excluded.age)
$cacheness$;

-- Takes bytes off the garbage that were counted and are not there.
CREATE OR REPLACE FUNCTION ~less_garbage_v1(a_bytes bigint) RETURNS void LANGUAGE sql AS $cacheness$
    SELECT ~count_v1(ARRAY[0::bigint], ARRAY[0::bigint], ARRAY[0::bigint], ARRAY[0::bigint], ARRAY[-a_bytes], ARRAY[0::bigint],
        ARRAY[0::bigint], 0)
$cacheness$;

-- Evicts up to `a_most` entries from a cache that is over its limits with so much more in it, or from one namespace.
-- Returns those that went, and a row of kind 4 where there is more to evict, of kind 3 where the epoch is another one.
-- One after the other: two that evict at once would both free all that is too much.
CREATE OR REPLACE FUNCTION ~evict_v1(
    a_lock integer, a_epoch integer, a_refuses boolean, a_name bytea, a_now bigint, a_due bigint,
    a_room_entries bigint, a_room_bytes bigint, a_most integer,
    a_bound_priority real, a_bound_rank bigint, a_bound_version bigint,
    u_generation bigint[], u_hash bytea[], u_version bigint[], u_accessed bigint[], u_hits bigint[], u_rank bigint[]
) RETURNS TABLE (o_kind smallint, o_reason smallint, o_namespace bytea, o_key bytea) LANGUAGE plpgsql AS $cacheness$
DECLARE
    s record;
    n record;
    t record;
    v record;
    entries bigint;
    bytes bigint;
    top bigint := 0;
    d_generation bigint[] := '{}'; d_entries bigint[] := '{}'; d_bytes bigint[] := '{}'; d_blob bigint[] := '{}';
    d_garbage bigint[] := '{}'; d_evicted bigint[] := '{}'; d_expired bigint[] := '{}';
BEGIN
    PERFORM pg_advisory_xact_lock_shared(a_lock, 0);
    PERFORM ~mine_v1(a_lock);
    PERFORM pg_advisory_xact_lock(a_lock, 2001);
    SELECT * INTO s FROM ~state;
    IF s.epoch <> a_epoch THEN
        o_kind := 3;
        RETURN NEXT;
        RETURN;
    END IF;
    IF a_name IS NULL THEN
        SELECT 0::bigint AS generation, s.max_entries, s.max_bytes INTO n;
    ELSE
        SELECT x.generation, x.max_entries, x.max_bytes INTO n FROM ~namespaces x WHERE x.name = a_name;
        IF NOT FOUND THEN
            RETURN;
        END IF;
    END IF;
    PERFORM ~use_v1(a_epoch, u_generation, u_hash, u_version, u_accessed, u_hits, u_rank);
    SELECT COALESCE(sum(x.entries), 0)::bigint AS entries, COALESCE(sum(x.bytes), 0)::bigint AS bytes
    INTO t FROM ~totals x WHERE x.generation = n.generation;
    entries := COALESCE(GREATEST(t.entries + a_room_entries - n.max_entries, 0), 0);
    bytes := COALESCE(GREATEST(t.bytes + a_room_bytes - n.max_bytes, 0), 0);
    IF entries = 0 AND bytes = 0 THEN
        RETURN;
    END IF;
    FOR v IN SELECT * FROM ~victims_v1(
        NULLIF(n.generation, 0), a_epoch, a_refuses, a_now, a_due, entries, bytes, a_most, 9223372036854775807,
        NULL, NULL, a_bound_priority, a_bound_rank, a_bound_version, s.feed_until > clock_timestamp(), NULL
    ) LOOP
        entries := entries - 1;
        bytes := bytes - v.o_size;
        IF v.o_reason = 1 THEN
            top := GREATEST(top, v.o_rank);
        END IF;
        d_generation := d_generation || ARRAY[0, v.o_generation];
        d_entries := d_entries || ARRAY[-1::bigint, -1];
        d_bytes := d_bytes || ARRAY[-v.o_size, -v.o_size];
        d_blob := d_blob || ARRAY[0, CASE WHEN v.o_blob THEN -v.o_size ELSE 0 END];
        d_garbage := d_garbage || ARRAY[CASE WHEN v.o_garbage THEN v.o_size ELSE 0 END, 0];
        d_evicted := d_evicted || ARRAY[0::bigint, v.o_reason];
        d_expired := d_expired || ARRAY[0::bigint, 1 - v.o_reason];
        o_kind := 1;
        o_reason := v.o_reason;
        o_namespace := v.o_namespace;
        o_key := v.o_key;
        RETURN NEXT;
    END LOOP;
    PERFORM ~count_v1(d_generation, d_entries, d_bytes, d_blob, d_garbage, d_evicted, d_expired, top);
    IF entries > 0 OR bytes > 0 THEN
        o_kind := 4;
        RETURN NEXT;
    END IF;
END
$cacheness$;

-- Takes back rows of cleared generations, then removes entries that have expired, up to `a_limit` of both. Returns the
-- expired ones, and at last a row of kind 5 with how many were taken back, and whether there is more.
CREATE OR REPLACE FUNCTION ~purge_v1(a_lock integer, a_epoch integer, a_now bigint, a_due bigint, a_limit integer)
RETURNS TABLE (o_kind smallint, o_namespace bytea, o_key bytea, o_reclaimed integer, o_more boolean)
LANGUAGE plpgsql AS $cacheness$
DECLARE
    v record;
    feed boolean;
    d_generation bigint[] := '{}'; d_entries bigint[] := '{}'; d_bytes bigint[] := '{}'; d_blob bigint[] := '{}';
    d_garbage bigint[] := '{}'; d_evicted bigint[] := '{}'; d_expired bigint[] := '{}';
BEGIN
    PERFORM pg_advisory_xact_lock_shared(a_lock, 0);
    PERFORM ~mine_v1(a_lock);
    SELECT x.feed_until > clock_timestamp() INTO feed FROM ~state x;
    o_reclaimed := 0;
    IF EXISTS (SELECT FROM ~cleared) THEN
        o_reclaimed := ~reclaim_v1(a_limit);
    END IF;
    FOR v IN SELECT * FROM ~victims_v1(
        NULL, a_epoch, true, a_now, a_due, 9223372036854775807, 0, a_limit - o_reclaimed, 9223372036854775807,
        NULL, NULL, NULL, NULL, NULL, feed, NULL
    ) LOOP
        d_generation := d_generation || ARRAY[0, v.o_generation];
        d_entries := d_entries || ARRAY[-1::bigint, -1];
        d_bytes := d_bytes || ARRAY[-v.o_size, -v.o_size];
        d_blob := d_blob || ARRAY[0, CASE WHEN v.o_blob THEN -v.o_size ELSE 0 END];
        d_garbage := d_garbage || ARRAY[CASE WHEN v.o_garbage THEN v.o_size ELSE 0 END, 0];
        d_evicted := d_evicted || ARRAY[0::bigint, 0];
        d_expired := d_expired || ARRAY[0::bigint, 1];
        o_kind := 1;
        o_namespace := v.o_namespace;
        o_key := v.o_key;
        RETURN NEXT;
    END LOOP;
    PERFORM ~count_v1(d_generation, d_entries, d_bytes, d_blob, d_garbage, d_evicted, d_expired, 0);
    -- Whoever follows the changes sees to it that old ones go; here it is done where nobody does any more.
    PERFORM ~forget_changes_v1();
    o_kind := 5;
    o_namespace := NULL;
    o_key := NULL;
    o_more := EXISTS (SELECT FROM ~cleared) OR EXISTS (SELECT FROM ~entries e WHERE e.expires_at <= a_now);
    RETURN NEXT;
END
$cacheness$;
