//! The same calls as with the feature, and nothing behind them.

use crate::error::ErrorKind;
use crate::events::{ExpireReason, MissReason};
use crate::metadata::EvictionReason;
use crate::names::Namespace;
use crate::resilience::{BackendRole, HealthState};
use crate::stats::Stats;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Started;

impl Started {
    pub(crate) fn now() -> Self {
        Self
    }
}

#[derive(Debug)]
pub(crate) struct Meters;

impl Meters {
    pub(crate) fn of(_: &Namespace) -> Self {
        Self
    }

    pub(crate) fn hit(&self) {}

    pub(crate) fn miss(&self, _: MissReason) {}

    pub(crate) fn put(&self) {}

    pub(crate) fn removed(&self, _: u64) {}

    pub(crate) fn read(&self, _: u64) {}

    pub(crate) fn written(&self, _: u64) {}

    pub(crate) fn got(&self, _: Started) {}

    pub(crate) fn stored(&self, _: Started) {}
}

pub(crate) fn describe() {}

pub(crate) fn evicted(_: &Namespace, _: EvictionReason) {}

pub(crate) fn expired(_: &Namespace, _: ExpireReason) {}

pub(crate) fn error(_: &Namespace, _: ErrorKind) {}

pub(crate) fn events_dropped(_: u64) {}

pub(crate) fn backend_state(_: BackendRole, _: &str, _: HealthState) {}

pub(crate) fn write_dropped(_: &Namespace) {}

pub(crate) fn writes_queued(_: u64) {}

pub(crate) fn totals(_: &Namespace, _: &Stats) {}
