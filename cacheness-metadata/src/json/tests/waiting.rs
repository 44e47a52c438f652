//! What waits for the lock or for the disk, and what does not.

use std::time::{Duration, Instant};

use cacheness_core::{Durability, ErrorKind};
use cacheness_testkit::TestClock;

use super::*;

#[test]
fn a_lock_that_another_keeps_ends_a_write_by_the_timeout_and_no_read_that_needs_nothing_new() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index.json");
    let store =
        Store::open(path, &Settings { busy_timeout: Duration::from_millis(50) }, &context(folder.path()))
            .unwrap();
    store.write(setting("a", "1")).unwrap();
    let other = fs_err::File::open(folder.path().join("index.json.lock")).unwrap();
    other.file().lock().unwrap();
    let begun = Instant::now();
    let error = store.write(setting("a", "2")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(error.to_string().contains("index.json.lock"), "{error}");
    assert!((Duration::from_millis(50)..Duration::from_secs(20)).contains(&begun.elapsed()));
    assert_eq!(value(&store, "a").as_deref(), Some("1"));
    other.file().unlock().unwrap();
    store.write(setting("a", "3")).unwrap();
    assert_eq!(value(&store, "a").as_deref(), Some("3"));
}

#[test]
fn a_write_is_synced_at_once_where_it_must_survive_a_loss_of_power_and_within_a_minute_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let open = |durability| {
        let context = OpenContext::new(clock.env()).with_durability(durability);
        Store::open(
            folder.path().join("index.json"),
            &Settings { busy_timeout: Duration::from_secs(1) },
            &context,
        )
        .unwrap()
    };
    let store = open(Durability::Process);
    store.write(setting("a", "1")).unwrap();
    clock.advance(Duration::from_secs(29));
    assert!(!store.owes_sync().unwrap());
    clock.advance(Duration::from_secs(1));
    assert!(store.owes_sync().unwrap());
    store.catch_up().unwrap();
    clock.advance(Duration::from_secs(60));
    assert!(!store.owes_sync().unwrap(), "it has been synced");
    store.write(setting("a", "2")).unwrap();
    store.write(setting("a", "3")).unwrap();
    assert!(!store.owes_sync().unwrap(), "they have just been made");
    clock.advance(Duration::from_secs(60));
    assert!(store.owes_sync().unwrap());
    store.write(setting("a", "4")).unwrap();
    clock.advance(Duration::from_secs(60));
    assert!(!store.owes_sync().unwrap(), "a write syncs what is due, and itself with it");

    let careful = open(Durability::Power);
    careful.write(setting("b", "1")).unwrap();
    clock.advance(Duration::from_secs(60));
    assert!(!careful.owes_sync().unwrap());
}

#[test]
fn a_failed_condition_changes_nothing_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (store, other) = (open_rows(folder.path()).unwrap(), open_rows(folder.path()).unwrap());
    other.write(setting("a", "1")).unwrap();
    let before = fs_err::read(folder.path().join("index.json.journal")).unwrap();
    let absent = vec![(Bytes::from_static(b"a"), None)];
    assert!(!store.write(WriteBatch { conditions: absent, ..setting("a", "2") }).unwrap());
    assert_eq!(fs_err::read(folder.path().join("index.json.journal")).unwrap(), before);
    let there = vec![(Bytes::from_static(b"a"), Some(Bytes::from_static(b"1")))];
    assert!(store.write(WriteBatch { conditions: there, ..setting("a", "2") }).unwrap());
    assert_eq!(value(&other, "a").as_deref(), Some("2"));
}

#[test]
fn nothing_can_be_done_after_a_close() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_rows(folder.path()).unwrap();
    store.close();
    assert_eq!(store.write(setting("a", "1")).unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(store.read_current(|_| ()).unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(store.catch_up().unwrap_err().kind(), ErrorKind::Closed);
}
