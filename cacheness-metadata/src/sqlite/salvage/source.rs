//! A damaged index that is read: the connection, and what it says about the cache as a whole.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cacheness_core::{
    BlobId, CacheId, Counters, Error, Limits, Namespace, Permissions, Result, SalvagedIndex,
};
use rusqlite::{Connection, OpenFlags, Row};

use super::{first_page, wal, walk};
use crate::aside::{beside, remove};
use crate::sqlite::reader::counters;
use crate::sqlite::schema::{MAX_GENERATION, MAX_VERSION};
use crate::sqlite::transaction::lenient;

/// A damaged index.
pub(super) struct Source {
    pub(super) connection: Connection,
    /// The namespaces that show these generations.
    pub(super) names: BTreeMap<i64, Namespace>,
    /// Names of namespaces of which it is not certain which generation they show.
    pub(super) candidates: BTreeSet<Namespace>,
    /// Generations that were cleared; `None` where not all of them can be read.
    pub(super) cleared: Option<BTreeSet<i64>>,
    head: Head,
    /// The highest version and generation of any entry.
    seen: (i64, i64),
    /// True where writes are lost that were made after what can be read.
    pub(super) is_outdated: bool,
    path: PathBuf,
    /// A copy of the file with another first page, which goes with this.
    copy: Option<PathBuf>,
}

#[derive(Default)]
struct Head {
    sequence: Option<i64>,
    generation: Option<i64>,
    entries: Option<u64>,
    limits: Option<Limits>,
    namespaces: BTreeMap<Namespace, (i64, Limits, Counters)>,
}

impl Source {
    /// Opens the file, and reads what it says about the cache. Where not even the tables can be found, a copy is opened
    /// whose first page says where they are.
    pub(super) fn open(path: &Path, permissions: Permissions) -> Result<Self> {
        let is_outdated = wal::hides_commits(&beside(path, "-wal"))?;
        let copy = first_page::copy_of(path);
        remove(["", "-wal", "-shm"].map(|suffix| beside(&copy, suffix)))?;
        let as_is = connect(path);
        let (connection, copy) = match as_is {
            Some(connection) if first_page::is_whole(&connection) => (connection, None),
            as_is => {
                first_page::replace(path, &copy, permissions)?;
                // Whichever shows more; an index without entries where SQLite reads neither.
                let either = [as_is, connect(&copy)].into_iter().flatten();
                let best = either.max_by_key(walk::Ids::count);
                (best.map_or_else(empty, Ok)?, Some(copy))
            }
        };
        let mut source = Self {
            connection,
            names: BTreeMap::new(),
            candidates: BTreeSet::from([Namespace::default()]),
            cleared: None,
            head: Head::default(),
            seen: (0, 0),
            is_outdated,
            path: path.to_owned(),
            copy,
        };
        source.read_head();
        source.read_names();
        source.seen = source.highest_seen();
        Ok(source)
    }

    /// What it says about the cache as a whole.
    pub(super) fn found(&mut self) -> SalvagedIndex {
        let mut found = SalvagedIndex::default();
        let sql = "SELECT value FROM meta WHERE name = 'cache_id'";
        let id = self
            .connection
            .query_row(sql, (), |row| Ok(row.get_ref(0)?.as_blob().ok().and_then(CacheId::from_slice)));
        found.cache = id.ok().flatten().or_else(|| self.find_id());
        found.entries = self.head.entries;
        found.limits = self.head.limits.clone();
        let namespaces = std::mem::take(&mut self.head.namespaces);
        found.namespaces =
            namespaces.into_iter().map(|(name, (_, limits, counters))| (name, limits, counters)).collect();
        found
    }

    /// The last version and generation that were issued, as far as that can be known.
    pub(super) fn highest(&self) -> (i64, i64) {
        let (version, generation) = self.seen;
        // Where the head is lost or outdated, entries that cannot be read may have had higher versions than those that can.
        let known = self.head.sequence.filter(|_| !self.is_outdated);
        let issued = known.unwrap_or_else(|| version.saturating_add(1 << 20));
        let generation = self.head.generation.unwrap_or(0).max(generation);
        (version.max(issued).min(MAX_VERSION), generation.clamp(0, MAX_GENERATION))
    }

    /// The garbage that can be read.
    pub(super) fn garbage(&mut self) -> Vec<(i64, BlobId, i64)> {
        let read = |row: &Row<'_>| {
            let blob = row.get_ref(1)?.as_blob().ok().and_then(BlobId::from_slice);
            Ok(blob.map(|blob| {
                (row.get_ref(0).map_or(0, lenient), blob, row.get_ref(2).map_or(0, lenient).max(0))
            }))
        };
        let (up, whole) =
            all(&self.connection, "SELECT not_before, blob_id, size FROM garbage ORDER BY not_before", read);
        let mut found: Vec<_> = up.into_iter().flatten().collect();
        if !whole {
            let down = "SELECT not_before, blob_id, size FROM garbage ORDER BY not_before DESC";
            found.extend(all(&self.connection, down, read).0.into_iter().flatten());
        }
        found
    }

    fn read_head(&mut self) {
        let sql = "SELECT entries, sequence FROM totals WHERE generation = 0";
        let totals = self
            .connection
            .query_row(sql, (), |row| Ok((row.get_ref(0)?.as_i64().ok(), row.get_ref(1)?.as_i64().ok())));
        if let Ok((entries, sequence)) = totals {
            self.head.entries = entries.and_then(|entries| u64::try_from(entries).ok());
            self.head.sequence = sequence.filter(|sequence| (0..=MAX_VERSION).contains(sequence));
        }
        let sql = "SELECT generation, policy, max_entries, max_bytes, cleared FROM state";
        let state = self.connection.query_row(sql, (), |row| {
            let policy = row.get_ref(1)?.as_str().ok().map(str::to_owned);
            let limits = policy.map(|policy| limits(row, 2).policy(policy));
            Ok((row.get_ref(0)?.as_i64().ok(), limits, row.get_ref(4)?.as_i64().ok()))
        });
        let mut count = None;
        if let Ok((generation, limits, cleared)) = state {
            self.head.generation = generation.filter(|generation| (0..=MAX_GENERATION).contains(generation));
            self.head.limits = limits;
            count = cleared.and_then(|cleared| usize::try_from(cleared).ok());
        }
        let sql = "SELECT generation FROM cleared";
        let (cleared, whole) = all(&self.connection, sql, |row| row.get::<_, i64>(0));
        self.cleared = (whole && count == Some(cleared.len())).then(|| cleared.into_iter().collect());
    }

    /// Finds out which namespace shows which generation. It stands in the table and in an index of it; where the two differ
    /// it is not known.
    fn read_names(&mut self) {
        let sql = "SELECT hits, misses, puts, removals, evictions, expirations, errors, bytes_out, bytes_in, \
                   name, generation, max_entries, max_bytes FROM namespaces NOT INDEXED";
        let (rows, table_whole) = all(&self.connection, sql, |row| {
            let name = row.get_ref(9)?.as_str().ok().and_then(|name| Namespace::new(name).ok());
            let generation = row.get_ref(10)?.as_i64().ok();
            Ok(name.zip(generation).map(|(name, generation)| {
                (name, (generation, limits(row, 11), counters(row, 0).unwrap_or_default()))
            }))
        });
        let table: BTreeMap<Namespace, (i64, Limits, Counters)> = rows.into_iter().flatten().collect();
        let sql =
            "SELECT name, generation FROM namespaces INDEXED BY namespaces_by_generation ORDER BY generation";
        let (rows, index_whole) = all(&self.connection, sql, |row| {
            let name = row.get_ref(0)?.as_str().ok().and_then(|name| Namespace::new(name).ok());
            Ok(name.zip(row.get_ref(1)?.as_i64().ok()))
        });
        let index: BTreeMap<Namespace, i64> = rows.into_iter().flatten().collect();
        for name in table.keys().chain(index.keys()) {
            self.candidates.insert(name.clone());
            let generation = match (table.get(name).map(|row| row.0), index.get(name).copied()) {
                (Some(one), Some(other)) => Some(one).filter(|_| one == other),
                (Some(one), None) => Some(one).filter(|_| !index_whole),
                (None, other) => other.filter(|_| !table_whole),
            };
            let cleared =
                |generation: &i64| self.cleared.as_ref().is_some_and(|all| all.contains(generation));
            if let Some(generation) = generation.filter(|generation| !cleared(generation)) {
                self.names.insert(generation, name.clone());
            }
        }
        // One that certainly shows a generation shows no other.
        self.candidates.retain(|name| !self.names.values().any(|shown| shown == name));
        self.head.namespaces = table;
    }

    fn highest_seen(&mut self) -> (i64, i64) {
        let mut walk = walk::Ids::default();
        let mut highest = (0, 0);
        while let Some((generation, version)) = walk.next(&self.connection) {
            highest = (version.max(highest.0), generation.max(highest.1));
        }
        highest
    }

    /// Looks for the id in the bytes of the files, where the table that holds it cannot be read: it stands behind its name in
    /// the row, as SQLite writes rows.
    fn find_id(&self) -> Option<CacheId> {
        const ROW: &[u8] = b"\x03\x1d\x2ccache_id";
        [self.path.clone(), beside(&self.path, "-wal")].into_iter().find_map(|path| {
            let mut file = fs_err::File::open(path).ok()?;
            let (mut window, mut part) = (Vec::new(), vec![0; 1 << 20]);
            loop {
                let read = file.read(&mut part).ok().filter(|&read| read > 0)?;
                window.extend_from_slice(&part[..read]);
                let found = window.windows(ROW.len()).position(|bytes| bytes == ROW);
                if let Some(id) = found.and_then(|at| window.get(at + ROW.len()..at + ROW.len() + 16)) {
                    return CacheId::from_slice(id);
                }
                // A row may begin in one part and end in the next.
                window.drain(..window.len().saturating_sub(ROW.len() + 16));
            }
        })
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        if let Some(copy) = &self.copy {
            // One that stays is removed by the next rebuild.
            let _ = remove(["", "-wal", "-shm"].map(|suffix| beside(copy, suffix)));
        }
    }
}

/// Opens a file so that nothing in it is changed.
fn connect(path: &Path) -> Option<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).ok()?;
    connection.busy_timeout(Duration::from_secs(10)).ok()?;
    connection.pragma_update(None, "temp_store", "MEMORY").ok()?;
    connection.pragma_update(None, "trusted_schema", false).ok()?;
    connection.pragma_update(None, "cell_size_check", true).ok()?;
    connection.pragma_update(None, "mmap_size", 0).ok()?;
    connection.query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get::<_, i64>(0)).ok()?;
    Some(connection)
}

fn empty() -> Result<Connection> {
    first_page::fresh(None).map_err(|failure| failure.at(None))
}

/// Reads rows until there are no more, or the next one cannot be read; says which of the two it was.
fn all<T>(
    connection: &Connection,
    sql: &str,
    read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
) -> (Vec<T>, bool) {
    /// More than an index holds of what is read by this; a damaged one must not make it endless.
    const MOST: usize = 16 << 20;
    let mut found = Vec::new();
    let whole = (|| {
        let mut statement = connection.prepare(sql)?;
        let mut rows = statement.query(())?;
        while let Some(row) = rows.next()? {
            if found.len() == MOST {
                return Ok(false);
            }
            found.push(read(row)?);
        }
        Ok::<_, rusqlite::Error>(true)
    })();
    (found, whole.unwrap_or(false))
}

fn limits(row: &Row<'_>, first: usize) -> Limits {
    let number = |index: usize| {
        row.get_ref(index).ok().and_then(|most| most.as_i64().ok()).and_then(|most| u64::try_from(most).ok())
    };
    let mut limits = Limits::unbounded();
    (limits.max_entries, limits.max_bytes) = (number(first), number(first + 1));
    limits
}

/// The error of a file that cannot be copied.
pub(super) fn not_copied(error: std::io::Error) -> Error {
    Error::io(error, "the damaged index cannot be copied")
}
