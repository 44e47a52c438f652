//! Every statement that is run more than once. What varies is always a parameter, never text.

macro_rules! statements {
    ($($name:ident: $text:expr;)*) => {
        /// A statement; each connection prepares it when it is first needed.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(super) enum Sql { $($name,)* }

        impl Sql {
            pub(super) const ALL: &[Self] = &[$(Self::$name,)*];

            /// How many there are.
            pub(super) const COUNT: usize = Self::ALL.len();

            pub(super) fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

/// What `reader::entry_of` reads.
macro_rules! stored {
    () => {
        "e.version, e.key, e.accessed_at, e.hits, e.expires_at, e.place, e.record"
    };
}

/// What `EntryRow` reads.
macro_rules! row {
    () => {
        "e.id, e.stored_size, e.blob_id, e.place, e.accessed_at, e.hits, e.rank, e.priority, e.version, e.expires_at, e.record"
    };
}

/// What `eviction::Candidate` reads.
macro_rules! candidate {
    ($from:literal) => {
        concat!(
            "SELECT ",
            row!(),
            ", e.key, n.name FROM ",
            $from,
            " LEFT JOIN namespaces n ON n.generation = e.generation"
        )
    };
}

macro_rules! counters {
    () => {
        "hits, misses, puts, removals, evictions, expirations, errors, bytes_out, bytes_in"
    };
}

statements! {
    Begin: "BEGIN IMMEDIATE";
    Commit: "COMMIT";
    Rollback: "ROLLBACK";

    DataVersion: "PRAGMA data_version";

    Head: "SELECT s.generation, t.entries, t.bytes, t.blob_bytes, t.sequence, t.age, s.ranked_to, s.cleared, \
           s.policy, s.max_entries, s.max_bytes, s.limited FROM totals t CROSS JOIN state s WHERE t.generation = 0";
    SaveTotals: "INSERT OR REPLACE INTO totals (generation, entries, bytes, blob_bytes, sequence, age) \
                 VALUES (0, ?1, ?2, ?3, ?4, ?5)";
    SaveState: "UPDATE state SET generation = ?1, ranked_to = ?2, cleared = ?3";
    SaveLimits: "UPDATE state SET policy = ?1, max_entries = ?2, max_bytes = ?3, limited = ?4";

    Namespace: "SELECT n.generation, t.entries, t.bytes, t.blob_bytes, t.ages, n.max_entries, n.max_bytes FROM namespaces n \
                LEFT JOIN totals t ON t.generation = n.generation WHERE n.name = ?1";
    InsertNamespace: "INSERT INTO namespaces (name, generation) VALUES (?1, ?2)";
    SaveNamespace: "INSERT OR REPLACE INTO totals (generation, entries, bytes, blob_bytes, ages) \
                    VALUES (?1, ?2, ?3, ?4, ?5)";
    SaveBothTotals: "INSERT OR REPLACE INTO totals (generation, entries, bytes, blob_bytes, sequence, age, ages) \
                     VALUES (0, ?1, ?2, ?3, ?4, ?5, NULL), (?6, ?7, ?8, ?9, NULL, NULL, ?10)";
    ForgetTotals: "DELETE FROM totals WHERE generation = ?1";
    SetGeneration: "UPDATE namespaces SET generation = ?2 WHERE name = ?1";
    LimitNamespace: "UPDATE namespaces SET max_entries = ?2, max_bytes = ?3 WHERE name = ?1";
    CountLimited: "SELECT count(*) FROM namespaces WHERE max_entries IS NOT NULL OR max_bytes IS NOT NULL";
    DeleteNamespace: "DELETE FROM namespaces WHERE name = ?1";
    GenerationInUse: "SELECT EXISTS (SELECT 1 FROM namespaces WHERE generation = ?1) \
                      OR EXISTS (SELECT 1 FROM cleared WHERE generation = ?1)";
    NextNamespace: "SELECT name FROM namespaces WHERE name > ?1 ORDER BY name LIMIT 1";
    NamespaceNames: "SELECT name FROM namespaces ORDER BY name";

    Counters: concat!("SELECT ", counters!(), " FROM namespaces WHERE name = ?1");
    SetCounters: "UPDATE namespaces SET hits = ?2, misses = ?3, puts = ?4, removals = ?5, evictions = ?6, \
                  expirations = ?7, errors = ?8, bytes_out = ?9, bytes_in = ?10 WHERE name = ?1";
    CountVictims: "UPDATE namespaces SET evictions = evictions + ?2, expirations = expirations + ?3 WHERE name = ?1";
    ResetAllCounters: "UPDATE namespaces SET hits = 0, misses = 0, puts = 0, removals = 0, evictions = 0, \
                       expirations = 0, errors = 0, bytes_out = 0, bytes_in = 0";
    Stats: concat!(
        "SELECT t.entries, t.bytes, t.ages, ", counters!(), " FROM namespaces n \
         LEFT JOIN totals t ON t.generation = n.generation WHERE n.name = ?1"
    );
    AllCounters: concat!("SELECT ", counters!(), " FROM namespaces");
    Totals: "SELECT entries, bytes, blob_bytes FROM totals WHERE generation = 0";
    AllAges: "SELECT ages FROM totals WHERE generation > 0";

    Get: concat!(
        "SELECT ", stored!(), ", e.inline FROM namespaces n CROSS JOIN entries e \
         ON e.generation = n.generation AND e.key = ?2 WHERE n.name = ?1"
    );
    InlineValue: "SELECT bytes FROM inline_values WHERE version = ?1";
    List: concat!(
        "SELECT ", stored!(), " FROM namespaces n CROSS JOIN entries e \
         ON e.generation = n.generation AND e.key >= ?2 WHERE n.name = ?1 ORDER BY e.key LIMIT ?3"
    );
    ListAfter: concat!(
        "SELECT ", stored!(), " FROM namespaces n CROSS JOIN entries e \
         ON e.generation = n.generation AND e.key > ?2 WHERE n.name = ?1 ORDER BY e.key LIMIT ?3"
    );

    Find: concat!("SELECT ", row!(), " FROM entries e WHERE e.generation = ?1 AND e.key = ?2");
    InsertEntry: "INSERT INTO entries (id, version, accessed_at, hits, stored_size, priority, rank, place, blob_id, \
                  record, inline, expires_at, generation, key) \
                  VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";
    ReplaceEntry: "UPDATE entries SET version = ?2, accessed_at = ?3, hits = ?4, stored_size = ?5, priority = ?6, \
                   rank = ?7, place = ?8, blob_id = ?9, record = ?10, inline = ?11 WHERE id = ?1";
    DeleteEntry: "DELETE FROM entries WHERE id = ?1";
    InsertInline: "INSERT OR REPLACE INTO inline_values (version, bytes) VALUES (?1, ?2)";
    DeleteInline: "DELETE FROM inline_values WHERE version = ?1";
    Use: "UPDATE entries SET accessed_at = ?2, hits = ?3, rank = ?4 WHERE id = ?1";
    SetRank: "UPDATE entries SET rank = ?2 WHERE id = ?1";
    Expire: "UPDATE entries SET expires_at = ?2 WHERE id = ?1";

    InsertRank: "INSERT OR IGNORE INTO ranks (list, priority, rank, id) VALUES (?1, ?2, ?3, ?4)";
    MoveRank: "UPDATE OR IGNORE ranks SET priority = ?5, rank = ?6 \
               WHERE list = ?1 AND priority = ?2 AND rank = ?3 AND id = ?4";
    DeleteRank: "DELETE FROM ranks WHERE list = ?1 AND priority = ?2 AND rank = ?3 AND id = ?4";

    Expired: concat!(
        candidate!("entries e"), " WHERE e.expires_at IS NOT NULL AND e.expires_at <= ?1 \
         AND e.version < ?3 ORDER BY e.expires_at LIMIT ?2"
    );
    ExpiredIn: concat!(
        candidate!("ranks r CROSS JOIN entries e ON e.id = r.id"),
        " WHERE r.list = ?4 AND r.priority = 0 AND r.rank <= ?1 AND e.version < ?3 ORDER BY r.rank, r.id LIMIT ?2"
    );
    Lowest: concat!(
        candidate!("ranks r CROSS JOIN entries e ON e.id = r.id"),
        " WHERE r.list = ?1 AND e.version < ?3 ORDER BY r.priority, r.rank, r.id LIMIT ?2"
    );
    AnyExpired: "SELECT EXISTS (SELECT 1 FROM entries WHERE expires_at IS NOT NULL AND expires_at <= ?1)";
    Unranked: concat!(
        "SELECT ", stored!(), ", n.name, e.rank, e.priority, e.id FROM entries e \
         LEFT JOIN namespaces n ON n.generation = e.generation \
         WHERE e.id >= ?1 ORDER BY e.id LIMIT ?2"
    );

    InsertGarbage: "INSERT OR IGNORE INTO garbage (not_before, blob_id, size) VALUES (?1, ?2, ?3)";
    DueGarbage: "SELECT blob_id FROM garbage WHERE not_before <= ?1 ORDER BY not_before, blob_id LIMIT ?2";
    BlobsOfEntries: "SELECT id, blob_id, record FROM entries WHERE id > ?1 ORDER BY id LIMIT ?2";
    BlobsOfGarbage: "SELECT blob_id FROM garbage";
    IsCondemned: "SELECT 1 FROM condemned WHERE blob_id = ?1";
    Condemn: "INSERT OR REPLACE INTO condemned (blob_id, until) VALUES (?1, ?2)";
    ForgetCondemned: "DELETE FROM condemned WHERE until <= ?1";
    FindGarbage: "SELECT not_before, size FROM garbage WHERE blob_id = ?1 AND not_before <= ?2 LIMIT 1";
    DeleteGarbage: "DELETE FROM garbage WHERE not_before = ?1 AND blob_id = ?2";

    InsertCleared: "INSERT OR REPLACE INTO cleared (generation, cleared_at) VALUES (?1, ?2)";
    FirstCleared: "SELECT generation, cleared_at FROM cleared ORDER BY generation LIMIT 1";
    ClearedAt: "SELECT cleared_at FROM cleared WHERE generation = ?1";
    DeleteCleared: "DELETE FROM cleared WHERE generation = ?1";
    OfGeneration: concat!(
        "SELECT ", row!(), " FROM entries e WHERE e.id >= ?1 << 42 AND e.id < (?1 + 1) << 42 ORDER BY e.id LIMIT ?2"
    );

    Checkpoint: "PRAGMA wal_checkpoint(PASSIVE)";
}
