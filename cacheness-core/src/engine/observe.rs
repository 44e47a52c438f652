//! What the engine tells of what happened, in one place: statistics, events, logs and metrics.
//!
//! Keys stand in logs of level debug and below only, values nowhere.

use tracing::Span;
use tracing::field::Empty;

use super::counting::{Tenant, add};
use super::{Engine, OnReadError};
use crate::entry::Entry;
use crate::error::{Error, ErrorKind, Result};
use crate::events::{Event, ExpireReason, MissReason};
use crate::key::Key;
use crate::metadata::{DamagedEntry, Evicted, EvictionReason};
use crate::metric::{self, Started};
use crate::names::{Namespace, Version};
use crate::resilience::is_refusal;

/// What a lookup found, or why it is a miss.
pub(crate) type Lookup<T> = std::result::Result<T, MissReason>;

/// The target of the spans and events of operations.
pub(crate) const TARGET: &str = "cacheness";

/// Runs a future in a span of its operation, and records its outcome there.
macro_rules! observed {
    ($name:literal, { $($field:tt)* }, $outcome:expr, $future:expr) => {{
        let span = tracing::debug_span!(target: "cacheness", $name, outcome = tracing::field::Empty, $($field)*);
        // To instrument a future moves it, which for a get takes as long as a few percent of the whole.
        let result = if span.is_disabled() {
            $future.await
        } else {
            tracing::Instrument::instrument($future, span.clone()).await
        };
        $crate::engine::finish(&span, $name, &result, $outcome);
        result
    }};
}
pub(crate) use observed;

/// Records what became of an operation.
pub(crate) fn finish<T>(
    span: &Span,
    operation: &'static str,
    result: &Result<T>,
    outcome: impl FnOnce(&T) -> &'static str,
) {
    match result {
        Ok(done) => {
            if !span.is_disabled() {
                span.record("outcome", outcome(done));
            }
        }
        Err(error) => fail(span, operation, error),
    }
}

/// Records that an operation failed.
pub(super) fn fail(span: &Span, operation: &'static str, error: &Error) {
    span.record("outcome", "error");
    let error = error.without_key();
    tracing::debug!(target: TARGET, parent: span, operation, outcome = "error", %error, "failed");
}

/// A put on its way: its span, and when it began.
#[derive(Debug)]
pub(crate) struct PutSpan {
    pub(super) span: Span,
    pub(super) started: Started,
}

impl PutSpan {
    pub(super) fn begin(tenant: &Tenant, key: &str) -> Self {
        let span = tracing::debug_span!(
            target: TARGET, "put", namespace = %tenant.namespace, key, handler = Empty, bytes = Empty, outcome = Empty
        );
        Self { span, started: Started::now() }
    }
}

/// A put that was made.
pub(super) struct Made {
    pub(super) key: Key,
    pub(super) version: Version,
    pub(super) replaced: bool,
    /// Empty where nobody is [told](Engine::is_watched).
    pub(super) handler: String,
    pub(super) size: u64,
    pub(super) stored_size: u64,
    pub(super) evicted: usize,
}

impl Engine {
    /// Tells the listeners, where there are any. What the event is made of is only copied then.
    fn emit(&self, event: impl FnOnce() -> Event) {
        if let Some(events) = &self.events {
            events.send(event());
        }
    }

    /// True where somebody is told what a put stored.
    pub(super) fn is_watched(&self) -> bool {
        self.events.is_some() || tracing::enabled!(target: TARGET, tracing::Level::DEBUG)
    }

    /// How many events were dropped because the listeners were too slow.
    pub(crate) fn events_dropped(&self) -> u64 {
        self.events.as_ref().map_or(0, |events| events.dropped())
    }

    /// Counts and tells of a lookup that was served, from `bytes` stored bytes.
    pub(super) fn hit(&self, tenant: &Tenant, entry: &Entry, bytes: u64) {
        add(&tenant.counts.hits, 1);
        add(&tenant.counts.bytes_out, bytes);
        let now = self.env.now();
        let (namespace, key, handler) = (&entry.namespace, entry.key.as_str(), &entry.format.handler);
        // Where the log is full, the use is not noted; a get never writes.
        self.accesses.record(namespace, key, entry.version, entry.accessed_at, now);
        self.flusher.mark();
        tenant.meters.hit();
        tenant.meters.read(bytes);
        if tracing::enabled!(target: TARGET, tracing::Level::DEBUG) {
            // The operation's own span, if it is on; else this is one of the caller's.
            let span = Span::current();
            if span.metadata().is_some_and(|metadata| metadata.target() == TARGET) {
                span.record("handler", handler).record("bytes", bytes);
            }
            tracing::debug!(target: TARGET, %namespace, key, handler, bytes, outcome = "hit", "get");
        }
        self.emit(|| Event::Hit {
            namespace: namespace.clone(),
            key: entry.key.clone(),
            handler: handler.clone(),
            bytes,
        });
    }

    /// Counts and tells of a lookup that found nothing that may be served.
    pub(super) fn miss(&self, tenant: &Tenant, key: &str, reason: MissReason) {
        add(&tenant.counts.misses, 1);
        self.flusher.mark();
        tenant.meters.miss(reason);
        tracing::debug!(
            target: TARGET, namespace = %tenant.namespace, key, outcome = "miss", reason = reason.name(), "get"
        );
        self.emit_of(key, |key| Event::Miss { namespace: tenant.namespace.clone(), key, reason });
    }

    /// Counts and tells of a put that was made.
    pub(super) fn made(&self, tenant: &Tenant, put: Made, observed: &PutSpan) {
        let Made { key, version, replaced, handler, size, stored_size, evicted: _ } = put;
        add(&tenant.counts.puts, 1);
        add(&tenant.counts.bytes_in, stored_size);
        tenant.meters.put();
        tenant.meters.written(stored_size);
        tenant.meters.stored(observed.started);
        if tracing::enabled!(target: TARGET, tracing::Level::DEBUG) {
            let span = &observed.span;
            span.record("handler", &handler).record("bytes", stored_size).record("outcome", "stored");
            let (namespace, key, bytes) = (&tenant.namespace, key.as_str(), stored_size);
            tracing::debug!(
                target: TARGET, parent: span, %namespace, key, handler, bytes, size, outcome = "stored", "put"
            );
        }
        self.emit(|| Event::Put {
            namespace: tenant.namespace.clone(),
            key,
            version,
            replaced,
            handler,
            size,
            stored_size,
        });
    }

    /// Tells of entries that went to make room. The backend has counted them.
    pub(super) fn evicted(&self, evicted: &[Evicted]) {
        for Evicted { namespace, key, reason } in evicted {
            if *reason == EvictionReason::Expired {
                self.expired(namespace, key.as_str(), ExpireReason::Ttl);
                continue;
            }
            metric::evicted(namespace, *reason);
            tracing::debug!(target: TARGET, %namespace, key = key.as_str(), reason = reason.name(), "evicted");
            self.emit(|| Event::Evict { namespace: namespace.clone(), key: key.clone(), reason: *reason });
        }
    }

    /// Tells of an entry that was no longer valid and was taken out.
    pub(super) fn expired(&self, namespace: &Namespace, key: &str, reason: ExpireReason) {
        metric::expired(namespace, reason);
        tracing::debug!(target: TARGET, %namespace, key, reason = reason.name(), "expired");
        self.emit_of(key, |key| Event::Expire { namespace: namespace.clone(), key, reason });
    }

    /// Counts and tells of an entry that a call removed.
    pub(super) fn removed(&self, tenant: &Tenant, key: &str) {
        add(&tenant.counts.removals, 1);
        tenant.meters.removed(1);
        tracing::debug!(target: TARGET, namespace = %tenant.namespace, key, outcome = "removed", "remove");
        self.emit_of(key, |key| Event::Remove { namespace: tenant.namespace.clone(), key });
    }

    /// Tells of a namespace that was emptied.
    pub(super) fn cleared(&self, namespace: &Namespace, entries: u64) {
        tracing::info!(target: TARGET, %namespace, entries, "cleared");
        self.emit(|| Event::Clear { namespace: namespace.clone(), entries });
    }

    /// Tells of damage. `error` says what was found.
    pub(super) fn corrupt(&self, tenant: &Tenant, key: &str, error: &Error) {
        self.emit_of(key, |key| Event::Corrupt {
            namespace: tenant.namespace.clone(),
            key,
            error: error.clone(),
        });
    }

    /// Counts and tells of entries that a listing had to leave out.
    pub(super) fn found_damaged(&self, damaged: &[DamagedEntry], operation: &'static str) {
        for found in damaged {
            let DamagedEntry { namespace, key, error, .. } = found;
            let tenant = self.tenants.get(namespace);
            let told = error.without_key();
            tracing::warn!(
                target: TARGET, %namespace, operation, error = %told,
                "an entry is damaged and was left out; `repair` removes it"
            );
            self.corrupt(&tenant, key, error);
            let _ = self.count_error(&tenant, Err::<(), _>(error.clone()));
        }
    }

    /// Counts a failed operation on its way to the caller.
    pub(super) fn count_error<T>(&self, tenant: &Tenant, result: Result<T>) -> Result<T> {
        if let Err(error) = &result {
            add(&tenant.counts.errors, 1);
            metric::error(&tenant.namespace, error.kind());
            if error.kind() == ErrorKind::StorageFull {
                self.garbage.note_full_disk(self.env.now());
            }
            self.flusher.mark();
        }
        result
    }

    /// Counts a failed call of a backend on its way to the caller, and tells of it.
    pub(super) fn count_failure<T>(
        &self,
        tenant: &Tenant,
        key: Option<&str>,
        operation: &'static str,
        result: Result<T>,
    ) -> Result<T> {
        if let Err(error) = &result
            && is_backend_failure(error.kind())
        {
            self.failed(Some(&tenant.namespace), key, operation, error);
        }
        self.count_error(tenant, result)
    }

    /// Logs and tells of a backend that failed.
    pub(super) fn failed(
        &self,
        namespace: Option<&Namespace>,
        key: Option<&str>,
        operation: &'static str,
        error: &Error,
    ) {
        let namespace_name = namespace.map(Namespace::as_str);
        let told = error.without_key();
        if is_refusal(error) {
            // That the backend is down has been told; each call that is not made for it is no news.
            tracing::debug!(target: TARGET, namespace = namespace_name, operation, error = %told, "a backend is down");
        } else {
            tracing::warn!(target: TARGET, namespace = namespace_name, operation, error = %told, "a backend failed");
        }
        self.emit(|| Event::BackendError {
            namespace: namespace.cloned(),
            key: key.and_then(|key| Key::new(key).ok()),
            operation,
            error: error.clone(),
        });
    }

    /// Decides what a failed lookup is: an error of the caller's, or a miss.
    pub(super) fn settle<T>(
        &self,
        tenant: &Tenant,
        key: &str,
        found: Result<Lookup<T>>,
    ) -> Result<Lookup<T>> {
        let error = match found {
            Ok(found) => return Ok(found),
            Err(error) => error.with_operation("get").with_context("key", key),
        };
        let (reason, policy) = match error.kind() {
            ErrorKind::Decode | ErrorKind::HandlerPanicked => {
                (MissReason::Decode, self.settings.on_decode_error)
            }
            // Damage is a miss that has been repaired.
            ErrorKind::Corrupted => (MissReason::Corrupt, OnReadError::Miss),
            ErrorKind::Untrusted => (MissReason::Untrusted, OnReadError::Miss),
            // It is right, but not for this process, so it stays.
            ErrorKind::UnknownKey => (MissReason::UnknownKey, self.settings.on_read_error),
            ErrorKind::Io
            | ErrorKind::Unavailable
            | ErrorKind::Timeout
            | ErrorKind::StorageFull
            | ErrorKind::PermissionDenied
            | ErrorKind::NotFound => (MissReason::BackendError, self.settings.on_read_error),
            // A backend that panicked, or whose server said what nobody understands.
            ErrorKind::Unexpected if error.context().any(|(name, _)| name == "backend") => {
                (MissReason::BackendError, self.settings.on_read_error)
            }
            // The caller asked for something that cannot be.
            _ => return self.count_error(tenant, Err(error)),
        };
        match reason {
            MissReason::Corrupt | MissReason::Untrusted => self.corrupt(tenant, key, &error),
            MissReason::BackendError => self.failed(Some(&tenant.namespace), Some(key), "get", &error),
            _ => {}
        }
        // It is counted also where it becomes a miss.
        let _ = self.count_error(tenant, Err::<(), _>(error.clone()));
        match policy {
            OnReadError::Error => Err(error),
            OnReadError::Miss => {
                let told = error.without_key();
                let (namespace, reason_name) = (&tenant.namespace, reason.name());
                if !is_refusal(&error) {
                    tracing::warn!(
                        target: TARGET, %namespace, reason = reason_name, error = %told,
                        "a value could not be read: a miss"
                    );
                }
                Ok(Err(reason))
            }
        }
    }

    /// Tells of a write that waits.
    pub(super) fn queued(&self, namespace: &Namespace, key: &str, error: &Error) {
        tracing::debug!(target: TARGET, %namespace, key, outcome = "queued", error = %error.without_key(), "a write is queued");
        self.emit_of(key, |key| Event::WriteQueued {
            namespace: namespace.clone(),
            key,
            error: error.clone(),
        });
    }

    /// Tells of a write that is given up.
    pub(super) fn told_dropped(&self, namespace: &Namespace, key: &str, error: &Error) {
        metric::write_dropped(namespace);
        self.emit_of(key, |key| Event::WriteDropped {
            namespace: namespace.clone(),
            key,
            error: error.clone(),
        });
    }

    /// As [`emit`](Self::emit), for an event about a key that has been checked.
    fn emit_of(&self, key: &str, event: impl FnOnce(Key) -> Event) {
        if let Some(events) = &self.events
            && let Ok(key) = Key::new(key)
        {
            events.send(event(key));
        }
    }
}

/// True for what a backend's failure looks like; the other kinds are the caller's mistakes or limits.
fn is_backend_failure(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Io
            | ErrorKind::Unavailable
            | ErrorKind::Timeout
            | ErrorKind::StorageFull
            | ErrorKind::PermissionDenied
            | ErrorKind::NotFound
            | ErrorKind::Corrupted
            | ErrorKind::Unexpected
    )
}
