//! The statements that each connection has prepared.

use super::schema::Names;

/// One of the statements.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub(super) enum Sql {
    Ping,
    Clock,
    Get,
    Apply,
    Record,
    Stats,
    StatsOfAll,
    SetUsedRanks,
    Rules,
    LimitsOf,
    Limit,
    Next,
    Evict,
    Unranked,
    Rank,
    Reclaim,
    Purge,
    DueGarbage,
    Forget,
    List,
    Namespaces,
    Clear,
    Reset,
    Acquire,
    Renew,
    Release,
    Poll,
    Notify,
    Unnamed,
    Condemn,
}

/// The server's clock, in microseconds since 1970.
pub(super) const CLOCK: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";

/// All of them, in the order of the enum. But for those that concern no cache, the number of the cache's locks is the first
/// parameter; where a change must not be made too late, until when it may be is the last.
const STATEMENTS: [(Sql, &str); 30] = [
    (Sql::Ping, "SELECT current_setting('transaction_read_only') = 'on' OR pg_is_in_recovery()"),
    (Sql::Clock, CLOCK),
    (
        Sql::Get,
        "SELECT e.version, e.key, e.accessed_at, e.hits, e.expires_at, e.blob_id IS NULL, e.record, e.inline, i.at \
         FROM unnest($3::bytea[]) WITH ORDINALITY i(hash, at) CROSS JOIN ~namespaces n \
         JOIN ~entries e ON e.generation = n.generation AND e.hash = i.hash WHERE n.name = $2 AND (SELECT ~mine_v1($1))",
    ),
    (
        Sql::Apply,
        "SELECT * FROM ~apply_v1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, \
         $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33, $34)",
    ),
    (
        Sql::Record,
        "SELECT * FROM ~record_v1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18) \
         WHERE o_kind = 3 OR $3 = 4",
    ),
    (
        Sql::Stats,
        "SELECT COALESCE(sum(t.entries), 0)::bigint, COALESCE(sum(t.bytes), 0)::bigint, 0::bigint, \
         (SELECT min(e.created_at) FROM ~entries e WHERE e.generation = n.generation), \
         LEAST(sum(t.hits), 9e18)::bigint, LEAST(sum(t.misses), 9e18)::bigint, LEAST(sum(t.puts), 9e18)::bigint, \
         LEAST(sum(t.removals), 9e18)::bigint, LEAST(sum(t.evictions), 9e18)::bigint, \
         LEAST(sum(t.expirations), 9e18)::bigint, LEAST(sum(t.errors), 9e18)::bigint, \
         LEAST(sum(t.bytes_out), 9e18)::bigint, LEAST(sum(t.bytes_in), 9e18)::bigint \
         FROM ~namespaces n LEFT JOIN ~totals t ON t.generation = n.generation WHERE n.name = $2 AND (SELECT ~mine_v1($1)) \
         GROUP BY n.generation",
    ),
    (
        Sql::StatsOfAll,
        "SELECT COALESCE(sum(t.entries) FILTER (WHERE t.generation = 0), 0)::bigint, \
         COALESCE(sum(t.bytes) FILTER (WHERE t.generation = 0), 0)::bigint, \
         COALESCE(sum(t.garbage_bytes), 0)::bigint, \
         (SELECT min(o.oldest) FROM ~namespaces n CROSS JOIN LATERAL \
         (SELECT min(e.created_at) AS oldest FROM ~entries e WHERE e.generation = n.generation) o), \
         LEAST(sum(t.hits), 9e18)::bigint, LEAST(sum(t.misses), 9e18)::bigint, LEAST(sum(t.puts), 9e18)::bigint, \
         LEAST(sum(t.removals), 9e18)::bigint, LEAST(sum(t.evictions), 9e18)::bigint, \
         LEAST(sum(t.expirations), 9e18)::bigint, LEAST(sum(t.errors), 9e18)::bigint, \
         LEAST(sum(t.bytes_out), 9e18)::bigint, LEAST(sum(t.bytes_in), 9e18)::bigint FROM ~totals t \
         WHERE (SELECT ~mine_v1($1))",
    ),
    (
        Sql::SetUsedRanks,
        "UPDATE ~entries e SET rank = u.rank \
         FROM unnest($2::bigint[], $3::bytea[], $4::bigint[], $5::bigint[], $6::bigint[]) \
         u(generation, hash, version, before, rank) WHERE e.generation = u.generation AND e.hash = u.hash \
         AND e.version = u.version AND e.rank = u.before AND (SELECT ~mine_v1($1))",
    ),
    (
        Sql::Rules,
        "SELECT policy, max_entries, max_bytes, revision, epoch, limited FROM ~state WHERE ~mine_v1($1)",
    ),
    (
        Sql::LimitsOf,
        "SELECT n.max_entries, n.max_bytes, s.revision FROM ~state s LEFT JOIN ~namespaces n ON n.name = $2 \
         WHERE ~mine_v1($1)",
    ),
    (Sql::Limit, "SELECT ~limit_v1($1, $2, $3, $4, $5, $6, $7)"),
    (
        Sql::Next,
        "SELECT x.*, (SELECT COALESCE(max(t.age), 0) FROM ~totals t WHERE t.generation = 0) FROM ~next_v1(\
         (SELECT n.generation FROM ~namespaces n WHERE n.name = $2), $3, $4) x WHERE (SELECT ~mine_v1($1))",
    ),
    (
        Sql::Evict,
        "SELECT * FROM ~evict_v1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)",
    ),
    (
        Sql::Unranked,
        "SELECT e.version, e.key, e.accessed_at, e.hits, e.expires_at, e.blob_id IS NULL, e.record, n.name, \
         e.generation, e.hash, (SELECT COALESCE(max(t.age), 0) FROM ~totals t WHERE t.generation = 0) \
         FROM ~entries e LEFT JOIN ~namespaces n ON n.generation = e.generation WHERE e.rank_epoch < $2 \
         AND (SELECT ~mine_v1($1)) \
         ORDER BY e.rank_epoch LIMIT $3",
    ),
    (Sql::Rank, "SELECT ~rank_v1($1, $2, $3, $4, $5, $6, $7, $8)"),
    (Sql::Reclaim, "SELECT CASE WHEN ~mine_v1($1) THEN ~reclaim_v1($2) END"),
    (Sql::Purge, "SELECT * FROM ~purge_v1($1, $2, $3, $4, $5)"),
    (
        Sql::DueGarbage,
        "SELECT blob_id FROM ~garbage WHERE not_before <= $2 AND (SELECT ~mine_v1($1)) ORDER BY not_before LIMIT $3",
    ),
    (Sql::Forget, "SELECT ~forget_v1($1, $2, $3)"),
    (Sql::List, "SELECT * FROM ~list_v1($2, $3, $4, $5, $6, $7, $8, $9) WHERE (SELECT ~mine_v1($1))"),
    (Sql::Namespaces, "SELECT name FROM ~namespaces WHERE (SELECT ~mine_v1($1)) ORDER BY name"),
    (Sql::Clear, "SELECT ~clear_v1($1, $2, $3, $4, $5)"),
    (Sql::Reset, "SELECT ~reset_v1($1, $2, $3)"),
    (Sql::Acquire, "SELECT ~acquire_v1($1, $2, $3, $4, $5, $6, $7)"),
    (Sql::Renew, "SELECT ~renew_v1($1, $2, $3, $4, $5)"),
    (Sql::Release, "SELECT ~release_v1($1, $2, $3, $4)"),
    (Sql::Poll, "SELECT * FROM ~poll_v1($1, $2, $3, $4, $5)"),
    (Sql::Notify, "SELECT pg_notify($1, '')"),
    (
        Sql::Unnamed,
        "SELECT b.id FROM unnest($2::bytea[]) b(id) WHERE (SELECT ~mine_v1($1)) \
         AND NOT EXISTS (SELECT FROM ~entries e WHERE e.blob_id = b.id) \
         AND NOT EXISTS (SELECT FROM ~garbage g WHERE g.blob_id = b.id)",
    ),
    (Sql::Condemn, "SELECT ~condemn_v1($1, $2, $3, $4)"),
];

impl Sql {
    /// True where the number of the cache's locks goes along.
    pub(super) fn concerns_a_cache(self) -> bool {
        !matches!(self, Self::Ping | Self::Clock | Self::Notify)
    }

    /// True where the server is told until when it may be made.
    pub(super) fn has_a_deadline(self) -> bool {
        matches!(
            self,
            Self::Apply
                | Self::Limit
                | Self::Clear
                | Self::Reset
                | Self::Acquire
                | Self::Renew
                | Self::Release
        )
    }

    /// True where making the statement twice is as good as once.
    pub(super) fn may_be_repeated(self) -> bool {
        matches!(
            self,
            Self::Ping
                | Self::Clock
                | Self::Get
                | Self::Stats
                | Self::StatsOfAll
                | Self::Rules
                | Self::LimitsOf
                | Self::Next
                | Self::Unranked
                | Self::Rank
                | Self::Reclaim
                | Self::DueGarbage
                | Self::Forget
                | Self::List
                | Self::Namespaces
                | Self::Poll
                | Self::Notify
                | Self::Unnamed
                | Self::Condemn
        )
    }
}

/// The texts of all statements, in the order of the enum.
pub(super) fn texts(names: &Names) -> Vec<String> {
    STATEMENTS.iter().map(|(_, text)| names.fill_in(text)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_statements_stand_in_the_order_of_the_enum() {
        for (at, (sql, _)) in STATEMENTS.iter().enumerate() {
            assert_eq!(*sql as usize, at, "{sql:?}");
        }
    }
}
