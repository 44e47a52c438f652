-- Writes down uses of entries that one process has had, before it evicts. What others have locked is passed over.
CREATE OR REPLACE FUNCTION ~use_v1(
    a_epoch integer, u_generation bigint[], u_hash bytea[], u_version bigint[], u_accessed bigint[], u_hits bigint[],
    u_rank bigint[]
) RETURNS void LANGUAGE plpgsql AS $cacheness$
DECLARE
    u record;
    x record;
BEGIN
    FOR u IN SELECT * FROM unnest(u_generation, u_hash, u_version, u_accessed, u_hits, u_rank)
        AS y(generation, hash, version, accessed, hits, rank)
    LOOP
        SELECT e.ctid INTO x FROM ~entries e
        WHERE e.generation = u.generation AND e.hash = u.hash AND e.version = u.version FOR UPDATE SKIP LOCKED;
        IF FOUND THEN
            UPDATE ~entries e SET
                accessed_at = GREATEST(e.accessed_at, u.accessed),
                hits = LEAST(e.hits, 9223372036854775807 - u.hits) + u.hits,
                rank = CASE e.rank_epoch WHEN a_epoch THEN GREATEST(e.rank, u.rank) ELSE e.rank END
            WHERE e.generation = u.generation AND e.hash = u.hash;
        END IF;
    END LOOP;
END
$cacheness$;

-- The rank of an entry after so many more uses, by a policy whose ranks change in a way that is known here: 0 not at all,
-- 1 to the last use, 2 by the number of uses, 3 to the expiry. By 4 the caller sees to it.
CREATE OR REPLACE FUNCTION ~rank_after_v1(a_way smallint, a_rank bigint, a_accessed bigint, a_hits bigint, a_expires bigint)
RETURNS bigint LANGUAGE sql IMMUTABLE AS $cacheness$
    SELECT CASE a_way
        WHEN 1 THEN GREATEST(a_rank, a_accessed)
        WHEN 2 THEN LEAST(a_rank, 9223372036854775807 - a_hits) + a_hits
        WHEN 3 THEN COALESCE(a_expires, 9223372036854775807)
        ELSE a_rank
    END
$cacheness$;

-- Makes changes in their order, all of them or none. Rows of the answer, by kind: 0 what became of a change, 1 an entry
-- that was evicted for it, 2 an entry that may be evicted next, 3 the epoch or the policy is another one and nothing was
-- done, 6 somebody follows the changes.
--
-- Locks are taken in an order that is the same for all: the one that keeps namespaces from being cleared meanwhile, those
-- of the keys by their hashes, rows of entries, totals. Evictions wait for no lock.
--
-- CN001: a value does not fit by itself. CN002: what the call puts is over a limit by itself. CN003: see `victims`. CN004:
-- more must be evicted than one transaction evicts. CN005: the policy evicts nothing. CN006: two keys have one hash. CN007: a blob was
-- swept away. CN008, CN009: see `late` and `mine`.
CREATE OR REPLACE FUNCTION ~apply_v1(
    a_lock integer, a_epoch integer, a_known boolean, a_refuses boolean, a_way smallint, a_most integer,
    c_names bytea[], c_ns integer[], c_op smallint[], c_key bytea[], c_hash bytea[], c_if smallint[], c_if_version bigint[],
    c_now bigint[], c_due bigint[], c_size bigint[], c_blob bytea[], c_record bytea[], c_inline bytea[],
    c_created bigint[], c_accessed bigint[], c_hits bigint[], c_expires bigint[], c_extend bigint[], c_priority real[],
    c_rank bigint[], c_rank_by smallint[],
    u_generation bigint[], u_hash bytea[], u_version bigint[], u_accessed bigint[], u_hits bigint[], u_rank bigint[],
    a_until bigint
) RETURNS TABLE (
    o_kind smallint, o_change integer, o_applied boolean, o_old bigint, o_new bigint, o_reason smallint,
    o_generation bigint, o_namespace bytea, o_key bytea, o_hash bytea, o_rank bigint, o_hits bigint, o_size bigint,
    o_expires bigint, o_age bigint
) LANGUAGE plpgsql AS $cacheness$
DECLARE
    s record;
    c record;
    old record;
    t record;
    v record;
    g bigint;
    at integer;
    there boolean;
    feed boolean;
    putting boolean := 0 = ANY (c_op);
    gens bigint[] := '{}';
    max_entries bigint[] := '{}';
    max_bytes bigint[] := '{}';
    -- What there is: in the cache at 1, in the namespaces of the call after it, where they have limits.
    sum_entries bigint[] := '{}';
    sum_bytes bigint[] := '{}';
    own_entries bigint[] := '{}';
    own_bytes bigint[] := '{}';
    own_from bigint;
    -- What the call adds beside what it evicts.
    net_entries bigint[] := '{}';
    net_bytes bigint[] := '{}';
    age bigint := 0;
    top bigint := 0;
    most integer := a_most;
    garbage bigint;
    expires bigint;
    d_generation bigint[] := '{}'; d_entries bigint[] := '{}'; d_bytes bigint[] := '{}'; d_blob bigint[] := '{}';
    d_garbage bigint[] := '{}'; d_evicted bigint[] := '{}'; d_expired bigint[] := '{}';
    -- So long these lists get: each addition copies them.
    compress_at integer := 512;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(a_lock, 0);
    SELECT * INTO s FROM ~state;
    IF s.lock IS DISTINCT FROM a_lock OR s.format <> 1 THEN
        PERFORM ~mine_v1(a_lock);
    END IF;
    IF s.epoch <> a_epoch OR (putting AND NOT a_known AND (s.max_entries IS NOT NULL OR s.max_bytes IS NOT NULL OR s.limited > 0)) THEN
        o_kind := 3;
        RETURN NEXT;
        RETURN;
    END IF;
    feed := s.feed_until > clock_timestamp();
    PERFORM pg_advisory_xact_lock(a_lock, x.stripe)
    FROM (SELECT DISTINCT 1 + (get_byte(h, 0) & 127) AS stripe FROM unnest(c_hash) h ORDER BY 1) x;
    PERFORM ~late_v1(a_until);
    -- A record has no fields before it is first assigned.
    SELECT NULL::bigint AS version, NULL::bigint AS size, NULL::bytea AS blob_id, NULL::bigint AS expires_at, NULL::bytea AS key
    INTO old;

    max_entries := ARRAY[s.max_entries];
    max_bytes := ARRAY[s.max_bytes];
    own_entries := ARRAY[0::bigint];
    own_bytes := ARRAY[0::bigint];
    net_entries := ARRAY[0::bigint];
    net_bytes := ARRAY[0::bigint];
    IF putting AND (s.max_entries IS NOT NULL OR s.max_bytes IS NOT NULL OR EXISTS (SELECT FROM unnest(c_rank_by) b WHERE b >= 2)) THEN
        SELECT COALESCE(sum(x.entries), 0)::bigint AS entries, COALESCE(sum(x.bytes), 0)::bigint AS bytes, COALESCE(max(x.age), 0) AS age
        INTO v FROM ~totals x WHERE x.generation = 0;
        sum_entries := ARRAY[v.entries];
        sum_bytes := ARRAY[v.bytes];
        age := v.age;
    ELSE
        sum_entries := ARRAY[0::bigint];
        sum_bytes := ARRAY[0::bigint];
    END IF;
    FOR v IN
        SELECT n.generation, n.max_entries, n.max_bytes FROM unnest(c_names) WITH ORDINALITY x(name, i)
        LEFT JOIN ~namespaces n ON n.name = x.name ORDER BY x.i
    LOOP
        gens := gens || v.generation;
        max_entries := max_entries || v.max_entries;
        max_bytes := max_bytes || v.max_bytes;
        own_entries := own_entries || 0::bigint;
        own_bytes := own_bytes || 0::bigint;
        net_entries := net_entries || 0::bigint;
        net_bytes := net_bytes || 0::bigint;
        IF v.max_entries IS NULL AND v.max_bytes IS NULL THEN
            sum_entries := sum_entries || 0::bigint;
            sum_bytes := sum_bytes || 0::bigint;
        ELSE
            SELECT COALESCE(sum(x.entries), 0)::bigint AS entries, COALESCE(sum(x.bytes), 0)::bigint AS bytes
            INTO t FROM ~totals x WHERE x.generation = v.generation;
            sum_entries := sum_entries || t.entries;
            sum_bytes := sum_bytes || t.bytes;
        END IF;
    END LOOP;
    IF array_length(c_op, 1) > 1 OR array_length(u_hash, 1) > 0 THEN
        PERFORM 1 FROM ~entries e, (
            SELECT DISTINCT gens[x.ns] AS generation, x.hash FROM unnest(c_ns, c_hash) x(ns, hash)
        ) y WHERE e.generation = y.generation AND e.hash = y.hash ORDER BY e.generation, e.hash FOR UPDATE OF e;
    END IF;
    PERFORM ~use_v1(a_epoch, u_generation, u_hash, u_version, u_accessed, u_hits, u_rank);

    FOR c IN
        SELECT * FROM unnest(
            c_ns, c_op, c_key, c_hash, c_if, c_if_version, c_now, c_due, c_size, c_blob, c_record, c_inline, c_created,
            c_accessed, c_hits, c_expires, c_extend, c_priority, c_rank, c_rank_by
        ) WITH ORDINALITY x(
            ns, op, key, hash, condition, if_version, now, due, size, blob, record, inline, created,
            accessed, hits, expires, extend, priority, rank, rank_by, i
        )
    LOOP
        IF cardinality(d_generation) > compress_at THEN
            SELECT array_agg(x.generation), array_agg(x.entries), array_agg(x.bytes), array_agg(x.blob), array_agg(x.garbage),
                array_agg(x.evicted), array_agg(x.expired)
            INTO d_generation, d_entries, d_bytes, d_blob, d_garbage, d_evicted, d_expired
            FROM (
                SELECT y.generation, sum(y.entries)::bigint AS entries, sum(y.bytes)::bigint AS bytes, sum(y.blob)::bigint AS blob,
                    sum(y.garbage)::bigint AS garbage, sum(y.evicted)::bigint AS evicted, sum(y.expired)::bigint AS expired
                FROM unnest(d_generation, d_entries, d_bytes, d_blob, d_garbage, d_evicted, d_expired)
                    AS y(generation, entries, bytes, blob, garbage, evicted, expired) GROUP BY y.generation
            ) x;
            compress_at := GREATEST(compress_at, 2 * cardinality(d_generation));
        END IF;
        g := gens[c.ns];
        there := false;
        IF g IS NOT NULL THEN
            SELECT e.version, e.size, e.blob_id, e.expires_at, e.key INTO old
            FROM ~entries e WHERE e.generation = g AND e.hash = c.hash FOR UPDATE;
            there := FOUND;
            IF there AND old.key <> c.key THEN
                RAISE EXCEPTION USING ERRCODE = 'CN006', MESSAGE = 'two keys have one hash';
            END IF;
        END IF;
        o_kind := 0;
        o_change := c.i;
        o_old := CASE WHEN there THEN old.version END;
        o_new := NULL;
        o_applied := CASE c.condition WHEN 0 THEN true WHEN 1 THEN NOT there ELSE there AND old.version = c.if_version END
            AND (c.op = 0 OR there);
        IF NOT o_applied THEN
            RETURN NEXT;
            CONTINUE;
        END IF;

        IF c.op = 2 THEN
            expires := CASE WHEN c.extend IS NULL THEN c.expires
                WHEN old.expires_at > 9223372036854775807 - c.extend THEN 9223372036854775807
                ELSE old.expires_at + c.extend END;
            UPDATE ~entries e SET
                expires_at = expires,
                accessed_at = GREATEST(e.accessed_at, c.now),
                hits = LEAST(e.hits, 9223372036854775806) + 1,
                rank = CASE e.rank_epoch WHEN a_epoch THEN ~rank_after_v1(a_way, e.rank, c.now, 1, expires) ELSE e.rank END
            WHERE e.generation = g AND e.hash = c.hash;
            IF feed THEN
                INSERT INTO ~changes (kind, namespace, key) VALUES (1, c_names[c.ns], c.key);
            END IF;
            RETURN NEXT;
            CONTINUE;
        END IF;

        garbage := 0;
        IF c.op = 0 THEN
            FOREACH at IN ARRAY ARRAY[1, c.ns + 1] LOOP
                IF c.size > max_bytes[at] OR max_entries[at] = 0 THEN
                    RAISE EXCEPTION USING ERRCODE = 'CN001', MESSAGE = 'a value does not fit', DETAIL = format(
                        '%s %s %s %s', at - 1, COALESCE(max_entries[at], -1), COALESCE(max_bytes[at], -1), c.size);
                END IF;
            END LOOP;
            -- A blob that the entry has already was kept by the sweep, which looks again after it has condemned it.
            IF c.blob IS NOT NULL AND NOT (there AND old.blob_id IS NOT DISTINCT FROM c.blob) AND EXISTS (SELECT FROM ~condemned x WHERE x.blob_id = c.blob) THEN
                RAISE EXCEPTION USING ERRCODE = 'CN007', MESSAGE = 'the blob was swept away';
            END IF;
            IF g IS NULL THEN
                INSERT INTO ~namespaces AS n (name, generation) VALUES (c_names[c.ns], nextval('~generations'))
                ON CONFLICT (name) DO UPDATE SET name = excluded.name RETURNING n.generation INTO g;
                gens[c.ns] := g;
            END IF;
        END IF;
        IF there THEN
            d_generation := d_generation || ARRAY[0, g];
            d_entries := d_entries || ARRAY[-1::bigint, -1];
            d_bytes := d_bytes || ARRAY[-old.size, -old.size];
            d_blob := d_blob || ARRAY[0, CASE WHEN old.blob_id IS NULL THEN 0 ELSE -old.size END];
            IF old.blob_id IS DISTINCT FROM c.blob AND old.blob_id IS NOT NULL THEN
                INSERT INTO ~garbage (blob_id, not_before, size) VALUES (old.blob_id, c.due, old.size) ON CONFLICT DO NOTHING;
                garbage := CASE WHEN FOUND THEN old.size ELSE 0 END;
            END IF;
            d_garbage := d_garbage || ARRAY[garbage, 0];
            d_evicted := d_evicted || ARRAY[0::bigint, 0];
            d_expired := d_expired || ARRAY[0::bigint, 0];
            FOREACH at IN ARRAY ARRAY[1, c.ns + 1] LOOP
                sum_entries[at] := sum_entries[at] - 1;
                sum_bytes[at] := sum_bytes[at] - old.size;
                net_entries[at] := net_entries[at] - 1;
                net_bytes[at] := net_bytes[at] - old.size;
                IF old.version >= own_from THEN
                    own_entries[at] := own_entries[at] - 1;
                    own_bytes[at] := own_bytes[at] - old.size;
                END IF;
            END LOOP;
        END IF;
        IF c.op = 1 THEN
            DELETE FROM ~entries e WHERE e.generation = g AND e.hash = c.hash;
            IF feed THEN
                INSERT INTO ~changes (kind, namespace, key) VALUES (1, c_names[c.ns], c.key);
            END IF;
            RETURN NEXT;
            CONTINUE;
        END IF;

        o_new := nextval('~versions');
        own_from := COALESCE(own_from, o_new);
        FOREACH at IN ARRAY ARRAY[c.ns + 1, 1] LOOP
            own_entries[at] := own_entries[at] + 1;
            own_bytes[at] := own_bytes[at] + c.size;
            net_entries[at] := net_entries[at] + 1;
            net_bytes[at] := net_bytes[at] + c.size;
            IF sum_entries[at] + 1 > max_entries[at] OR sum_bytes[at] + c.size > max_bytes[at] THEN
                IF own_entries[at] > max_entries[at] OR own_bytes[at] > max_bytes[at] THEN
                    RAISE EXCEPTION USING ERRCODE = 'CN002', MESSAGE = 'one call puts more than fits', DETAIL = format(
                        '%s %s %s', at - 1, own_entries[at], own_bytes[at]);
                END IF;
                FOR v IN SELECT * FROM ~victims_v1(
                    CASE WHEN at = 1 THEN NULL ELSE g END, a_epoch, a_refuses, c.now, c.due,
                    COALESCE(GREATEST(sum_entries[at] + 1 - max_entries[at], 0), 0),
                    COALESCE(GREATEST(sum_bytes[at] + c.size - max_bytes[at], 0), 0),
                    most, own_from, g, c.hash, 'infinity', 9223372036854775807, 9223372036854775807, feed, at
                ) LOOP
                    most := most - 1;
                    IF v.o_reason = 1 THEN
                        top := GREATEST(top, v.o_rank);
                        age := GREATEST(age, v.o_rank);
                    END IF;
                    d_generation := d_generation || ARRAY[0, v.o_generation];
                    d_entries := d_entries || ARRAY[-1::bigint, -1];
                    d_bytes := d_bytes || ARRAY[-v.o_size, -v.o_size];
                    d_blob := d_blob || ARRAY[0, CASE WHEN v.o_blob THEN -v.o_size ELSE 0 END];
                    d_garbage := d_garbage || ARRAY[CASE WHEN v.o_garbage THEN v.o_size ELSE 0 END, 0];
                    d_evicted := d_evicted || ARRAY[0::bigint, v.o_reason];
                    d_expired := d_expired || ARRAY[0::bigint, 1 - v.o_reason];
                    sum_entries[1] := sum_entries[1] - 1;
                    sum_bytes[1] := sum_bytes[1] - v.o_size;
                    IF array_position(gens, v.o_generation) IS NOT NULL THEN
                        sum_entries[array_position(gens, v.o_generation) + 1] :=
                            sum_entries[array_position(gens, v.o_generation) + 1] - 1;
                        sum_bytes[array_position(gens, v.o_generation) + 1] :=
                            sum_bytes[array_position(gens, v.o_generation) + 1] - v.o_size;
                    END IF;
                    o_kind := 1;
                    o_reason := v.o_reason;
                    o_namespace := v.o_namespace;
                    o_key := v.o_key;
                    RETURN NEXT;
                END LOOP;
                IF sum_entries[at] + 1 > max_entries[at] OR sum_bytes[at] + c.size > max_bytes[at] THEN
                    IF most <= 0 THEN
                        -- What the call has put and evicted itself is undone by this error, and comes again.
                        RAISE EXCEPTION USING ERRCODE = 'CN004', MESSAGE = 'more is to be evicted first', DETAIL = format(
                            '%s %s %s %s', at - 1, net_entries[at], net_bytes[at], c.now);
                    ELSIF a_refuses THEN
                        RAISE EXCEPTION USING ERRCODE = 'CN005', MESSAGE = 'the policy evicts nothing', DETAIL = format(
                            '%s %s %s', at - 1, COALESCE(max_entries[at], -1), COALESCE(max_bytes[at], -1));
                    END IF;
                END IF;
            END IF;
        END LOOP;
        sum_entries[1] := sum_entries[1] + 1;
        sum_bytes[1] := sum_bytes[1] + c.size;
        sum_entries[c.ns + 1] := sum_entries[c.ns + 1] + 1;
        sum_bytes[c.ns + 1] := sum_bytes[c.ns + 1] + c.size;

        o_rank := CASE c.rank_by WHEN 0 THEN c.rank ELSE LEAST(GREATEST(
            c.rank::numeric + CASE WHEN c.rank_by & 1 = 1 THEN o_new ELSE 0 END + CASE WHEN c.rank_by & 2 = 2 THEN age ELSE 0 END,
            -9223372036854775808), 9223372036854775807)::bigint END;
        IF there THEN
            UPDATE ~entries e SET
                version = o_new, size = c.size, created_at = c.created, accessed_at = c.accessed, hits = c.hits,
                expires_at = c.expires, rank = o_rank, rank_epoch = CASE WHEN a_known THEN a_epoch ELSE 0 END,
                priority = c.priority, limited = max_entries[c.ns + 1] IS NOT NULL OR max_bytes[c.ns + 1] IS NOT NULL,
                blob_id = c.blob, record = c.record, inline = c.inline
            WHERE e.generation = g AND e.hash = c.hash;
            IF NOT FOUND THEN
                -- Nobody else may take it away, and confirming a put that is not there would lose it without a sign.
                RAISE EXCEPTION 'the entry that a put replaces has gone meanwhile';
            END IF;
        ELSE
            INSERT INTO ~entries (
                generation, hash, version, size, created_at, accessed_at, hits, expires_at, rank, rank_epoch, priority,
                limited, blob_id, key, record, inline
            ) VALUES (
                g, c.hash, o_new, c.size, c.created, c.accessed, c.hits, c.expires, o_rank,
                CASE WHEN a_known THEN a_epoch ELSE 0 END, c.priority,
                max_entries[c.ns + 1] IS NOT NULL OR max_bytes[c.ns + 1] IS NOT NULL, c.blob, c.key, c.record, c.inline
            );
        END IF;
        garbage := 0;
        IF c.blob IS NOT NULL THEN
            -- A put that is repeated brings its blob back, after the namespace was cleared meanwhile, or another put replaced it.
            IF EXISTS (SELECT FROM ~cleared) THEN
                WITH back AS (
                    UPDATE ~entries e SET blob_id = NULL FROM ~cleared d
                    WHERE e.generation = d.generation AND e.hash = c.hash AND e.blob_id = c.blob RETURNING e.size
                )
                SELECT COALESCE(-sum(b.size), 0) INTO garbage FROM back b;
            END IF;
            WITH back AS (DELETE FROM ~garbage x WHERE x.blob_id = c.blob RETURNING x.size)
            SELECT garbage - COALESCE(sum(b.size), 0) INTO garbage FROM back b;
        END IF;
        d_generation := d_generation || ARRAY[0, g];
        d_entries := d_entries || ARRAY[1::bigint, 1];
        d_bytes := d_bytes || ARRAY[c.size, c.size];
        d_blob := d_blob || ARRAY[0, CASE WHEN c.blob IS NULL THEN 0 ELSE c.size END];
        d_garbage := d_garbage || ARRAY[garbage, 0];
        d_evicted := d_evicted || ARRAY[0::bigint, 0];
        d_expired := d_expired || ARRAY[0::bigint, 0];
        IF feed THEN
            INSERT INTO ~changes (kind, namespace, key, version) VALUES (0, c_names[c.ns], c.key, o_new);
        END IF;
        o_kind := 0;
        RETURN NEXT;
    END LOOP;

    IF EXISTS (SELECT FROM ~cleared) THEN
        PERFORM ~reclaim_v1(16);
    END IF;
    PERFORM ~count_v1(d_generation, d_entries, d_bytes, d_blob, d_garbage, d_evicted, d_expired, top);
    -- From here on nothing waits any more.
    PERFORM ~late_v1(a_until);
    IF feed THEN
        o_kind := 6;
        RETURN NEXT;
    END IF;
    IF NOT putting OR a_way = 0 OR a_refuses OR NOT a_known THEN
        RETURN;
    END IF;
    FOR at IN 1..array_length(c_names, 1) + 1 LOOP
        IF sum_entries[at] + sum_entries[at] / 16 + 1 > max_entries[at] OR sum_bytes[at] + sum_bytes[at] / 16 > max_bytes[at] THEN
            RETURN QUERY SELECT 2::smallint, NULL::integer, NULL::boolean, n.o_version, NULL::bigint, NULL::smallint, n.o_generation,
                n.o_namespace, n.o_key, n.o_hash, n.o_rank, n.o_hits, n.o_size, n.o_expires, age
            FROM ~next_v1(CASE WHEN at > 1 THEN gens[at - 1] END, a_epoch, LEAST(16 + array_length(c_op, 1), 64)) n;
        END IF;
    END LOOP;
END
$cacheness$;

-- The entries that come first in the order of eviction, of one generation or of all where it is null.
CREATE OR REPLACE FUNCTION ~next_v1(a_generation bigint, a_epoch integer, a_limit integer) RETURNS TABLE (
    o_generation bigint, o_namespace bytea, o_key bytea, o_hash bytea, o_version bigint, o_priority real, o_rank bigint,
    o_hits bigint, o_size bigint, o_expires bigint
) LANGUAGE plpgsql STABLE AS $cacheness$
BEGIN
    IF a_generation IS NULL THEN
        RETURN QUERY SELECT e.generation, n.name, e.key, e.hash, e.version, e.priority, e.rank, e.hits, e.size, e.expires_at
            FROM ~entries e JOIN ~namespaces n ON n.generation = e.generation
            WHERE e.rank_epoch = a_epoch ORDER BY e.priority, e.rank, e.version LIMIT a_limit;
    ELSE
        RETURN QUERY SELECT e.generation, n.name, e.key, e.hash, e.version, e.priority, e.rank, e.hits, e.size, e.expires_at
            FROM ~entries e JOIN ~namespaces n ON n.generation = e.generation
            WHERE e.generation = a_generation AND e.limited AND e.rank_epoch = a_epoch
            ORDER BY e.priority, e.rank, e.version LIMIT a_limit;
    END IF;
END
$cacheness$;
