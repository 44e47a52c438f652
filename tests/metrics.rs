//! The metrics that a cache counts are those that `docs/observability.md` lists.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cacheness::blocking::Cache;
use cacheness::{CacheBuilder, Error, ErrorKind, Limits, OnWriteError, PutOptions, Registry, RemoteCalls};
use cacheness_testkit::TestClock;
use cacheness_testkit::chaos::{Chaos, ChaosMetadataFactory};
use metrics_util::MetricKind;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};

/// A metric, as the page and the recorder both describe it: its kind, and the names of its labels.
type Described = BTreeMap<String, (String, BTreeSet<String>)>;

/// A time series: its name, its labels and its value.
type Emitted = (String, Vec<(String, String)>, DebugValue);

fn kind_name(kind: MetricKind) -> &'static str {
    match kind {
        MetricKind::Counter => "counter",
        MetricKind::Gauge => "gauge",
        MetricKind::Histogram => "histogram",
    }
}

fn documented() -> Described {
    let page = include_str!("../docs/observability.md");
    let rows = page.lines().filter(|line| line.starts_with("| `cacheness_"));
    rows.map(|row| {
        let mut cells = row.split('|').map(str::trim).skip(1);
        let mut cell = || cells.next().expect("a row has four cells").to_owned();
        let (name, kind, labels) = (cell().replace('`', ""), cell(), cell());
        let labels = labels.split(',').map(|label| label.replace('`', "").trim().to_owned());
        (name, (kind, labels.filter(|label| !label.is_empty()).collect()))
    })
    .collect()
}

/// Something of everything.
fn work() {
    let (clock, chaos) = (TestClock::new(), Chaos::new());
    let builtin = Registry::builtin();
    let inner = builtin.metadata_backend("memory").unwrap().clone();
    let registry = builtin
        .with_metadata_backend(ChaosMetadataFactory::wrap_shared(inner, chaos.clone()).named("chaos"))
        .unwrap();
    let cache: Cache = CacheBuilder::new(registry)
        .metadata("chaos")
        .env(clock.env())
        .listener(|_| std::thread::sleep(Duration::from_millis(1)))
        .open_blocking()
        .unwrap();
    let team = cache.namespace("team").unwrap();
    team.put("a", "0123456789").unwrap();
    assert_eq!(team.get::<String, _>("a").unwrap().as_deref(), Some("0123456789"));
    assert_eq!(team.get::<String, _>("missing").unwrap(), None);
    chaos.fail_next("get_entry", Error::new(ErrorKind::Unavailable, "the server is down"));
    assert_eq!(team.get::<String, _>("a").unwrap(), None);
    team.put_with("short", &1, PutOptions::ttl(Duration::from_secs(1))).unwrap();
    clock.advance(Duration::from_secs(1));
    team.purge().unwrap();
    team.put("b", "x").unwrap();
    team.set_limits(Limits::unbounded().max_entries(1)).unwrap();
    assert!(team.remove("b").unwrap());
    team.put("c", "xyz").unwrap();
    team.stats().unwrap();
    team.set_limits(Limits::unbounded()).unwrap();
    // More than the queue of events holds.
    let other = cache.namespace("other").unwrap();
    (0..30_000).for_each(|_| assert_eq!(other.get::<u8, _>("missing").unwrap(), None));
    cache.close().unwrap();
    lose_a_write();
}

/// A write waits for a server that is gone, and is lost.
fn lose_a_write() {
    let chaos = Chaos::new().remote();
    let builtin = Registry::builtin();
    let inner = builtin.metadata_backend("memory").unwrap().clone();
    let far = ChaosMetadataFactory::wrap_shared(inner, chaos.clone()).named("far");
    let cache: Cache = CacheBuilder::new(builtin.with_metadata_backend(far).unwrap())
        .metadata("far")
        // Less than the pause before a second try on closing: nobody turns the clock.
        .remote(RemoteCalls::new().attempts(1).breaker_failures(1).deadline(Duration::from_millis(50)))
        .on_write_error(OnWriteError::Queue)
        .env(TestClock::new().env())
        .open_blocking()
        .unwrap();
    chaos.fail_all(Some(Error::new(ErrorKind::Unavailable, "the server is down")));
    cache.namespace("team").unwrap().put("waits", &1).unwrap();
    cache.close().unwrap_err();
}

fn value(snapshot: &[Emitted], name: &str, labels: &[(&str, &str)]) -> u64 {
    let labels: Vec<(String, String)> = labels.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
    let found = snapshot.iter().find(|(known, of, _)| known == name && *of == labels);
    match found.unwrap_or_else(|| panic!("no {name} of {labels:?} in {snapshot:?}")).2 {
        DebugValue::Counter(count) => count,
        DebugValue::Gauge(gauge) => gauge.into_inner() as u64,
        DebugValue::Histogram(ref times) => times.len() as u64,
    }
}

// shows: row 109
#[test]
fn the_page_lists_exactly_what_is_counted() {
    let recorder = DebuggingRecorder::new();
    let snapshotter: Snapshotter = recorder.snapshotter();
    recorder.install().unwrap();
    work();
    let (mut emitted, mut values) = (Described::new(), Vec::<Emitted>::new());
    for (key, _, help, value) in snapshotter.snapshot().into_vec() {
        let (kind, key) = (key.kind(), key.key());
        let labels = key.labels().map(|label| label.key().to_owned()).collect();
        assert!(help.is_some(), "{} has no description", key.name());
        let before = emitted.insert(key.name().to_owned(), (kind_name(kind).to_owned(), labels));
        assert!(before.is_none_or(|before| before == emitted[key.name()]), "{}", key.name());
        let labels = key.labels().map(|label| (label.key().to_owned(), label.value().to_owned())).collect();
        values.push((key.name().to_owned(), labels, value));
    }
    assert_eq!(emitted, documented());

    let team = &[("namespace", "team")][..];
    let with = |name: &'static str, value: &'static str| [("namespace", "team"), (name, value)];
    assert_eq!(value(&values, "cacheness_hits_total", team), 1);
    assert_eq!(value(&values, "cacheness_misses_total", &with("reason", "absent")), 1);
    assert_eq!(value(&values, "cacheness_misses_total", &with("reason", "backend_error")), 1);
    assert_eq!(value(&values, "cacheness_puts_total", team), 4);
    assert_eq!(value(&values, "cacheness_removals_total", team), 1);
    assert_eq!(value(&values, "cacheness_evictions_total", &with("reason", "limit")), 1);
    assert_eq!(value(&values, "cacheness_expirations_total", &with("reason", "ttl")), 1);
    assert_eq!(value(&values, "cacheness_errors_total", &with("kind", "unavailable")), 2);
    assert_eq!(value(&values, "cacheness_read_bytes_total", team), 10);
    assert_eq!(value(&values, "cacheness_written_bytes_total", team), 10 + 1 + 1 + 3);
    assert_eq!(value(&values, "cacheness_get_seconds", team), 3);
    assert_eq!(value(&values, "cacheness_put_seconds", team), 4);
    assert_eq!(value(&values, "cacheness_entries", team), 1);
    assert_eq!(value(&values, "cacheness_stored_bytes", team), 3);
    assert!(value(&values, "cacheness_events_dropped_total", &[]) > 0);
    assert_eq!(value(&values, "cacheness_writes_dropped_total", team), 1);
    assert_eq!(value(&values, "cacheness_writes_queued", &[]), 0);
    let far = [("role", "metadata"), ("backend", "far")];
    assert_eq!(value(&values, "cacheness_backend_state", &far), 2);
}
