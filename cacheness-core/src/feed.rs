//! The feed of changes as an application follows it, from either face.

use std::sync::Arc;
use std::time::Duration;

use crate::cache::Cache;
use crate::engine::Engine;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::Result;
use crate::metadata::{ChangeFeed, ChangeFeeds, Changed};
use crate::names::Namespace;

/// The changes that processes make in a namespace, those of this process included.
pub struct Changes {
    engine: Arc<Engine>,
    feed: Box<dyn ChangeFeed>,
    namespace: Namespace,
    bound: Duration,
}

impl Cache {
    /// Follows what any process that shares the cache's metadata changes in this namespace, from now on.
    ///
    /// ```no_run
    /// # async fn follow(cache: cacheness::Cache) -> Result<(), cacheness::Error> {
    /// use cacheness::Changed;
    ///
    /// let mut changes = cache.changes().await?;
    /// loop {
    ///     for changed in changes.next().await? {
    ///         match changed {
    ///             Changed::Put { key, version, .. } => println!("{key} has version {version}"),
    ///             Changed::Invalidated { key, .. } => println!("{key} is gone, or expires at another time"),
    ///             // Cleared, or changes may have been lost: what is known of any entry may be old.
    ///             _ => println!("forget everything"),
    ///         }
    ///     }
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) where the metadata backend has no feed, or it is switched off.
    pub async fn changes(&self) -> Result<Changes> {
        let feeds = self.engine.feeds()?;
        let feed = feeds.subscribe().await.map_err(|error| error.with_operation("changes"))?;
        let (engine, namespace) = (self.engine.clone(), self.tenant.namespace.clone());
        Ok(Changes { bound: feeds.bound(), engine, feed, namespace })
    }
}

impl Changes {
    /// The next changes, in the order in which they were made where they are of one key; one at least. Waits until there
    /// are any. A change can come twice. [`Changed::Missed`] says that some may have been lost.
    ///
    /// Dropping the future before it is ready loses nothing.
    ///
    /// # Errors
    /// [`Unavailable`](ErrorKind::Unavailable) or [`Timeout`](ErrorKind::Timeout) where the store has not answered for
    /// longer than the [bound](Self::bound): what is known of entries may be old from then on. Calling again goes on
    /// waiting, and what was changed meanwhile comes then. [`Closed`](ErrorKind::Closed) after the cache was closed.
    pub async fn next(&mut self) -> Result<Vec<Changed>> {
        loop {
            let mut changes = self.feed.next().await.map_err(|error| error.with_operation("changes"))?;
            changes.retain(|changed| changed.namespace().is_none_or(|of| *of == self.namespace));
            if !changes.is_empty() {
                return Ok(changes);
            }
        }
    }

    /// How late a change may come while [`next`](Self::next) does not fail.
    #[must_use]
    pub fn bound(&self) -> Duration {
        self.bound
    }

    pub(crate) fn engine(&self) -> Arc<Engine> {
        self.engine.clone()
    }
}

impl std::fmt::Debug for Changes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Changes").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

impl Engine {
    fn feeds(&self) -> Result<&dyn ChangeFeeds> {
        self.check_open()?;
        self.metadata().changes().ok_or_else(|| self.has_no("feed of changes"))
    }
}
