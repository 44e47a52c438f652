//! Counters and times for the `metrics` facade. Without the feature `metrics` nothing is counted and no time taken.

#[cfg(not(feature = "metrics"))]
#[path = "off.rs"]
mod facade;
#[cfg(feature = "metrics")]
#[path = "on.rs"]
mod facade;

pub(crate) use facade::{
    Meters, Started, backend_state, describe, error, events_dropped, evicted, expired, totals, write_dropped,
    writes_queued,
};
