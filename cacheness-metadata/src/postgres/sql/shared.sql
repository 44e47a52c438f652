-- Stops a change that its caller does not wait for any more: another one may have been made and confirmed since.
-- `a_until` is by the server's clock, in microseconds.
CREATE OR REPLACE FUNCTION ~late_v1(a_until bigint) RETURNS void LANGUAGE plpgsql AS $cacheness$
BEGIN
    IF extract(epoch FROM clock_timestamp()) * 1000000 > a_until THEN
        RAISE EXCEPTION USING ERRCODE = 'CN008', MESSAGE = 'nobody waits for this any more';
    END IF;
END
$cacheness$;

-- True where this is the cache that the caller has opened, by the number of its locks, and its format the one that is
-- known here; all else is an error. Prepared statements find the tables by name, also those that were made since.
CREATE OR REPLACE FUNCTION ~mine_v1(a_lock integer) RETURNS boolean LANGUAGE plpgsql STABLE AS $cacheness$
BEGIN
    IF NOT EXISTS (SELECT FROM ~state s WHERE s.lock = a_lock AND s.format = 1) THEN
        RAISE EXCEPTION USING ERRCODE = 'CN009', MESSAGE = 'these are the tables of another cache, or of another format';
    END IF;
    RETURN true;
END
$cacheness$;

-- Takes a lease by the server's clock, or keeps it. Returns its token, or null where another holds it. The number is
-- drawn under a lock, so that later holders get higher ones.
CREATE OR REPLACE FUNCTION ~acquire_v1(
    a_lock integer, a_hash bytea, a_namespace bytea, a_name bytea, a_holder bytea, a_ttl bigint, a_until bigint
) RETURNS bigint LANGUAGE plpgsql AS $cacheness$
DECLARE
    found bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(a_lock, 1000 + get_byte(a_hash, 0));
    PERFORM ~mine_v1(a_lock);
    PERFORM ~late_v1(a_until);
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

-- Lets a lease that is held last so long from now on. True where it is held.
CREATE OR REPLACE FUNCTION ~renew_v1(a_lock integer, a_hash bytea, a_holder bytea, a_ttl bigint, a_until bigint) RETURNS boolean
LANGUAGE plpgsql AS $cacheness$
BEGIN
    PERFORM pg_advisory_xact_lock(a_lock, 1000 + get_byte(a_hash, 0));
    PERFORM ~mine_v1(a_lock);
    PERFORM ~late_v1(a_until);
    UPDATE ~leases l SET until = clock_timestamp() + a_ttl::float8 * interval '1 microsecond'
    WHERE l.hash = a_hash AND l.holder = a_holder AND l.until > clock_timestamp();
    RETURN FOUND;
END
$cacheness$;

-- Gives a lease back. True where it was held.
CREATE OR REPLACE FUNCTION ~release_v1(a_lock integer, a_hash bytea, a_holder bytea, a_until bigint) RETURNS boolean
LANGUAGE plpgsql AS $cacheness$
DECLARE
    held boolean;
BEGIN
    PERFORM pg_advisory_xact_lock(a_lock, 1000 + get_byte(a_hash, 0));
    PERFORM ~mine_v1(a_lock);
    PERFORM ~late_v1(a_until);
    DELETE FROM ~leases l WHERE l.hash = a_hash AND l.holder = a_holder RETURNING l.until > clock_timestamp() INTO held;
    RETURN COALESCE(held, false);
END
$cacheness$;

-- What was changed since the moment `a_seen`, up to the moment `a_up_to`, or where it is null up to now, and after the
-- change `a_last`: those that are visible at the second moment and were not at the first. The first row, of kind 9, says
-- in `o_key` up to when, in `o_version` when it was asked, in microseconds, and in `o_namespace` on which of its timelines
-- the server is: after a fail-over it is another one, and changes may be missing. Where there are more than 50,000, each
-- part of which would read all of them, a row of kind 10 says so in their place. What is older than 20 minutes is deleted.
CREATE OR REPLACE FUNCTION ~poll_v1(a_lock integer, a_seen text, a_up_to text, a_last bigint, a_limit integer) RETURNS TABLE (
    o_kind smallint, o_id bigint, o_namespace bytea, o_key bytea, o_version bigint
) LANGUAGE plpgsql AS $cacheness$
DECLARE
    up_to pg_snapshot := COALESCE(a_up_to::pg_snapshot, pg_current_snapshot());
    seen pg_snapshot := COALESCE(a_seen::pg_snapshot, up_to);
    feed_until timestamptz;
    timeline text := '';
BEGIN
    PERFORM ~mine_v1(a_lock);
    SELECT s.feed_until INTO feed_until FROM ~state s;
    IF feed_until < clock_timestamp() + interval '19 minutes' THEN
        IF feed_until < clock_timestamp() THEN
            -- Puts under way found that nobody follows, and do not write down what they change. This waits for them.
            PERFORM pg_advisory_xact_lock(a_lock, 0);
        END IF;
        UPDATE ~state s SET feed_until = GREATEST(s.feed_until, clock_timestamp() + interval '20 minutes');
        IF a_seen IS NULL THEN
            -- Changes are written down from here on; the moment that counts comes after.
            RETURN QUERY SELECT 8::smallint, NULL::bigint, NULL::bytea, NULL::bytea, NULL::bigint;
            RETURN;
        END IF;
    END IF;
    BEGIN
        timeline := left(pg_walfile_name(pg_current_wal_lsn()), 8);
    EXCEPTION WHEN OTHERS THEN
        -- A standby has no such place, and some services do not tell theirs.
    END;
    RETURN QUERY SELECT 9::smallint,
        CASE WHEN pg_snapshot_xmax(up_to) < pg_snapshot_xmax(seen) THEN 1 ELSE 0 END::bigint, convert_to(timeline, 'UTF8'),
        convert_to(up_to::text, 'UTF8'), (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;
    IF a_seen IS NOT NULL AND a_up_to IS NULL AND 50000 < (
        SELECT count(*) FROM (
            SELECT 1 FROM ~changes c WHERE c.xid >= pg_snapshot_xmax(seen) AND c.xid < pg_snapshot_xmax(up_to)
            UNION ALL
            SELECT 1 FROM ~changes c WHERE c.xid = ANY (ARRAY(SELECT pg_snapshot_xip(seen)))
            LIMIT 50001
        ) x
    ) THEN
        RETURN QUERY SELECT 10::smallint, NULL::bigint, NULL::bytea, NULL::bytea, NULL::bigint;
    ELSIF a_seen IS NOT NULL THEN
        -- Not visible is what began since, or was under way: not all since `xmin`, which one long transaction anywhere on
        -- the server holds back.
        RETURN QUERY SELECT x.kind, x.id, x.namespace, x.key, x.version FROM (
            SELECT c.* FROM ~changes c WHERE c.xid >= pg_snapshot_xmax(seen) AND c.xid < pg_snapshot_xmax(up_to)
            UNION ALL
            SELECT c.* FROM ~changes c WHERE c.xid = ANY (ARRAY(SELECT pg_snapshot_xip(seen)))
        ) x WHERE x.id > a_last AND pg_visible_in_snapshot(x.xid, up_to) ORDER BY x.id LIMIT a_limit;
    END IF;
    PERFORM ~forget_changes_v1();
END
$cacheness$;

-- Deletes some of the changes that are older than 20 minutes.
CREATE OR REPLACE FUNCTION ~forget_changes_v1() RETURNS void LANGUAGE plpgsql AS $cacheness$
BEGIN
    -- Not `clock_timestamp()`, by which no index can be used.
    IF EXISTS (SELECT FROM ~changes c WHERE c.at < now() - interval '21 minutes') THEN
        DELETE FROM ~changes c WHERE c.id IN (
            SELECT x.id FROM ~changes x WHERE x.at < now() - interval '20 minutes'
            ORDER BY x.at LIMIT 10000 FOR UPDATE SKIP LOCKED
        );
    END IF;
END
$cacheness$;
