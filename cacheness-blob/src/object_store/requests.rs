//! The requests of a store, by the crate `object_store`.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use cacheness_core::{Error, ErrorKind, Result, StagedFile};
use futures_util::stream::{FuturesUnordered, StreamExt, TryStreamExt, iter};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt};

use crate::remote::{Listed, Objects, PART, part_len, read_part};

/// How many parts of one object are on their way at once.
const PARTS_AT_ONCE: usize = 4;

/// A store, whether its listings come in the order of names, and whether it outlives the process.
pub(super) struct Requests {
    pub(super) store: Box<dyn ObjectStore>,
    pub(super) lists_in_order: bool,
    pub(super) persistent: bool,
}

#[async_trait]
impl Objects for Requests {
    async fn get(&self, path: &str, range: Range<u64>) -> Result<Option<(Bytes, u64)>> {
        let (path, start) = (located(path)?, range.start);
        let options = GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() };
        let failed = match self.store.get_opts(&path, options).await {
            Ok(found) => {
                let len = found.meta.size;
                return Ok(Some((found.bytes().await.map_err(told)?, len)));
            }
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(failed) => failed,
        };
        // Stores refuse a range that begins at the end or after it, each in its own words.
        match self.store.head(&path).await {
            Ok(found) if found.size <= start => Ok(Some((Bytes::new(), found.size))),
            _ => Err(told(failed)),
        }
    }

    async fn head(&self, path: &str) -> Result<bool> {
        match self.store.head(&located(path)?).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(failed) => Err(told(failed)),
        }
    }

    async fn put(&self, path: &str, bytes: Bytes) -> Result<()> {
        self.store.put(&located(path)?, bytes.into()).await.map(|_| ()).map_err(told)
    }

    async fn put_file(&self, path: &str, file: Arc<StagedFile>) -> Result<()> {
        let (path, len) = (located(path)?, file.len());
        if len <= PART {
            let bytes = read_part(file, 0..len).await?;
            return self.store.put(&path, bytes.into()).await.map(|_| ()).map_err(told);
        }
        let mut upload = self.store.put_multipart(&path).await.map_err(told)?;
        let sent = async {
            let mut parts = FuturesUnordered::new();
            let part_len = part_len(len);
            for start in (0..len.div_ceil(part_len)).map(|index| index * part_len) {
                if parts.len() >= PARTS_AT_ONCE {
                    parts.try_next().await.map_err(told)?;
                }
                let bytes = read_part(file.clone(), start..len.min(start + part_len)).await?;
                parts.push(upload.put_part(bytes.into()));
            }
            parts.try_collect::<()>().await.map_err(told)?;
            upload.complete().await.map(|_| ()).map_err(told)
        }
        .await;
        if sent.is_err() {
            // The first error is the one to tell. What stays is for the store's own rule on abandoned uploads.
            let _ = upload.abort().await;
        }
        sent
    }

    async fn delete(&self, paths: Vec<String>) -> Result<()> {
        let paths: Vec<_> = paths.iter().map(|path| Ok(located(path))).collect::<Result<_>>()?;
        let paths = iter(paths).map(|path| {
            path.map_err(|error| object_store::Error::Generic { store: "path", source: Box::new(error) })
        });
        let mut deleted = self.store.delete_stream(paths.boxed());
        while let Some(deleted) = deleted.next().await {
            match deleted {
                Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                Err(failed) => return Err(told(failed)),
            }
        }
        Ok(())
    }

    async fn list(&self, folder: &str, after: Option<&str>, limit: usize) -> Result<Listed> {
        let folder = located(folder)?;
        let offset = after.map(|after| folder.clone().join(after));
        // A store that lists in no order may not know what comes after a name, either.
        let mut found = match &offset {
            Some(offset) if self.lists_in_order => self.store.list_with_offset(Some(&folder), offset),
            _ => self.store.list(Some(&folder)),
        };
        // One more than asked for says whether there are more.
        let mut names = BTreeSet::new();
        while let Some(object) = found.next().await {
            let object = match object {
                Ok(object) => object,
                // A folder that is not there yet holds nothing.
                Err(object_store::Error::NotFound { .. }) => break,
                Err(failed) => return Err(told(failed)),
            };
            if let Some(name) = object.location.filename()
                && after.is_none_or(|after| name > after)
            {
                names.insert(name.to_owned());
            }
            if names.len() > limit + 1 {
                names.pop_last();
            }
            if self.lists_in_order && names.len() > limit {
                break;
            }
        }
        let more = names.len() > limit;
        let names: Vec<String> = names.into_iter().take(limit).collect();
        let next = names.last().filter(|_| more).cloned();
        Ok(Listed { names, next })
    }
}

fn located(path: &str) -> Result<Path> {
    Path::parse(path.trim_end_matches('/')).map_err(|error| {
        Error::new(ErrorKind::ConfigInvalid, format!("`{path}` cannot be the name of an object"))
            .with_source(error)
    })
}

/// An error of the store as one of ours. Its text may hold a whole answer of the server, so it goes into the source.
pub(super) fn told(error: object_store::Error) -> Error {
    use object_store::Error as Store;
    let (kind, message) = match &error {
        Store::NotFound { .. } => {
            (ErrorKind::NotFound, "the bucket or the object is not there; see whether the url is right")
        }
        Store::PermissionDenied { .. } => {
            (ErrorKind::PermissionDenied, "the store does not allow this; see what the credentials may do")
        }
        Store::Unauthenticated { .. } => {
            (ErrorKind::PermissionDenied, "the store does not accept the credentials; see `options`")
        }
        Store::NotSupported { .. } | Store::NotImplemented { .. } => {
            (ErrorKind::Unsupported, "the store cannot do this")
        }
        Store::UnknownConfigurationKey { .. } | Store::InvalidPath { .. } => {
            (ErrorKind::ConfigInvalid, "the store does not take this url or these options")
        }
        _ => (ErrorKind::Unavailable, "the store cannot be reached, or failed"),
    };
    Error::new(kind, message).with_source(error)
}
