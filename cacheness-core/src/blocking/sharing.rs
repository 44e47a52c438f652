//! What processes share beside values, from the blocking face: leases and the feed of changes.

use std::time::Duration;

use super::Cache;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::Result;
use crate::metadata::Changed;
use crate::names::Version;

impl Cache {
    /// Takes the lease of this name, in this namespace, for `ttl`; `None` where somebody else holds it. See
    /// [`crate::Cache::lease`].
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) where the metadata backend has no leases;
    /// [`InvalidInput`](ErrorKind::InvalidInput) for a `ttl` of zero or over 24 hours.
    pub fn lease(&self, name: impl AsRef<str> + Send, ttl: Duration) -> Result<Option<Lease>> {
        let lease = self.inner.engine.block_on(self.inner.lease(name, ttl))?;
        Ok(lease.map(|inner| Lease { inner, cache: self.clone() }))
    }

    /// Follows what any process that shares the cache's metadata changes in this namespace, from now on. See
    /// [`crate::Cache::changes`].
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) where the metadata backend has no feed, or it is switched off.
    pub fn changes(&self) -> Result<Changes> {
        Ok(Changes { inner: self.inner.engine.block_on(self.inner.changes())? })
    }
}

/// A lease: of all processes that share the cache's metadata, this one alone has it, until its time is over. See
/// [`crate::Lease`].
#[derive(Debug)]
pub struct Lease {
    // Released before the handle goes, which may be the last one and close the cache.
    inner: crate::Lease,
    cache: Cache,
}

impl Lease {
    /// What was asked for.
    #[must_use]
    pub fn name(&self) -> &str {
        self.inner.name()
    }

    /// A number that is higher than those of all earlier holders of the lease.
    #[must_use]
    pub fn token(&self) -> Version {
        self.inner.token()
    }

    /// How long the lease is certainly held from now on.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.inner.left()
    }

    /// True while the lease is certainly held.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.inner.is_held()
    }

    /// Keeps the lease for `ttl` from now on. False where it is lost.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) for a `ttl` of zero or over 24 hours; the error of the backend.
    pub fn renew(&mut self, ttl: Duration) -> Result<bool> {
        self.cache.inner.engine.block_on(self.inner.renew(ttl))
    }

    /// Ends the lease. False where it was lost before.
    ///
    /// # Errors
    /// The error of the backend. The lease then ends with its time.
    pub fn release(self) -> Result<bool> {
        self.cache.inner.engine.block_on(self.inner.release())
    }
}

/// The changes that processes make in a namespace; see [`crate::Changes`]. As an iterator it waits for the next ones, and
/// never ends.
///
/// ```no_run
/// # fn follow(cache: cacheness::blocking::Cache) -> Result<(), cacheness::Error> {
/// for changes in cache.changes()? {
///     println!("{:?}", changes?);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Changes {
    inner: crate::Changes,
}

impl Changes {
    /// How late a change may come while the iterator gives no error.
    #[must_use]
    pub fn bound(&self) -> Duration {
        self.inner.bound()
    }
}

impl Iterator for Changes {
    type Item = Result<Vec<Changed>>;

    /// The next changes, one at least; errors as of [`crate::Changes::next`].
    fn next(&mut self) -> Option<Self::Item> {
        Some(self.inner.engine().block_on(self.inner.next()))
    }
}
