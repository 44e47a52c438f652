//! Saving what is left of damaged files: rows of the snapshot one by one, and the writes of the journal that are whole.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use cacheness_core::{
    CacheId, ConfigOptions, Env, Error, ErrorKind, MetadataBackend, OpenContext, OpenMode, Result, Salvage,
    SalvageIndex, SalvagedIndex, SalvagedRow,
};

use super::config::{FILE, JsonMetadataFactory, NAME};
use super::files::Files;
use super::journal;
use super::snapshot::{self, Identity, Rows};
use crate::aside::{Aside, beside, remove};
use crate::kv::KvStore;
use crate::kv::salvage::{Saved, SavedRows, read};
use crate::memory::MemoryStore;
use crate::users::{self, Users};

/// The snapshot and its journal.
const FILES: [&str; 2] = ["", ".journal"];

#[async_trait]
impl SalvageIndex for JsonMetadataFactory {
    async fn begin(&self, options: &ConfigOptions, context: &OpenContext) -> Result<Box<dyn Salvage>> {
        let path = context.path(NAME, options.path("path"), FILE)?;
        let (context, env) = (context.clone(), context.env.clone());
        Ok(Box::new(env.unblock(move || JsonSalvage::begin(path, context)).await?))
    }
}

/// An index that is being rebuilt. All of it is in memory, as that of an open one is.
struct JsonSalvage {
    saved: Saved,
    aside: Aside,
    context: OpenContext,
    store: Arc<MemoryStore>,
    // Let go of when the new index has its name.
    _users: Users,
}

impl JsonSalvage {
    fn begin(path: PathBuf, context: OpenContext) -> Result<Self> {
        let path = fs_err::canonicalize(&path).or_else(|_| std::path::absolute(&path)).unwrap_or(path);
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        if let Some(folder) = folder
            && !folder.is_dir()
        {
            let message = "there is no index here that could be rebuilt";
            return Err(Error::new(ErrorKind::NotFound, message).with_context("path", path.to_string_lossy()));
        }
        let context = context.with_mode(OpenMode::Create);
        if let Some(folder) = folder {
            context.prepare_folder(folder)?;
        }
        let users = users::keep_out(&path, &context)?;
        // Nothing of what a newer version wrote would be understood.
        if let Ok(json) = fs_err::read(&path)
            && let Err(error) = snapshot::parse(&path, &json)
            && error.kind() == ErrorKind::Unsupported
        {
            return Err(error);
        }
        let aside = Aside::begin(&path, &FILES, context.permissions)?;
        let mut saved = read(&rows_of(&aside.kept)?);
        saved.found.kept = aside.kept.clone();
        Ok(Self { saved, aside, context, store: Arc::default(), _users: users })
    }

    fn env(&self) -> Env {
        self.context.env.clone()
    }
}

#[async_trait]
impl Salvage for JsonSalvage {
    fn found(&self) -> &SalvagedIndex {
        &self.saved.found
    }

    async fn create(&mut self, cache: CacheId) -> Result<Arc<dyn MetadataBackend>> {
        self.saved.open_new(self.store.clone(), cache, &self.context).await
    }

    async fn rows(&mut self) -> Result<Vec<SalvagedRow>> {
        Ok(std::mem::take(&mut self.saved.entries))
    }

    async fn finish(self: Box<Self>) -> Result<()> {
        let everything = Bytes::new()..Bytes::from_static(&[u8::MAX]);
        let rows: Rows = self.store.scan(everything, usize::MAX).await?.into_iter().collect();
        self.env()
            .unblock(move || {
                let (aside, permissions) = (&self.aside, self.context.permissions);
                let identity = Identity { id: CacheId::random().to_string(), generation: 1 };
                // What a process left that died while it replaced a file belongs to the old index.
                remove(["", ".journal", ".journal.new"].map(|suffix| beside(&aside.new, suffix)))?;
                Files::new(aside.new.clone(), permissions).write_snapshot(&identity, &rows)?;
                aside.finish(&[".journal"])
            })
            .await
    }
}

/// Reads all rows that can be read of a snapshot and its journal.
fn rows_of(index: &Path) -> Result<SavedRows> {
    let read = |path: PathBuf| match fs_err::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(error, "the damaged index cannot be read")),
    };
    let json = read(index.to_owned())?.unwrap_or_default();
    let (whole, identity, mut rows) = match snapshot::parse(index, &json) {
        Ok(snapshot) => (true, Some(snapshot.identity), confirmed(snapshot.rows)),
        Err(_) => (false, snapshot::first_line_of(&json), confirmed(snapshot::lines_of(&json))),
    };
    let is_first = identity.as_ref().is_some_and(|identity| identity.generation == 1);
    match read(beside(index, ".journal"))? {
        Some(journal) => apply(&mut rows, (identity.as_ref(), whole), &journal, index),
        // From the second on, no crash leaves a snapshot without a journal.
        None if is_first => {}
        None => doubt(&mut rows),
    }
    Ok(rows)
}

fn confirmed(rows: Rows) -> SavedRows {
    rows.into_iter().map(|(key, value)| (key, (value, true))).collect()
}

/// Takes note that writes are lost that may have changed any of the rows.
fn doubt(rows: &mut SavedRows) {
    rows.values_mut().for_each(|(_, confirmed)| *confirmed = false);
}

/// Makes the writes of a journal that can be read.
fn apply(rows: &mut SavedRows, (snapshot, whole): (Option<&Identity>, bool), journal: &[u8], index: &Path) {
    let header = journal::parse_first_line(index, journal).ok().map(|(identity, _)| identity);
    if let (Some(snapshot), Some(header)) = (snapshot, &header)
        && whole
        && snapshot.id == header.id
        && snapshot.generation > header.generation
    {
        // All of it is in the snapshot.
        return;
    }
    // A write that was interrupted had not returned.
    let written_to = journal.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    let lines: Vec<&[u8]> = journal[..written_to].split_inclusive(|&byte| byte == b'\n').skip(1).collect();
    // The checksum of a write tells to which snapshot it belongs, whatever the first line says.
    let generations = [snapshot, header.as_ref()].into_iter().flatten().map(|identity| identity.generation);
    let written = |generation: u64| lines.iter().filter_map(move |line| journal::write_of(generation, line));
    let generation = generations.clone().find(|&generation| written(generation).next().is_some());
    let belongs = generation.or(header.as_ref().map(|header| header.generation));
    // One that is older than a damaged snapshot says again what that says.
    if belongs.is_none() || snapshot.is_some_and(|snapshot| Some(snapshot.generation) != belongs) {
        doubt(rows);
    }
    let mut next = 1;
    for line in &lines {
        match generation.and_then(|generation| journal::write_of(generation, line)) {
            Some((number, changes)) => {
                if number != next {
                    doubt(rows);
                }
                next = number.saturating_add(1);
                for (key, value) in changes {
                    match value {
                        Some(value) => rows.insert(key, (value, true)),
                        None => rows.remove(&key),
                    };
                }
            }
            None if journal::is_last_line(line) => {}
            None => doubt(rows),
        }
    }
}
