//! Counters of this process that have not been written down yet, per namespace.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::metric::Meters;
use crate::names::Namespace;
use crate::stats::Counters;

/// The part of a namespace that every handle to it in this process shares.
#[derive(Debug)]
pub(crate) struct Tenant {
    pub(crate) namespace: Namespace,
    pub(crate) counts: Counts,
    pub(crate) meters: Meters,
}

/// Events since the last flush. Each is one relaxed addition, so that a hit takes no lock.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) hits: AtomicU64,
    pub(crate) misses: AtomicU64,
    pub(crate) puts: AtomicU64,
    pub(crate) removals: AtomicU64,
    pub(crate) expirations: AtomicU64,
    pub(crate) errors: AtomicU64,
    pub(crate) bytes_out: AtomicU64,
    pub(crate) bytes_in: AtomicU64,
}

impl Counts {
    fn take(&self) -> Counters {
        Self::counters(self, |count| count.swap(0, Ordering::Relaxed))
    }

    fn read(&self) -> Counters {
        Self::counters(self, |count| count.load(Ordering::Relaxed))
    }

    fn counters(&self, take: impl Fn(&AtomicU64) -> u64) -> Counters {
        Counters {
            hits: take(&self.hits),
            misses: take(&self.misses),
            puts: take(&self.puts),
            removals: take(&self.removals),
            // Evictions are counted by the backend, in the transaction that makes them.
            evictions: 0,
            expirations: take(&self.expirations),
            errors: take(&self.errors),
            bytes_out: take(&self.bytes_out),
            bytes_in: take(&self.bytes_in),
        }
    }

    fn put_back(&self, counters: &Counters) {
        let add = |count: &AtomicU64, more: u64| {
            count.fetch_add(more, Ordering::Relaxed);
        };
        add(&self.hits, counters.hits);
        add(&self.misses, counters.misses);
        add(&self.puts, counters.puts);
        add(&self.removals, counters.removals);
        add(&self.expirations, counters.expirations);
        add(&self.errors, counters.errors);
        add(&self.bytes_out, counters.bytes_out);
        add(&self.bytes_in, counters.bytes_in);
    }
}

/// The namespaces that this process uses.
#[derive(Debug, Default)]
pub(super) struct Tenants(Mutex<HashMap<Namespace, Arc<Tenant>>>);

impl Tenants {
    pub(super) fn get(&self, namespace: &Namespace) -> Arc<Tenant> {
        let mut tenants = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tenant) = tenants.get(namespace) {
            return tenant.clone();
        }
        let tenant = Arc::new(Tenant {
            namespace: namespace.clone(),
            counts: Counts::default(),
            meters: Meters::of(namespace),
        });
        tenants.insert(namespace.clone(), tenant.clone());
        tenant
    }

    /// Takes all counts, and forgets the namespaces that no handle is bound to.
    pub(super) fn drain(&self) -> Vec<(Namespace, Counters)> {
        let mut drained = Vec::new();
        let mut tenants = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tenants.retain(|namespace, tenant| {
            // Asked before the counts are taken: a handle that is dropped in between has counted by then, and nobody
            // can make a new one while the map is locked.
            let in_use = Arc::strong_count(tenant) > 1;
            std::sync::atomic::fence(Ordering::Acquire);
            let counters = tenant.counts.take();
            if !counters.is_zero() {
                drained.push((namespace.clone(), counters));
            }
            in_use
        });
        drained
    }

    /// Adds the counts of one namespace, or of all.
    pub(super) fn add_pending(&self, namespace: Option<&Namespace>, counters: &mut Counters) {
        let tenants = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match namespace {
            Some(namespace) => {
                if let Some(tenant) = tenants.get(namespace) {
                    counters.add(&tenant.counts.read());
                }
            }
            None => tenants.values().for_each(|tenant| counters.add(&tenant.counts.read())),
        }
    }

    /// Puts counts back that could not be written down.
    pub(super) fn restore(&self, counters: &[(Namespace, Counters)]) {
        for (namespace, counters) in counters {
            self.get(namespace).counts.put_back(counters);
        }
    }
}

/// Adds to a counter.
pub(super) fn add(count: &AtomicU64, more: u64) {
    count.fetch_add(more, Ordering::Relaxed);
}
