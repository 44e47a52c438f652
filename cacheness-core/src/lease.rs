//! Leases as an application takes them, from either face.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::cache::Cache;
use crate::engine::Engine;
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::key::Key;
use crate::metadata::Leases;
use crate::names::{LeaseHolder, Namespace, Timestamp, Version};

/// A lease: of all processes that share the cache's metadata, this one alone has it, until its time is over.
///
/// It ends when it is released, when it is dropped, and, by the store's own clock, when it is not renewed in time: so
/// also with its holder, however that ends. What it guards must check [`is_held`](Self::is_held) before each step that
/// counts; a store that can be told so refuses the late step of an earlier holder by its lower
/// [`token`](Self::token).
#[derive(Debug)]
pub struct Lease {
    held: Option<Held>,
    namespace: Namespace,
    name: String,
    token: Version,
    until: Until,
}

/// What is released when the lease ends.
struct Held {
    engine: Arc<Engine>,
    holder: LeaseHolder,
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.holder.fmt(f)
    }
}

/// When a lease is over, by the clock of the cache and by one that nobody turns back.
#[derive(Clone, Copy, Debug)]
struct Until {
    clock: Timestamp,
    instant: Instant,
}

impl Until {
    /// The end of a lease that is asked for at this moment: it begins later, when the store gives it.
    fn asked_now(env: &Env, ttl: Duration) -> Self {
        Self { clock: env.now() + ttl, instant: Instant::now() + ttl }
    }

    fn left(self, env: &Env) -> Duration {
        self.clock.since(env.now()).min(self.instant.saturating_duration_since(Instant::now()))
    }
}

impl Cache {
    /// Takes the lease of this name, in this namespace, for `ttl`; `None` where somebody else holds it, in this process
    /// or another. Leases are apart from entries: a name may be a key as well.
    ///
    /// ```no_run
    /// # async fn work(cache: cacheness::Cache) -> Result<(), cacheness::Error> {
    /// use std::time::Duration;
    ///
    /// if let Some(mut lease) = cache.lease("nightly-report", Duration::from_secs(30)).await? {
    ///     // … a part of the work …
    ///     if lease.renew(Duration::from_secs(30)).await? {
    ///         // … the rest of it …
    ///     }
    ///     lease.release().await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) where the metadata backend has no leases;
    /// [`InvalidInput`](ErrorKind::InvalidInput) for a `ttl` of zero or over 24 hours.
    pub async fn lease(&self, name: impl AsRef<str> + Send, ttl: Duration) -> Result<Option<Lease>> {
        let (engine, namespace) = (&self.engine, &self.tenant.namespace);
        let name = Key::new(name.as_ref())?;
        check_ttl(ttl)?;
        // A leaser that is closing gives none.
        let releasing = engine.releasing().ok_or_else(Engine::closed_error)?;
        let mut lease = Lease {
            held: Some(Held { engine: engine.clone(), holder: LeaseHolder::random() }),
            namespace: namespace.clone(),
            name: name.as_str().to_owned(),
            token: Version::default(),
            until: Until::asked_now(engine.env(), ttl),
        };
        let (tell, told) = oneshot::channel();
        // Apart from the caller, who may go away while the answer is on its way: only once it is there can the lease be
        // given back.
        engine.env().detach(async move {
            let given = lease.acquire(ttl).await;
            let given = given.map(|given| given.then_some(lease));
            if let Err(Ok(Some(unwanted))) = tell.send(given) {
                // Where it fails, the lease ends with its time.
                let _ = unwanted.release().await;
            }
            drop(releasing);
        });
        told.await.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Unavailable, "the cache's runtime has ended, so no lease can be taken"))
        })
    }
}

impl Lease {
    /// Asks for the lease. False where somebody else has it.
    async fn acquire(&mut self, ttl: Duration) -> Result<bool> {
        let Some(held) = &self.held else { return Ok(false) };
        let given = match held.engine.leases() {
            Ok(leases) => leases.acquire(&self.namespace, &self.name, held.holder, ttl).await,
            Err(error) => Err(error),
        };
        match given {
            Ok(Some(token)) => {
                self.token = token;
                Ok(true)
            }
            Ok(None) => {
                self.held = None;
                Ok(false)
            }
            // Whether it was given is not known, so it is released when this is dropped.
            Err(error) => Err(error.with_operation("lease").with_context("lease", self.name.clone())),
        }
    }

    /// What was asked for.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A number that is higher than those of all earlier holders of the lease. It stays when the lease is renewed.
    #[must_use]
    pub fn token(&self) -> Version {
        self.token
    }

    /// How long the lease is certainly held from now on: counted from before it was asked for, so that nobody else holds
    /// it meanwhile, provided that this machine's clock and the store's run equally fast.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.held.as_ref().map_or(Duration::ZERO, |held| self.until.left(held.engine.env()))
    }

    /// True while the lease is certainly held.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.left() > Duration::ZERO
    }

    /// Keeps the lease for `ttl` from now on. False where its time was over and it is lost; it is not taken anew.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) for a `ttl` of zero or over 24 hours; the error of the backend. After
    /// such an error, the lease is held as long as [`left`](Self::left) says.
    pub async fn renew(&mut self, ttl: Duration) -> Result<bool> {
        check_ttl(ttl)?;
        let Some(held) = &self.held else { return Ok(false) };
        let until = Until::asked_now(held.engine.env(), ttl);
        let leases = held.engine.leases()?;
        let kept = leases
            .renew(&self.namespace, &self.name, held.holder, ttl)
            .await
            .map_err(|error| error.with_operation("renew").with_context("lease", self.name.clone()))?;
        if kept {
            self.until = until;
        } else {
            self.held = None;
        }
        Ok(kept)
    }

    /// Ends the lease. False where it was lost before.
    ///
    /// # Errors
    /// The error of the backend. The lease then ends with its time.
    pub async fn release(mut self) -> Result<bool> {
        let Some(held) = &self.held else { return Ok(false) };
        let leases = held.engine.leases()?;
        let released = leases.release(&self.namespace, &self.name, held.holder).await;
        // Only now: should this future be dropped before, the lease is released as one that is dropped.
        self.held = None;
        released.map_err(|error| error.with_operation("release").with_context("lease", self.name.clone()))
    }
}

impl Drop for Lease {
    /// Releases the lease, without waiting for it. Closing the cache waits.
    fn drop(&mut self) {
        let Some(held) = self.held.take() else { return };
        let (namespace, name) = (self.namespace.clone(), std::mem::take(&mut self.name));
        let Some(releasing) = held.engine.releasing() else { return };
        let env = held.engine.env().clone();
        env.detach(async move {
            let _releasing = releasing;
            // Where it fails, the lease ends with its time.
            if let Ok(leases) = held.engine.leases() {
                let _ = leases.release(&namespace, &name, held.holder).await;
            }
        });
    }
}

/// The longest time that a lease is given at once.
const MAX_TTL: Duration = Duration::from_secs(24 * 60 * 60);

fn check_ttl(ttl: Duration) -> Result<()> {
    if ttl.is_zero() || ttl > MAX_TTL {
        let message = format!("a lease is for more than zero and up to 24 hours, not for {ttl:?}");
        return Err(Error::new(ErrorKind::InvalidInput, message));
    }
    Ok(())
}

impl Engine {
    fn leases(&self) -> Result<&dyn Leases> {
        self.metadata().leases().ok_or_else(|| self.has_no("leases"))
    }

    pub(crate) fn has_no(&self, what: &str) -> Error {
        let message = format!(
            "the metadata backend `{}` has no {what}; `postgres` and `redis` have them",
            self.metadata_name()
        );
        Error::new(ErrorKind::Unsupported, message)
    }
}
