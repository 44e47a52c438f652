//! Saving what is left of a damaged index: the file is put aside, read around its damaged pages, and a new one is made.

mod first_page;
mod source;
mod wal;
mod walk;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use cacheness_core::{
    CacheId, ConfigOptions, Env, Error, ErrorKind, MetadataBackend, OpenContext, OpenMode, Result, Salvage,
    SalvageIndex, SalvagedIndex, SalvagedRow,
};

use super::backend::SqliteMetadata;
use super::config::{Settings, SqliteMetadataFactory};
use super::failure::Failure;
use super::store::Store;
use super::{open, schema};
use crate::aside::{Aside, beside, remove};
use crate::users::{self, Users};
use source::Source;
use walk::Walk;

/// What stands beside an SQLite database and belongs to it. The last one is made anew by whoever reads the others.
const FILES: [&str; 2] = ["", "-wal"];

#[async_trait]
impl SalvageIndex for SqliteMetadataFactory {
    async fn begin(&self, options: &ConfigOptions, context: &OpenContext) -> Result<Box<dyn Salvage>> {
        let path = context.path("sqlite", options.path("path"), "index.sqlite")?;
        let (settings, context) = (Settings::new(options), context.clone());
        let env = context.env.clone();
        let begun = env.unblock(move || SqliteSalvage::begin(path, settings, context)).await?;
        Ok(Box::new(begun))
    }
}

/// An index that is being rebuilt.
struct SqliteSalvage {
    found: SalvagedIndex,
    aside: Aside,
    settings: Arc<Settings>,
    context: OpenContext,
    /// `None` while it is being read on another thread.
    reading: Option<(Source, Walk)>,
    // Let go of when the new index has its name, and not before a step is over whose caller has given up.
    alone: Arc<Alone>,
}

/// What keeps everybody else away from the index.
struct Alone {
    _lock: Option<fs_err::File>,
    _users: Users,
}

impl SqliteSalvage {
    fn begin(path: PathBuf, settings: Settings, context: OpenContext) -> Result<Self> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        if let Some(folder) = folder
            && !folder.is_dir()
        {
            let message = "there is no index here that could be rebuilt";
            return Err(Error::new(ErrorKind::NotFound, message).with_context("path", path.to_string_lossy()));
        }
        // What is missing of the files beside the index is made.
        let context = context.with_mode(OpenMode::Create);
        if let Some(folder) = folder {
            context.prepare_folder(folder)?;
        }
        let lock = open::lock(&path.with_extension("lock"), &context)?;
        let users = users::keep_out(&path, &context)?;
        refuse_newer(&path)?;
        let aside = Aside::begin(&path, &FILES, context.permissions)?;
        remove([beside(&path, "-shm")])?;
        let mut source = Source::open(&aside.kept, context.permissions)?;
        let mut found = source.found();
        found.kept = aside.kept.clone();
        Ok(Self {
            found,
            aside,
            settings: Arc::new(settings),
            context,
            reading: Some((source, Walk::default())),
            alone: Arc::new(Alone { _lock: lock, _users: users }),
        })
    }

    fn env(&self) -> Env {
        self.context.env.clone()
    }

    fn take(&mut self) -> Result<(Source, Walk)> {
        self.reading
            .take()
            .ok_or_else(|| Error::new(ErrorKind::Unexpected, "the damaged index is no longer read"))
    }
}

#[async_trait]
impl Salvage for SqliteSalvage {
    fn found(&self) -> &SalvagedIndex {
        &self.found
    }

    async fn create(&mut self, cache: CacheId) -> Result<Arc<dyn MetadataBackend>> {
        let (mut source, walk) = self.take()?;
        let (new, settings, context) = (self.aside.new.clone(), self.settings.clone(), self.context.clone());
        let (env, alone) = (self.env(), self.alone.clone());
        let made = env.unblock(move || {
            let store = create(&mut source, new, &settings, &context, cache)?;
            // Last, so that the store is closed by then where nobody takes it.
            Ok((source, store, alone))
        });
        let (source, store, _) = made.await?;
        self.reading = Some((source, walk));
        Ok(Arc::new(SqliteMetadata::new(store)))
    }

    async fn rows(&mut self) -> Result<Vec<SalvagedRow>> {
        let (mut source, mut walk) = self.take()?;
        let env = self.env();
        let read = env.unblock(move || {
            let mut rows = Vec::new();
            while rows.is_empty() {
                rows = walk.next(&mut source);
                if rows.is_empty() {
                    break;
                }
                if source.is_outdated {
                    rows = rows.into_iter().filter_map(doubted).collect();
                }
            }
            Ok((source, walk, rows))
        });
        let (source, walk, rows) = read.await?;
        self.reading = Some((source, walk));
        Ok(rows)
    }

    async fn finish(mut self: Box<Self>) -> Result<()> {
        let env = self.env();
        env.unblock(move || {
            drop(self.reading.take());
            // What reading it made.
            remove([beside(&self.aside.kept, "-shm")])?;
            open::settle(&self.aside.new).map_err(|failure| failure.at(Some(&self.aside.new)))?;
            self.aside.finish(&["-wal", "-shm"])
        })
        .await
    }
}

/// What a row says that may have been removed or replaced since. A blob by itself is found among the others.
fn doubted(row: SalvagedRow) -> Option<SalvagedRow> {
    match row {
        SalvagedRow::Entry(entry) => Some(SalvagedRow::Unconfirmed(entry)),
        SalvagedRow::Blob { .. } => None,
        row => Some(row),
    }
}

/// Makes the new index, which knows the garbage of the old one and goes on counting where that ended.
fn create(
    source: &mut Source,
    path: PathBuf,
    settings: &Settings,
    context: &OpenContext,
    cache: CacheId,
) -> Result<Store> {
    remove(["", "-wal", "-shm"].map(|suffix| beside(&path, suffix)))?;
    let told = |failure: Failure| failure.at(Some(&path));
    open::create_file(&path, context.permissions)?;
    let connection = open::connect(&path, settings, context).map_err(told)?;
    schema::create(&connection, cache).map_err(told)?;
    open::use_log(&connection).map_err(told)?;
    let copied = (|| {
        connection.execute_batch("BEGIN IMMEDIATE")?;
        let mut bytes = 0_i64;
        {
            let mut insert = connection
                .prepare("INSERT OR IGNORE INTO garbage (not_before, blob_id, size) VALUES (?1, ?2, ?3)")?;
            for (not_before, blob, size) in source.garbage() {
                if insert.execute((not_before, &blob.as_bytes()[..], size))? > 0 {
                    bytes = bytes.saturating_add(size);
                }
            }
        }
        let (sequence, generation) = source.highest();
        let totals = "UPDATE totals SET sequence = ?1, blob_bytes = ?2 WHERE generation = 0";
        connection.execute(totals, (sequence, bytes))?;
        connection.execute("UPDATE state SET generation = ?1", (generation,))?;
        connection.execute_batch("COMMIT")?;
        Ok(())
    })();
    copied.map_err(told)?;
    drop(connection);
    open::store(&path, settings, context, None, None)
}

/// An error where a newer version wrote the index, as far as its first page tells: nothing of it would be understood, and its blobs would be
/// taken for orphans. SQLite keeps both numbers in the first 100 bytes, the highest byte first (<https://sqlite.org/fileformat2.html>).
fn refuse_newer(index: &Path) -> Result<()> {
    let mut head = [0; 100];
    let read = fs_err::File::open(index).and_then(|mut file| std::io::Read::read_exact(&mut file, &mut head));
    if read.is_err() || !head.starts_with(b"SQLite format 3\0") {
        return Ok(());
    }
    let number =
        |at: usize| i64::from(u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]));
    let (format, application) = (number(60), number(68));
    // A damaged number is not taken for one to come.
    if application != schema::APPLICATION_ID || !(schema::FORMAT + 1..=schema::FORMAT + 100).contains(&format)
    {
        return Ok(());
    }
    let message = format!(
        "the index has format {format}, and this version of Cacheness knows formats up to {}; rebuild it by the version that \
         wrote it",
        schema::FORMAT
    );
    Err(Error::new(ErrorKind::Unsupported, message).with_context("path", index.to_string_lossy()))
}
