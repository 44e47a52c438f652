//! Why an entry may be served, and when it may not.

use std::path::Path;
use std::time::Duration;

use cacheness_core::{EntryState, ErrorKind, FileCheck, FileSource, Namespace, PutOptions, ValidityMode};

use crate::cache::CacheSubject;

const MINUTE: Duration = Duration::from_secs(60);

// shows: rows 4, 71, 87, U5
pub async fn a_ttl_runs_out_at_its_time(subject: &CacheSubject) {
    let cache = subject.open().await;
    cache.put_with("k", &1, PutOptions::ttl(MINUTE)).await.unwrap();
    cache.put("stays", &2).await.unwrap();
    subject.clock.advance(MINUTE - Duration::from_nanos(1));
    assert_eq!(cache.get::<i32, _>("k").await.unwrap(), Some(1));
    subject.clock.advance(Duration::from_nanos(1));
    assert_eq!(cache.get::<i32, _>("k").await.unwrap(), None);
    assert!(!cache.contains("k").await.unwrap());
    assert_eq!(cache.peek::<i32, _>("k").await.unwrap(), None);
    assert_eq!(cache.get::<i32, _>("stays").await.unwrap(), Some(2));
    // Two hundred years; at the end of time itself, in 2262, no call to a server has any time left.
    subject.clock.advance(Duration::from_secs(200 * 365 * 24 * 60 * 60));
    assert_eq!(cache.get::<i32, _>("stays").await.unwrap(), Some(2));
}

// shows: row U5
pub async fn a_ttl_of_zero_has_run_out_already(subject: &CacheSubject) {
    let cache = subject.open().await;
    cache.put_with("k", &1, PutOptions::ttl(Duration::ZERO)).await.unwrap();
    assert_eq!(cache.get::<i32, _>("k").await.unwrap(), None);
    assert_eq!(cache.get_entry("k").await.unwrap().unwrap().state, EntryState::Expired);
    cache.put_with("for ever", &1, PutOptions::ttl(Duration::MAX)).await.unwrap();
    assert_eq!(cache.get::<i32, _>("for ever").await.unwrap(), Some(1));
}

pub async fn defaults_come_from_the_namespace_then_the_cache(subject: &CacheSubject) {
    let builder = subject.builder().ttl(MINUTE).namespace_ttl(Namespace::new("api").unwrap(), 2 * MINUTE);
    let cache = subject.open_built(builder).await;
    let api = cache.namespace("api").unwrap();
    for cache in [&cache, &api] {
        cache.put("inherits", &1).await.unwrap();
        cache.put_with("own", &1, PutOptions::ttl(4 * MINUTE)).await.unwrap();
        cache.put_with("manual", &1, PutOptions::manual()).await.unwrap();
    }
    let left =
        async |cache: &crate::cache::AnyCache, key| cache.get_entry(key).await.unwrap().unwrap().ttl_left();
    assert_eq!(left(&cache, "inherits").await, Some(MINUTE));
    assert_eq!(left(&api, "inherits").await, Some(2 * MINUTE));
    assert_eq!(left(&api, "own").await, Some(4 * MINUTE));
    assert_eq!(left(&api, "manual").await, None);
}

pub async fn touch_starts_a_ttl_again(subject: &CacheSubject) {
    let cache = subject.open().await;
    cache.put_with("k", &1, PutOptions::ttl(MINUTE)).await.unwrap();
    subject.clock.advance(MINUTE / 2);
    assert!(cache.touch("k").await.unwrap());
    subject.clock.advance(MINUTE * 3 / 4);
    assert_eq!(cache.get::<i32, _>("k").await.unwrap(), Some(1));
    subject.clock.advance(MINUTE / 4);
    assert!(!cache.touch("k").await.unwrap(), "what has expired is not revived");
    assert_eq!(cache.get::<i32, _>("k").await.unwrap(), None);
}

// shows: row 87
pub async fn extend_adds_to_a_ttl(subject: &CacheSubject) {
    let cache = subject.open().await;
    cache.put_with("k", &1, PutOptions::ttl(MINUTE)).await.unwrap();
    cache.put("manual", &1).await.unwrap();
    assert!(cache.extend_ttl("k", MINUTE).await.unwrap());
    assert!(cache.extend_ttl("manual", MINUTE).await.unwrap());
    assert_eq!(cache.get_entry("k").await.unwrap().unwrap().ttl_left(), Some(2 * MINUTE));
    assert_eq!(cache.get_entry("manual").await.unwrap().unwrap().ttl_left(), None);
    assert!(!cache.extend_ttl("missing", MINUTE).await.unwrap());
}

// shows: rows 3, 11, U4
pub async fn a_changed_file_makes_a_miss(subject: &CacheSubject) {
    let cache = subject.open().await;
    let path = subject.folder().join("data.csv");
    fs_err::write(&path, "a,b\n1,2\n").unwrap();
    cache.put_with("k", &1, PutOptions::file(&path)).await.unwrap();
    let entry = cache.get_entry("k").await.unwrap().unwrap();
    assert_eq!(entry.validity.mode(), ValidityMode::File);
    assert_eq!(entry.validity.sources[0].path(), path);
    assert_eq!(cache.get::<i32, _>("k").await.unwrap(), Some(1));
    let modified = fs_err::metadata(&path).unwrap().modified().unwrap();
    fs_err::write(&path, "a,b\n1,2\n3,4\n").unwrap();
    assert_eq!(cache.get::<i32, _>("k").await.unwrap(), None);
    let state = cache.get_entry("k").await.unwrap().unwrap().state;
    assert_eq!(state, EntryState::SourceChanged(path.clone()));
    // As before by size and time: by the default check it is the same file again.
    fs_err::write(&path, "b,a\n2,1\n").unwrap();
    set_modified(&path, modified);
    assert_eq!(cache.get::<i32, _>("k").await.unwrap(), Some(1));
    set_modified(&path, modified + Duration::from_nanos(1));
    assert_eq!(cache.get::<i32, _>("k").await.unwrap(), None, "a touch counts as a change");
}

pub async fn a_missing_file_makes_a_miss_and_its_return_a_hit(subject: &CacheSubject) {
    let cache = subject.open().await;
    let (path, away) = (subject.folder().join("f"), subject.folder().join("away"));
    fs_err::write(&path, "x").unwrap();
    cache.put_with("k", &1, PutOptions::file(&path)).await.unwrap();
    fs_err::rename(&path, &away).unwrap();
    assert_eq!(cache.get::<i32, _>("k").await.unwrap(), None);
    assert_eq!(cache.get_entry("k").await.unwrap().unwrap().state, EntryState::SourceMissing(path.clone()));
    fs_err::rename(&away, &path).unwrap();
    assert_eq!(cache.get::<i32, _>("k").await.unwrap(), Some(1));
}

// shows: row U4
pub async fn content_decides_where_it_is_asked_for(subject: &CacheSubject) {
    let cache = subject.open().await;
    let path = subject.folder().join("f");
    fs_err::write(&path, "one").unwrap();
    let modified = fs_err::metadata(&path).unwrap().modified().unwrap();
    let options = || PutOptions::new().with_file_by(&path, FileCheck::Content);
    cache.put_with("k", &1, options()).await.unwrap();
    for i in 1..4 {
        set_modified(&path, modified + i * MINUTE);
        assert_eq!(cache.get::<i32, _>("k").await.unwrap(), Some(1), "a touch is no change of content");
        assert_eq!(cache.get::<i32, _>("k").await.unwrap(), Some(1));
    }
    fs_err::write(&path, "two").unwrap();
    assert_eq!(cache.get::<i32, _>("k").await.unwrap(), None, "other content of the same size");
    fs_err::write(&path, "one").unwrap();
    set_modified(&path, modified + 9 * MINUTE);
    assert_eq!(cache.get::<i32, _>("k").await.unwrap(), Some(1));
}

// shows: rows 6, U7
pub async fn conditions_combine(subject: &CacheSubject) {
    let cache = subject.open().await;
    let paths = ["a", "b"].map(|name| subject.folder().join(name));
    for path in &paths {
        fs_err::write(path, "x").unwrap();
    }
    let options = || PutOptions::ttl(MINUTE).with_file(&paths[0]).with_file(&paths[1]);
    cache.put_with("k", &1, options()).await.unwrap();
    assert_eq!(cache.get_entry("k").await.unwrap().unwrap().validity.mode(), ValidityMode::FileAndTtl);
    assert_eq!(cache.get::<i32, _>("k").await.unwrap(), Some(1));
    fs_err::write(&paths[1], "xx").unwrap();
    assert_eq!(cache.get::<i32, _>("k").await.unwrap(), None, "one of two files has changed");
    cache.put_with("k", &1, options()).await.unwrap();
    subject.clock.advance(MINUTE);
    assert_eq!(cache.get::<i32, _>("k").await.unwrap(), None, "the TTL has run out");
    assert_eq!(cache.get_entry("k").await.unwrap().unwrap().state, EntryState::Expired);
}

pub async fn a_file_is_looked_at_again_after_the_interval(subject: &CacheSubject) {
    let cache = subject.open_built(subject.builder().file_check_interval(MINUTE)).await;
    let path = subject.folder().join("f");
    fs_err::write(&path, "x").unwrap();
    cache.put_with("k", &1, PutOptions::file(&path)).await.unwrap();
    assert_eq!(cache.get::<i32, _>("k").await.unwrap(), Some(1));
    fs_err::write(&path, "xx").unwrap();
    subject.clock.advance(MINUTE - Duration::from_nanos(1));
    assert_eq!(cache.get::<i32, _>("k").await.unwrap(), Some(1), "not looked at within the interval");
    subject.clock.advance(Duration::from_nanos(1));
    assert_eq!(cache.get::<i32, _>("k").await.unwrap(), None);
}

pub async fn a_source_that_is_missing_cannot_be_captured(subject: &CacheSubject) {
    let cache = subject.open().await;
    let path = subject.folder().join("missing");
    let error = cache.put_with("k", &1, PutOptions::file(&path)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("missing"), "{error}");
    assert!(cache.get_entry("k").await.unwrap().is_none());
    // A file that changes after it was captured and before the put is noticed.
    fs_err::write(&path, "x").unwrap();
    let source = FileSource::capture(&path).unwrap();
    fs_err::write(&path, "xx").unwrap();
    cache.put_with("k", &1, PutOptions::new().with_source(source)).await.unwrap();
    assert_eq!(cache.get::<i32, _>("k").await.unwrap(), None);
}

// shows: rows 16, U10
pub async fn invalid_entries_stay_until_purged(subject: &CacheSubject) {
    let cache = subject.open().await;
    let path = subject.folder().join("f");
    fs_err::write(&path, "x").unwrap();
    cache.put_with("ttl", &1, PutOptions::ttl(MINUTE)).await.unwrap();
    cache.put_with("file", &1, PutOptions::file(&path)).await.unwrap();
    cache.put_with("blob", &vec![0_u8; 100_000], PutOptions::ttl(MINUTE)).await.unwrap();
    cache.put("manual", &1).await.unwrap();
    fs_err::write(&path, "xx").unwrap();
    subject.clock.advance(MINUTE);
    for key in ["ttl", "file", "blob"] {
        assert!(!cache.contains(key).await.unwrap());
    }
    assert_eq!(cache.stats().await.unwrap().entries, 4, "a get purges nothing");
    let report = cache.purge().await.unwrap();
    assert_eq!((report.expired, report.stale), (2, 1));
    let stats = cache.stats().await.unwrap();
    assert_eq!((stats.entries, stats.counters.expirations, stats.counters.removals), (1, 3, 0));
    assert!(cache.contains("manual").await.unwrap());
    assert_eq!(cache.purge().await.unwrap().expired, 0);
}

fn set_modified(path: &Path, to: std::time::SystemTime) {
    let file = fs_err::OpenOptions::new().write(true).open(path).unwrap();
    file.file().set_modified(to).unwrap();
}
