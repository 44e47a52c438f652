//! What a cache tells of itself: events to a listener, logs as JSON, and metrics.
//!
//! `cargo run --example observability --features metrics`. `docs/observability.md` explains each of the three.

#![allow(clippy::print_stdout, reason = "a program that shows something")]

use cacheness::blocking::Cache;
use cacheness::{Event, Limits};
use metrics_util::debugging::{DebugValue, DebuggingRecorder};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Logs: one JSON object a line. A program in production would take level INFO, which shows no keys.
    tracing_subscriber::fmt().json().with_max_level(tracing::Level::DEBUG).init();
    // Metrics: this recorder keeps them for us to print; an exporter's recorder is installed in its place.
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    recorder.install()?;

    let cache = Cache::builder()
        .limits(Limits::unbounded().max_entries(2))
        .listener(|event| match event {
            Event::Put { key, handler, stored_size, .. } => {
                println!("event: {key} was put by {handler}, {stored_size} bytes");
            }
            Event::Hit { key, bytes, .. } => println!("event: {key} was a hit of {bytes} bytes"),
            Event::Miss { key, reason, .. } => println!("event: {key} was a miss: {reason}"),
            Event::Evict { key, .. } => println!("event: {key} made room"),
            other => println!("event: {}", other.name()),
        })
        .open_blocking()?;

    cache.put("answer", &42)?;
    let answer: Option<i32> = cache.get("answer")?;
    assert_eq!(answer, Some(42));
    let nothing: Option<i32> = cache.get("question")?;
    assert_eq!(nothing, None);
    for key in ["first", "second"] {
        cache.put(key, "some text")?;
    }
    cache.stats()?; // sets the gauges
    cache.close()?; // waits for the listener

    for (key, _, _, value) in snapshotter.snapshot().into_vec() {
        let labels: Vec<String> =
            key.key().labels().map(|label| format!("{}={:?}", label.key(), label.value())).collect();
        let name = key.key().name();
        match value {
            DebugValue::Counter(0) => {}
            DebugValue::Counter(count) => println!("metric: {name}{{{}}} {count}", labels.join(",")),
            DebugValue::Gauge(gauge) => println!("metric: {name}{{{}}} {gauge}", labels.join(",")),
            DebugValue::Histogram(times) => {
                println!("metric: {name}{{{}}} {} times", labels.join(","), times.len())
            }
        }
    }
    Ok(())
}
