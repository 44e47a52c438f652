//! What is counted, under which name and with which labels. `docs/observability.md` lists it, and a test compares both.

use std::time::Instant;

use metrics::{Counter, Histogram, Unit, counter, gauge, histogram};

use crate::error::ErrorKind;
use crate::events::{ExpireReason, MissReason};
use crate::metadata::EvictionReason;
use crate::names::Namespace;
use crate::resilience::{BackendRole, HealthState};
use crate::stats::Stats;

const HITS: &str = "cacheness_hits_total";
const MISSES: &str = "cacheness_misses_total";
const PUTS: &str = "cacheness_puts_total";
const REMOVALS: &str = "cacheness_removals_total";
const EVICTIONS: &str = "cacheness_evictions_total";
const EXPIRATIONS: &str = "cacheness_expirations_total";
const ERRORS: &str = "cacheness_errors_total";
const EVENTS_DROPPED: &str = "cacheness_events_dropped_total";
const READ: &str = "cacheness_read_bytes_total";
const WRITTEN: &str = "cacheness_written_bytes_total";
const GET_SECONDS: &str = "cacheness_get_seconds";
const PUT_SECONDS: &str = "cacheness_put_seconds";
const WRITES_DROPPED: &str = "cacheness_writes_dropped_total";
const WRITES_QUEUED: &str = "cacheness_writes_queued";
const BACKEND_STATE: &str = "cacheness_backend_state";
const ENTRIES: &str = "cacheness_entries";
const BYTES: &str = "cacheness_stored_bytes";

/// When an operation began, by a clock that never steps back: the cache's own may be turned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Started(Instant);

impl Started {
    pub(crate) fn now() -> Self {
        Self(Instant::now())
    }
}

/// The counters of one namespace that a hit or a put needs. They are looked up once, because that takes far longer
/// than to count.
pub(crate) struct Meters {
    hits: Counter,
    misses: [Counter; MissReason::ALL.len()],
    puts: Counter,
    removals: Counter,
    read: Counter,
    written: Counter,
    get_seconds: Histogram,
    put_seconds: Histogram,
}

impl Meters {
    pub(crate) fn of(namespace: &Namespace) -> Self {
        let label = || namespace.as_str().to_owned();
        Self {
            hits: counter!(HITS, "namespace" => label()),
            misses: MissReason::ALL
                .map(|reason| counter!(MISSES, "namespace" => label(), "reason" => reason.name())),
            puts: counter!(PUTS, "namespace" => label()),
            removals: counter!(REMOVALS, "namespace" => label()),
            read: counter!(READ, "namespace" => label()),
            written: counter!(WRITTEN, "namespace" => label()),
            get_seconds: histogram!(GET_SECONDS, "namespace" => label()),
            put_seconds: histogram!(PUT_SECONDS, "namespace" => label()),
        }
    }

    pub(crate) fn hit(&self) {
        self.hits.increment(1);
    }

    pub(crate) fn miss(&self, reason: MissReason) {
        if let Some(at) = MissReason::ALL.iter().position(|&known| known == reason) {
            self.misses[at].increment(1);
        }
    }

    pub(crate) fn put(&self) {
        self.puts.increment(1);
    }

    pub(crate) fn removed(&self, entries: u64) {
        self.removals.increment(entries);
    }

    pub(crate) fn read(&self, bytes: u64) {
        self.read.increment(bytes);
    }

    pub(crate) fn written(&self, bytes: u64) {
        self.written.increment(bytes);
    }

    pub(crate) fn got(&self, started: Started) {
        self.get_seconds.record(started.0.elapsed());
    }

    pub(crate) fn stored(&self, started: Started) {
        self.put_seconds.record(started.0.elapsed());
    }
}

impl std::fmt::Debug for Meters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Meters").finish_non_exhaustive()
    }
}

/// Tells the recorder what the names mean.
pub(crate) fn describe() {
    let count = |name: &'static str, help: &'static str| metrics::describe_counter!(name, Unit::Count, help);
    count(HITS, "Lookups that were served.");
    count(MISSES, "Lookups that found nothing that may be served, by reason.");
    count(PUTS, "Values that were stored.");
    count(REMOVALS, "Entries that calls removed.");
    count(EVICTIONS, "Valid entries that went to make room, by reason.");
    count(EXPIRATIONS, "Entries that were no longer valid and were taken out, by reason.");
    count(ERRORS, "Operations that failed, by kind; also those that the caller saw as a miss.");
    count(EVENTS_DROPPED, "Events that a listener was too slow for.");
    metrics::describe_counter!(READ, Unit::Bytes, "Stored bytes that were read for hits.");
    metrics::describe_counter!(WRITTEN, Unit::Bytes, "Bytes that puts stored.");
    metrics::describe_histogram!(GET_SECONDS, Unit::Seconds, "How long lookups took, hits and misses.");
    metrics::describe_histogram!(PUT_SECONDS, Unit::Seconds, "How long puts took, with encoding.");
    count(WRITES_DROPPED, "Writes that could not be made and were given up.");
    metrics::describe_gauge!(WRITES_QUEUED, Unit::Count, "Writes that wait until they can be made.");
    metrics::describe_gauge!(
        BACKEND_STATE,
        Unit::Count,
        "The state of a remote backend: 0 is ok, 1 degraded, 2 down."
    );
    metrics::describe_gauge!(ENTRIES, Unit::Count, "Entries, as of the last call of `stats`.");
    metrics::describe_gauge!(BYTES, Unit::Bytes, "Stored bytes, as of the last call of `stats`.");
}

pub(crate) fn evicted(namespace: &Namespace, reason: EvictionReason) {
    counter!(EVICTIONS, "namespace" => namespace.as_str().to_owned(), "reason" => reason.name()).increment(1);
}

pub(crate) fn expired(namespace: &Namespace, reason: ExpireReason) {
    counter!(EXPIRATIONS, "namespace" => namespace.as_str().to_owned(), "reason" => reason.name())
        .increment(1);
}

pub(crate) fn error(namespace: &Namespace, kind: ErrorKind) {
    counter!(ERRORS, "namespace" => namespace.as_str().to_owned(), "kind" => kind.name()).increment(1);
}

pub(crate) fn events_dropped(events: u64) {
    counter!(EVENTS_DROPPED).increment(events);
}

pub(crate) fn backend_state(role: BackendRole, backend: &str, state: HealthState) {
    let state = match state {
        HealthState::Ok => 0.0,
        HealthState::Degraded => 1.0,
        HealthState::Down => 2.0,
    };
    gauge!(BACKEND_STATE, "role" => role.name(), "backend" => backend.to_owned()).set(state);
}

pub(crate) fn write_dropped(namespace: &Namespace) {
    counter!(WRITES_DROPPED, "namespace" => namespace.as_str().to_owned()).increment(1);
}

pub(crate) fn writes_queued(writes: u64) {
    gauge!(WRITES_QUEUED).set(writes as f64);
}

pub(crate) fn totals(namespace: &Namespace, stats: &Stats) {
    let label = || namespace.as_str().to_owned();
    gauge!(ENTRIES, "namespace" => label()).set(stats.entries as f64);
    gauge!(BYTES, "namespace" => label()).set(stats.stored_bytes as f64);
}
