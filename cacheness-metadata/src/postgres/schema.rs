//! The names of tables and functions, and how they come into being: all of them in one transaction, under a lock, so that
//! many processes may open a cache at once.

use std::time::Duration;

use cacheness_core::{CacheId, Error, ErrorKind, OpenMode, Result};
use tokio_postgres::Client;

use super::failure::Failure;

/// The format of the tables that this version makes and reads, kept in the row of `state`.
const FORMAT: i32 = 1;

/// The oldest server that has all that is used here, as `server_version_num` says it.
const OLDEST_SERVER: i32 = 130_000;

const TABLES: &str = include_str!("sql/tables.sql");

/// Which text the functions have. It rises with every change of it, and a database that has an older one gets this one. One
/// that a newer release brought stays.
const TEXT: i32 = 2;

/// The functions. Their names end with a version, so that two releases can share a database: a function that takes or gives
/// something else than the one that was released gets another name.
const FUNCTIONS: [&str; 4] = [
    include_str!("sql/victims.sql"),
    include_str!("sql/apply.sql"),
    include_str!("sql/others.sql"),
    include_str!("sql/shared.sql"),
];

/// One function of the set that this version uses; they are made together.
const LAST_FUNCTION: &str = "poll_v1";

/// A schema, and what the names in it begin with. Both have letters, digits, `_` and `-` only.
#[derive(Clone, Debug)]
pub(super) struct Names {
    schema: String,
    prefix: String,
}

impl Names {
    pub(super) fn new(schema: String, prefix: String) -> Self {
        Self { schema, prefix }
    }

    /// Puts names into SQL: `~name` becomes one in the schema, `~~name` one that goes without the schema's.
    pub(super) fn fill_in(&self, sql: &str) -> String {
        let Self { schema, prefix } = self;
        let mut filled = String::with_capacity(sql.len() * 2);
        let mut parts = sql.split('~');
        filled.push_str(parts.next().unwrap_or_default());
        let mut alone = false;
        for part in parts {
            if part.is_empty() {
                alone = true;
                continue;
            }
            let end = part.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(part.len());
            let (name, rest) = part.split_at(end);
            if !alone {
                filled.push_str(&format!("\"{schema}\"."));
            }
            filled.push_str(&format!("\"{prefix}{name}\"{rest}"));
            alone = false;
        }
        filled
    }

    /// The number of the lock under which tables are made: that of the schema, which may have to be made first and is the
    /// same for all prefixes.
    fn lock(&self) -> i64 {
        let hash = blake3::hash(format!("cacheness {}", self.schema).as_bytes());
        i64::from_le_bytes(std::array::from_fn(|at| hash.as_bytes()[at]))
    }
}

/// The cache that a schema holds, and the number of its locks.
#[derive(Clone, Copy)]
pub(super) struct Found {
    pub(super) cache: CacheId,
    pub(super) lock: i32,
}

/// Finds the tables and functions, or makes those that are missing where that is allowed.
pub(super) async fn prepare(
    client: &Client,
    names: &Names,
    mode: OpenMode,
    limit: Duration,
) -> Result<Found, Failure> {
    let version = client.query_one("SELECT current_setting('server_version_num')::integer", &[]).await?;
    let version: i32 = version.try_get(0)?;
    if version < OLDEST_SERVER {
        let message =
            format!("the server is PostgreSQL {}; this backend needs 13 or later", version / 10_000);
        return Err(Error::new(ErrorKind::Unsupported, message).into());
    }
    if let Some((found, true)) = look(client, names).await? {
        return Ok(found);
    }
    // Whoever comes second waits here, and then finds everything.
    let begin = format!(
        "BEGIN; SET LOCAL statement_timeout = {}; SELECT pg_advisory_xact_lock({})",
        limit.as_millis(),
        names.lock()
    );
    client.batch_execute(&begin).await?;
    let made = make(client, names, mode).await;
    let ended = client.batch_execute(if made.is_ok() { "COMMIT" } else { "ROLLBACK" }).await;
    let found = made?;
    ended?;
    Ok(found)
}

/// What there is, and whether the functions of this version are.
async fn look(client: &Client, names: &Names) -> Result<Option<(Found, bool)>, Failure> {
    let there = "SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                 WHERE n.nspname = $1 AND c.relname = $2), EXISTS (SELECT FROM pg_proc p JOIN pg_namespace n \
                 ON n.oid = p.pronamespace WHERE n.nspname = $1 AND p.proname = $3)";
    let state = format!("{}state", names.prefix);
    let function = format!("{}{LAST_FUNCTION}", names.prefix);
    let row = client.query_one(there, &[&names.schema, &state, &function]).await?;
    let (tables, functions): (bool, bool) = (row.try_get(0)?, row.try_get(1)?);
    if !tables {
        return Ok(None);
    }
    let row =
        client.query_opt(&names.fill_in("SELECT format, cache_id, lock, functions FROM ~state"), &[]).await?;
    let damaged =
        |what: &str| Error::new(ErrorKind::Corrupted, format!("the cache's tables are damaged: {what}"));
    let Some(row) = row else { return Err(damaged("the table `state` is empty").into()) };
    let format: i32 = row.try_get(0)?;
    if format > FORMAT {
        let message = format!(
            "the tables have format {format}, and this version of Cacheness knows formats up to {FORMAT}; use a newer \
             version, or another `schema` or `table_prefix`"
        );
        return Err(Error::new(ErrorKind::Unsupported, message).into());
    }
    if format < 1 {
        return Err(damaged(&format!("they say that they have format {format}")).into());
    }
    let cache =
        CacheId::from_slice(row.try_get(1)?).ok_or_else(|| damaged("the cache's id has not 16 bytes"))?;
    let functions = functions && row.try_get::<_, i32>(3)? >= TEXT;
    Ok(Some((Found { cache, lock: row.try_get(2)? }, functions)))
}

async fn make(client: &Client, names: &Names, mode: OpenMode) -> Result<Found, Failure> {
    let found = look(client, names).await?;
    if let Some((found, true)) = found {
        return Ok(found);
    }
    if found.is_none() {
        if mode == OpenMode::Existing {
            let message = "there is no cache in this schema under this prefix, and nothing may be created";
            let error = Error::new(ErrorKind::NotFound, message).with_context("schema", &*names.schema);
            return Err(error.with_context("table_prefix", &*names.prefix).into());
        }
        let schema = "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)";
        let there: bool = client.query_one(schema, &[&names.schema]).await?.try_get(0)?;
        if !there {
            client.batch_execute(&format!("CREATE SCHEMA \"{}\"", names.schema)).await?;
        }
        client.batch_execute(&names.fill_in(TABLES)).await?;
        let id = CacheId::random();
        let lock = i32::from_le_bytes(std::array::from_fn(|at| id.as_bytes()[at]));
        let insert = names.fill_in("INSERT INTO ~state (format, cache_id, lock) VALUES ($1, $2, $3)");
        client.execute(&insert, &[&FORMAT, &&id.as_bytes()[..], &lock]).await?;
    }
    for functions in FUNCTIONS {
        client.batch_execute(&names.fill_in(functions)).await?;
    }
    client.execute(&names.fill_in("UPDATE ~state SET functions = $1"), &[&TEXT]).await?;
    match look(client, names).await? {
        Some((found, true)) => Ok(found),
        _ => {
            let message = "the tables were made and are not found; is the schema another one for this user?";
            Err(Error::new(ErrorKind::Unexpected, message).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_filled_in_with_schema_and_prefix() {
        let names = Names::new("my-s".into(), "p_".into());
        assert_eq!(
            names.fill_in("CREATE INDEX ~~by_key ON ~entries (key); ~f_v1('~versions')"),
            "CREATE INDEX \"p_by_key\" ON \"my-s\".\"p_entries\" (key); \"my-s\".\"p_f_v1\"('\"my-s\".\"p_versions\"')"
        );
    }

    /// What this text is known by. Whoever changes a function sets it anew and raises `TEXT`, so that databases get the
    /// change; and where a function that was released takes or gives something else then, it needs another name.
    const HASH: &str = "e362cfe631de4d55";

    #[test]
    fn functions_that_are_changed_have_another_number() {
        let hash = blake3::hash(FUNCTIONS.concat().as_bytes()).to_hex();
        assert_eq!((&hash.as_str()[..16], TEXT), (HASH, 2), "raise `TEXT`, and see what `HASH` says");
    }

    #[test]
    fn no_name_is_longer_than_the_server_takes() {
        let names = Names::new(String::new(), "p".repeat(30));
        for sql in FUNCTIONS.into_iter().chain([TABLES]) {
            let filled = names.fill_in(sql);
            for name in filled.split('"').skip(1).step_by(2) {
                assert!(name.len() <= 63, "{name}");
            }
        }
    }
}
