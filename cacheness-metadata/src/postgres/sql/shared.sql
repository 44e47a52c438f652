-- Takes a lease by the server's clock, or keeps it. Returns its token, or null where another holds it. The number is
-- drawn under a lock, so that later holders get higher ones.
CREATE OR REPLACE FUNCTION ~acquire_v1(
    a_lock integer, a_hash bytea, a_namespace bytea, a_name bytea, a_holder bytea, a_ttl bigint
) RETURNS bigint LANGUAGE plpgsql AS $cacheness$
DECLARE
    found bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(a_lock, 1000 + get_byte(a_hash, 0));
    DELETE FROM ~leases l WHERE l.hash IN (
        SELECT x.hash FROM ~leases x WHERE x.until < clock_timestamp() - interval '1 hour' AND x.hash <> a_hash
        ORDER BY x.until LIMIT 8 FOR UPDATE SKIP LOCKED
    );
    UPDATE ~leases l SET until = clock_timestamp() + a_ttl::float8 * interval '1 microsecond'
    WHERE l.hash = a_hash AND l.holder = a_holder AND l.until > clock_timestamp() RETURNING l.token INTO found;
    IF found IS NULL THEN
        INSERT INTO ~leases AS l (hash, namespace, name, holder, token, until)
        VALUES (a_hash, a_namespace, a_name, a_holder, nextval('~versions'),
            clock_timestamp() + a_ttl::float8 * interval '1 microsecond')
        ON CONFLICT (hash) DO UPDATE SET holder = excluded.holder, token = excluded.token, until = excluded.until
        WHERE l.until <= clock_timestamp() RETURNING l.token INTO found;
    END IF;
    RETURN found;
END
$cacheness$;

-- What was changed since the moment `a_seen`, up to the moment `a_up_to`, or where it is null up to now, and after the
-- change `a_last`: those that are visible at the second moment and were not at the first. The first row, of kind 9, says
-- in `o_key` up to when, and in `o_version` when it was asked, in microseconds. What is older than 20 minutes is deleted.
CREATE OR REPLACE FUNCTION ~poll_v1(a_seen text, a_up_to text, a_last bigint, a_limit integer) RETURNS TABLE (
    o_kind smallint, o_id bigint, o_namespace bytea, o_key bytea, o_version bigint
) LANGUAGE plpgsql AS $cacheness$
DECLARE
    up_to pg_snapshot := COALESCE(a_up_to::pg_snapshot, pg_current_snapshot());
    seen pg_snapshot := COALESCE(a_seen::pg_snapshot, up_to);
BEGIN
    IF (SELECT s.feed_until < clock_timestamp() + interval '19 minutes' FROM ~state s) THEN
        UPDATE ~state s SET feed_until = GREATEST(s.feed_until, clock_timestamp() + interval '20 minutes');
        IF a_seen IS NULL THEN
            -- Changes are written down from here on; the moment that counts comes after.
            RETURN QUERY SELECT 8::smallint, NULL::bigint, NULL::bytea, NULL::bytea, NULL::bigint;
            RETURN;
        END IF;
    END IF;
    RETURN QUERY SELECT 9::smallint,
        CASE WHEN pg_snapshot_xmax(up_to) < pg_snapshot_xmax(seen) THEN 1 ELSE 0 END::bigint, NULL::bytea,
        convert_to(up_to::text, 'UTF8'), (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;
    IF a_seen IS NOT NULL THEN
        -- Not visible is what began since, or was under way: not all since `xmin`, which one long transaction anywhere on
        -- the server holds back.
        RETURN QUERY SELECT x.kind, x.id, x.namespace, x.key, x.version FROM (
            SELECT c.* FROM ~changes c WHERE c.xid >= pg_snapshot_xmax(seen) AND c.xid < pg_snapshot_xmax(up_to)
            UNION ALL
            SELECT c.* FROM ~changes c WHERE c.xid = ANY (ARRAY(SELECT pg_snapshot_xip(seen)))
        ) x WHERE x.id > a_last AND pg_visible_in_snapshot(x.xid, up_to) ORDER BY x.id LIMIT a_limit;
    END IF;
    -- Not `clock_timestamp()`, by which no index can be used.
    IF EXISTS (SELECT FROM ~changes c WHERE c.at < now() - interval '21 minutes') THEN
        DELETE FROM ~changes c WHERE c.id IN (
            SELECT x.id FROM ~changes x WHERE x.at < now() - interval '20 minutes'
            ORDER BY x.at LIMIT 10000 FOR UPDATE SKIP LOCKED
        );
    END IF;
END
$cacheness$;
