//! Spans and events of `tracing`: their fields, and what they keep to themselves.

use std::io::Write;
use std::sync::{Arc, Mutex};

use cacheness::{Error, ErrorKind, PutOptions, blocking};
use serde_json::Value;
use tracing::Level;

use super::Watched;

const SECRET: &str = "hunter2";

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What is logged as JSON, one object a line, while `work` runs on this thread.
fn logged(level: Level, work: impl FnOnce()) -> (String, Vec<Value>) {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .with_max_level(level)
        .with_span_events(tracing_subscriber::fmt::format::FmtSpan::CLOSE)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, work);
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (text, lines)
}

fn work() {
    let watched = Watched::new();
    let cache: blocking::Cache = watched.builder.clone().open_blocking().unwrap();
    let cache = cache.namespace("team").unwrap();
    cache.put("the-key", SECRET).unwrap();
    let value: Option<String> = cache.get("the-key").unwrap();
    assert_eq!(value.as_deref(), Some(SECRET));
    assert_eq!(cache.get::<u8, _>("the-key-of-nothing").unwrap(), None);
    // Text where a number is asked for: the decoder's own message quotes the text.
    cache.put_with("the-key", &SECRET.to_owned(), PutOptions::new().handler("msgpack")).unwrap();
    assert_eq!(cache.get::<u8, _>("the-key").unwrap(), None);
    watched.metadata.fail_next("get_entry", Error::new(ErrorKind::Unavailable, "the server is down"));
    assert_eq!(cache.get::<u8, _>("the-key").unwrap(), None);
    watched.blobs.fail_next("put", Error::new(ErrorKind::StorageFull, "the disk is full"));
    assert!(cache.put("the-key", "x").is_err());
    assert!(cache.remove("the-key").unwrap());
    cache.close().unwrap();
}

/// The lines with this message.
fn with_message<'a>(lines: &'a [Value], message: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["fields"]["message"] == message).collect()
}

// shows: rows 66, 109
#[test]
fn operations_are_logged_as_json_with_namespace_handler_bytes_and_outcome() {
    let (text, lines) = logged(Level::DEBUG, work);
    let put = with_message(&lines, "put")[0];
    let expected = serde_json::json!({
        "message": "put", "namespace": "team", "key": "the-key", "handler": "text",
        "bytes": 7, "size": 7, "outcome": "stored",
    });
    assert_eq!(put["fields"], expected);
    assert_eq!((&put["level"], &put["target"]), (&"DEBUG".into(), &"cacheness".into()));
    let gets = with_message(&lines, "get");
    assert_eq!(gets[0]["fields"]["outcome"], "hit");
    assert_eq!((&gets[0]["fields"]["handler"], &gets[0]["fields"]["bytes"]), (&"text".into(), &7.into()));
    assert_eq!(gets[1]["fields"]["outcome"], "miss");
    assert_eq!(gets[1]["fields"]["reason"], "absent");
    assert_eq!(gets[2]["fields"]["reason"], "decode");
    assert_eq!(gets[3]["fields"]["reason"], "backend_error");
    let closed: Vec<&Value> = with_message(&lines, "close").into_iter().map(|line| &line["span"]).collect();
    let span = |name: &str, outcome: &str| {
        let found = closed.iter().find(|span| span["name"] == name && span["outcome"] == outcome);
        *found.unwrap_or_else(|| panic!("no span {name} with {outcome} in:\n{text}"))
    };
    let (put, get) = (span("put", "stored"), span("get", "hit"));
    for span in [put, get] {
        assert_eq!((&span["namespace"], &span["key"]), (&"team".into(), &"the-key".into()));
        assert_eq!((&span["handler"], &span["bytes"]), (&"text".into(), &7.into()));
    }
    span("get", "miss");
    span("put", "error");
    span("remove", "removed");
    assert!(!text.contains(SECRET), "a value was logged:\n{text}");
}

#[test]
fn above_debug_there_are_failures_and_rare_things_and_no_keys() {
    let (text, lines) = logged(Level::INFO, work);
    assert!(!text.contains("the-key") && !text.contains(SECRET), "{text}");
    let messages: Vec<(&str, &str)> = lines
        .iter()
        .map(|line| (line["level"].as_str().unwrap(), line["fields"]["message"].as_str().unwrap()))
        .collect();
    let expected = [
        ("INFO", "opened"),
        ("WARN", "a value could not be read: a miss"),
        ("WARN", "a backend failed"),
        ("WARN", "a value could not be read: a miss"),
        ("WARN", "a backend failed"),
        ("INFO", "closed"),
    ];
    assert_eq!(messages, expected, "{text}");
    assert_eq!(lines[1]["fields"]["reason"], "decode");
    assert_eq!(lines[2]["fields"]["operation"], "get");
    assert_eq!(lines[2]["fields"]["namespace"], "team");
}

#[cfg(feature = "json")]
#[test]
fn what_a_decoder_quotes_of_a_value_is_not_logged() {
    let (text, lines) = logged(Level::INFO, || {
        let cache: blocking::Cache = Watched::new().builder.open_blocking().unwrap();
        cache.put_with("the-key", &SECRET.to_owned(), PutOptions::new().handler("json")).unwrap();
        assert_eq!(cache.get::<u8, _>("the-key").unwrap(), None);
    });
    assert_eq!(with_message(&lines, "a value could not be read: a miss").len(), 1, "{text}");
    assert!(!text.contains(SECRET), "a value was logged:\n{text}");
}

#[test]
fn a_callers_span_is_left_alone() {
    let (_, lines) = logged(Level::INFO, || {
        let span =
            tracing::info_span!("mine", outcome = tracing::field::Empty, handler = tracing::field::Empty);
        span.in_scope(work);
    });
    let mine = with_message(&lines, "close");
    let mine = mine.iter().find(|line| line["span"]["name"] == "mine").expect("the caller's span closes");
    assert_eq!(mine["span"], serde_json::json!({ "name": "mine" }));
}
