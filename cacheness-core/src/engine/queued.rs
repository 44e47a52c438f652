//! Making the writes that wait: in the background, when a later write of the same key comes, and one last time on closing.

use std::sync::Arc;
use std::time::Duration;

use super::Engine;
use super::counting::Tenant;
use super::degraded::earlier_write_waits;
use super::observe::{Made, PutSpan};
use super::put::Encoded;
use super::write_queue::{Next, Write};
use crate::error::{Error, ErrorKind, Result};
use crate::events::ExpireReason;
use crate::metadata::{Change, Condition, Evicted, Outcome};
use crate::names::{Namespace, Timestamp};

/// The longest pause after which a write that fails is tried again while the cache is being closed.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The shortest one.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);

/// What a commit gives: what was made, what was evicted for it, and when.
pub(super) type Committed = (Vec<Made>, Vec<Evicted>, Timestamp);

/// What becomes of a write where others may wait.
pub(super) enum Turn {
    /// None of its keys waits.
    Free,
    /// Earlier writes of its keys wait and are to be made now: it takes their place.
    Next,
    /// Earlier writes of its keys wait for a backend that is away.
    Waits,
}

impl Engine {
    /// What becomes of a write of these keys: a later one must not overtake those that wait.
    pub(super) fn turn_of<'a>(&self, tenant: &Tenant, keys: impl Iterator<Item = &'a str>) -> Turn {
        let keys: Vec<&str> = if self.queue.is_empty() { Vec::new() } else { keys.collect() };
        if !keys.iter().any(|key| self.queue.get(&tenant.namespace, key).is_some()) {
            Turn::Free
        } else if self.guards.let_all_calls_through() && self.are_due(&tenant.namespace, keys.into_iter()) {
            Turn::Next
        } else {
            Turn::Waits
        }
    }

    /// False where an earlier attempt to write one of these keys may still be carried out.
    fn are_due<'a>(&self, namespace: &Namespace, keys: impl Iterator<Item = &'a str>) -> bool {
        self.wait_for(self.queue.not_before(namespace, keys)).is_zero()
    }

    /// How long it is until then.
    fn wait_for(&self, not_before: Option<Timestamp>) -> Duration {
        let wait = not_before.map_or(Duration::ZERO, |at| at.since(self.env.now()));
        // Where it is longer, the clock was set back.
        if wait > self.settings.remote.told_to_backends() { Duration::ZERO } else { wait }
    }

    /// Until when a write that failed may still be carried out: so long a server may take for it. What is written to the same
    /// key before that could be overtaken.
    pub(super) fn in_doubt_until(&self, error: &Error) -> Option<Timestamp> {
        let in_doubt = self.is_remote() && error.is_outcome_unknown();
        in_doubt.then(|| self.env.now() + self.settings.remote.told_to_backends())
    }

    /// Commits values in place of the writes of their keys that wait.
    pub(super) async fn commit_in_turn(&self, tenant: &Tenant, values: Vec<Encoded>) -> Result<Committed> {
        let keys = values.iter().map(|value| value.entry.key.as_str().to_owned()).collect();
        self.in_turn(&tenant.namespace, keys, |engine| async move { engine.commit(values).await }).await
    }

    /// Makes changes in place of the writes of their keys that wait.
    pub(super) async fn apply_in_turn(
        &self,
        tenant: &Tenant,
        keys: &[&str],
        changes: Vec<Change>,
    ) -> Result<Vec<Outcome>> {
        let keys = keys.iter().map(|&key| key.to_owned()).collect();
        let apply = |engine: Arc<Self>| async move { engine.metadata.apply(changes).await };
        self.in_turn(&tenant.namespace, keys, apply).await
    }

    async fn in_turn<T, F>(
        &self,
        namespace: &Namespace,
        keys: Vec<String>,
        make: impl FnOnce(Arc<Self>) -> F + Send + 'static,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send,
        T: Send + 'static,
    {
        let namespace = namespace.clone();
        self.apart(|engine| async move {
            let _making = engine.taking(&engine.queue.making).await?;
            // One that was tried while this waited may still be carried out.
            if !engine.are_due(&namespace, keys.iter().map(String::as_str)) {
                return Err(earlier_write_waits());
            }
            let before = engine.queue.next_number();
            let made = make(engine.clone()).await?;
            engine.queue.forget_keys(&namespace, &keys, before);
            Ok(made)
        })
        .await
    }

    /// Makes the writes that wait now, in their order. One that cannot be made for a reason that may pass stays, and does not
    /// hold up those of other keys. False where `until` came before all were made.
    ///
    /// # Errors
    /// Why the first of those could not be made that stay.
    pub(super) async fn write_queued(&self, until: Timestamp) -> Result<bool> {
        self.write_queued_of(Which::All, until).await
    }

    /// As [`write_queued`](Self::write_queued), the small ones first, which a store of blobs that hangs must not hold up.
    pub(super) async fn write_small_queued_first(&self, until: Timestamp) -> Result<bool> {
        // Those that fail are tried again with all, and told then.
        let _ = self.write_queued_of(Which::WithoutBlobs, until).await;
        self.write_queued(until).await
    }

    async fn write_queued_of(&self, which: Which, until: Timestamp) -> Result<bool> {
        if self.queue.is_empty() {
            return Ok(true);
        }
        // Not aborted with its caller: the write under way would go on, and be overtaken by those that come next.
        self.to_the_end(|engine| async move { engine.write_queued_here(which, until).await }).await
    }

    async fn write_queued_here(&self, which: Which, until: Timestamp) -> Result<bool> {
        // Not those that are queued meanwhile: with a key that is written all the time there would be no end.
        let (mut from, last) = (0, self.queue.next_number());
        let mut failed: Option<Error> = None;
        loop {
            let _making = self.taking(&self.queue.making).await?;
            let Some(next) = self.queue.first(from..last) else { break };
            if self.env.now() >= until {
                return failed.map_or(Ok(false), Err);
            }
            from = next.number + 1;
            if which == Which::WithoutBlobs && self.may_need_a_blob(&next.write) {
                continue;
            }
            if !self.wait_for(next.not_before).is_zero() {
                failed.get_or_insert_with(earlier_attempt_in_doubt);
                continue;
            }
            match self.write_one(&next).await {
                Ok(()) => self.queue.forget(&next),
                Err(error) if error.is_temporary() => {
                    if let Some(at) = self.in_doubt_until(&error) {
                        self.queue.put_off(&next, at);
                    }
                    failed.get_or_insert(error);
                    // No write can do without the metadata.
                    if !self.guards.let_metadata_calls_through() {
                        break;
                    }
                }
                Err(error) => {
                    self.queue.forget(&next);
                    self.lost(&next.namespace, &next.key, &error);
                }
            }
        }
        failed.map_or(Ok(true), Err)
    }

    fn may_need_a_blob(&self, write: &Write) -> bool {
        match write {
            Write::Put(put) => {
                put.inline == Some(false) || put.bytes.len() as u64 > self.inline_limit(put.inline)
            }
            Write::Remove => false,
        }
    }

    /// Makes what waits before something that must see it, within the time of one call.
    pub(super) async fn write_queued_first(&self) -> Result<()> {
        if self.queue.is_empty() {
            return Ok(());
        }
        let until = self.env.now() + self.settings.remote.deadline;
        self.pause(self.wait_for(self.queue.none_before(None))).await?;
        if self.write_queued(until).await? { Ok(()) } else { Err(no_time()) }
    }

    async fn write_one(&self, next: &Next) -> Result<()> {
        let tenant = self.tenant(&next.namespace);
        let expired = |at: &Timestamp| *at <= self.env.now();
        match &next.write {
            Write::Put(put) if !put.entry.validity.expires_at.as_ref().is_some_and(expired) => {
                let observed = PutSpan::begin(&tenant, &next.key);
                let (made, evicted, _) = self.commit(vec![put.encoded()]).await?;
                made.into_iter().for_each(|made| self.made(&tenant, made, &observed));
                self.evicted(&evicted);
            }
            write => {
                let change = Change::Remove {
                    namespace: next.namespace.clone(),
                    key: next.key.clone(),
                    condition: Condition::Always,
                    now: self.env.now(),
                };
                let outcomes = self.metadata.apply(vec![change]).await?;
                let was_there = outcomes.iter().any(|outcome| outcome.applied);
                match write {
                    Write::Remove if was_there => self.removed(&tenant, &next.key),
                    Write::Remove => {}
                    // Nobody would be served the value any more, nor may anybody be served what it was to replace.
                    Write::Put(_) => self.expired(&next.namespace, &next.key, ExpireReason::Ttl),
                }
            }
        }
        Ok(())
    }

    /// Makes what is queued one last time, as far as that can be done in the time of one call, and says what is lost.
    pub(super) async fn write_queued_on_close(&self) -> Result<()> {
        let until = self.env.now() + self.settings.remote.deadline;
        let mut pause = self.settings.remote.backoff.clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
        let error = loop {
            // Those that need the metadata alone first: where the blobs do not answer, the others take all the time.
            let small = self.write_queued_of(Which::WithoutBlobs, until).await;
            let made = match small {
                Err(error) if !self.guards.let_metadata_calls_through() => Err(error),
                small => small.and(self.write_queued(until).await),
            };
            let error = match made {
                Ok(true) => return Ok(()),
                Ok(false) => no_time(),
                Err(error) => error,
            };
            if self.env.now() + pause >= until {
                break error;
            }
            // There is no later: what may pass is waited for now.
            if self.pause(pause).await.is_err() {
                break error;
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        };
        let left = self.queue.take_all();
        if left.is_empty() {
            return Ok(());
        }
        left.iter().for_each(|(namespace, key)| self.lost(namespace, key, &error));
        let message = format!(
            "{} writes that were queued could not be made before the cache was closed, and are lost",
            left.len()
        );
        Err(Error::new(error.kind(), message).with_operation("close").with_source(error))
    }

    /// Waits on the cache's own runtime, whose timers are there on both faces.
    async fn pause(&self, pause: Duration) -> Result<()> {
        if pause.is_zero() {
            return Ok(());
        }
        let env = self.env.clone();
        self.env
            .on_io(async move {
                env.sleep(pause).await;
                Ok(())
            })
            .await
    }

    /// Empties a namespace by `work`, and forgets what waits to be written to it.
    pub(super) async fn emptying<T, F>(
        &self,
        namespace: &Namespace,
        work: impl FnOnce(Arc<Self>) -> F + Send + 'static,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send,
        T: Send + 'static,
    {
        let namespace = namespace.clone();
        self.apart(|engine| async move {
            if engine.queue.is_empty() {
                return work(engine).await;
            }
            let _making = engine.taking(&engine.queue.making).await?;
            // What may still be carried out would not be emptied.
            engine.pause(engine.wait_for(engine.queue.none_before(Some(&namespace)))).await?;
            let before = engine.queue.next_number();
            let done = work(engine.clone()).await?;
            engine.queue.forget_namespace(&namespace, before);
            Ok(done)
        })
        .await
    }
}

/// Which of the writes that wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Which {
    All,
    WithoutBlobs,
}

/// Why a write that waits is not made yet.
fn earlier_attempt_in_doubt() -> Error {
    let message =
        "the server did not answer an earlier attempt to make a queued write, and may still carry it out";
    Error::new(ErrorKind::Unavailable, message).with_outcome_unknown(false)
}

fn no_time() -> Error {
    let message = "there was not the time to make all writes that were queued";
    Error::new(ErrorKind::Timeout, message).with_outcome_unknown(false)
}
