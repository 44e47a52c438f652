//! Both faces of the cache behind one set of async methods, so that each case is written once.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use cacheness_core::{
    Cache, CacheValue, EntryInfo, EntryPage, Limits, ListOptions, Namespace, PurgeReport, PutOptions,
    PutValue, RawEntry, ReadOptions, Result, Stats, Stored, blocking,
};

/// Through which face a case runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Face {
    /// [`cacheness_core::Cache`].
    Async,
    /// [`cacheness_core::blocking::Cache`].
    Blocking,
}

/// A cache through one of its faces. Its methods are those of the faces.
#[derive(Clone, Debug)]
pub enum AnyCache {
    /// [`cacheness_core::Cache`].
    Async(Cache),
    /// [`cacheness_core::blocking::Cache`].
    Blocking(blocking::Cache),
}

macro_rules! both {
    ($($name:ident ( $($argument:ident : $kind:ty),* ) -> $result:ty;)*) => {
        #[expect(missing_docs, reason = "each is the method of that name of both faces")]
        #[expect(clippy::missing_errors_doc, reason = "each is the method of that name of both faces")]
        impl AnyCache {
            $(
                pub async fn $name(&self, $($argument: $kind),*) -> Result<$result> {
                    match self {
                        Self::Async(cache) => cache.$name($($argument),*).await,
                        Self::Blocking(cache) => cache.$name($($argument),*),
                    }
                }
            )*
        }
    };
}

both! {
    put_raw(raw: RawEntry) -> Stored;
    get_raw(key: &str) -> Option<RawEntry>;
    get_entry(key: &str) -> Option<EntryInfo>;
    contains(key: &str) -> bool;
    remove(key: &str) -> bool;
    invalidate(key: &str) -> bool;
    remove_many(keys: &[&str]) -> u64;
    touch(key: &str) -> bool;
    extend_ttl(key: &str, by: Duration) -> bool;
    list(options: ListOptions) -> EntryPage;
    count_matching(options: ListOptions) -> u64;
    remove_matching(options: ListOptions) -> u64;
    remove_matching_everywhere(options: ListOptions) -> u64;
    clear() -> u64;
    purge() -> PurgeReport;
    stats() -> Stats;
    total_stats() -> Stats;
    reset_stats() -> ();
    namespaces() -> Vec<Namespace>;
    drop_namespace(name: &str) -> Option<u64>;
    set_limits(limits: Limits) -> u64;
    set_namespace_limits(limits: Limits) -> u64;
    limits() -> Limits;
    namespace_limits() -> Limits;
    close() -> ();
}

#[expect(missing_docs, reason = "each is the method of that name of both faces")]
#[expect(clippy::missing_errors_doc, reason = "each is the method of that name of both faces")]
impl AnyCache {
    pub fn namespace(&self, name: &str) -> Result<Self> {
        Ok(match self {
            Self::Async(cache) => Self::Async(cache.namespace(name)?),
            Self::Blocking(cache) => Self::Blocking(cache.namespace(name)?),
        })
    }

    pub async fn put<'a, Via>(&self, key: &str, value: impl PutValue<'a, Via>) -> Result<Stored> {
        self.put_with(key, value, PutOptions::new()).await
    }

    pub async fn put_with<'a, Via>(
        &self,
        key: &str,
        value: impl PutValue<'a, Via>,
        options: PutOptions,
    ) -> Result<Stored> {
        match self {
            Self::Async(cache) => cache.put_with(key, value, options).await,
            Self::Blocking(cache) => cache.put_with(key, value, options),
        }
    }

    pub async fn put_shared<T: CacheValue<Via>, Via>(&self, key: &str, value: Arc<T>) -> Result<Stored> {
        match self {
            Self::Async(cache) => cache.put_shared(key, value, PutOptions::new()).await,
            Self::Blocking(cache) => cache.put_shared(key, value, PutOptions::new()),
        }
    }

    pub async fn put_serialize<T: serde::Serialize + Sync + ?Sized>(
        &self,
        key: &str,
        value: &T,
    ) -> Result<Stored> {
        match self {
            Self::Async(cache) => cache.put_serialize(key, value, PutOptions::new()).await,
            Self::Blocking(cache) => cache.put_serialize(key, value, PutOptions::new()),
        }
    }

    pub async fn put_many<'a, V: PutValue<'a, Via>, Via>(
        &self,
        values: Vec<(String, V)>,
        options: PutOptions,
    ) -> Result<Vec<Stored>> {
        match self {
            Self::Async(cache) => cache.put_many(values, options).await,
            Self::Blocking(cache) => cache.put_many(values, options),
        }
    }

    /// Puts bytes through a reader.
    pub async fn put_reader(&self, key: &str, bytes: &[u8], options: PutOptions) -> Result<Stored> {
        match self {
            Self::Async(cache) => cache.put_reader(key, bytes, options).await,
            Self::Blocking(cache) => cache.put_reader(key, bytes, options),
        }
    }

    /// Reads all of a value through its reader.
    pub async fn read_all(&self, key: &str) -> Result<Option<Vec<u8>>> {
        let mut all = Vec::new();
        match self {
            Self::Async(cache) => {
                let Some(mut reader) = cache.reader(key).await? else { return Ok(None) };
                while let Some(piece) = reader.next_piece().await? {
                    all.extend_from_slice(&piece);
                }
            }
            Self::Blocking(cache) => {
                let Some(mut reader) = cache.reader(key)? else { return Ok(None) };
                reader
                    .read_to_end(&mut all)
                    .map_err(|error| cacheness_core::Error::io(error, "reading a value"))?;
            }
        }
        Ok(Some(all))
    }

    pub async fn get<V: CacheValue<Via>, Via>(&self, key: &str) -> Result<Option<V>> {
        match self {
            Self::Async(cache) => cache.get(key).await,
            Self::Blocking(cache) => cache.get(key),
        }
    }

    pub async fn get_with<V: CacheValue<Via>, Via>(
        &self,
        key: &str,
        options: &ReadOptions,
    ) -> Result<Option<V>> {
        match self {
            Self::Async(cache) => cache.get_with(key, options).await,
            Self::Blocking(cache) => cache.get_with(key, options),
        }
    }

    pub async fn peek<V: CacheValue<Via>, Via>(&self, key: &str) -> Result<Option<V>> {
        match self {
            Self::Async(cache) => cache.peek(key).await,
            Self::Blocking(cache) => cache.peek(key),
        }
    }

    pub async fn get_many<V: CacheValue<Via>, Via>(&self, keys: &[&str]) -> Result<Vec<Option<V>>> {
        match self {
            Self::Async(cache) => cache.get_many(keys).await,
            Self::Blocking(cache) => cache.get_many(keys),
        }
    }
}
