//! Changes that hold only of what the first store has: they are made there or are an error, and never passed over.

use std::sync::mpsc::channel;
use std::time::Duration;

use cacheness::blocking::Cache;
use cacheness::{Error, ErrorKind, ListOptions, PutOptions};

use super::{Two, get, large, until};

const SECOND: Duration = Duration::from_secs(1);

fn down() -> Error {
    Error::new(ErrorKind::Unavailable, "the server is down")
}

/// A cache whose blobs are down, which it knows, and whose first store has entries with these keys and a tag.
fn without_blobs(keys: &[&str]) -> (Two, Cache) {
    let two = Two::new();
    let cache = two.open();
    for key in keys {
        cache.put_with(*key, &large(1), PutOptions::ttl(100 * SECOND).tag("t")).unwrap();
    }
    two.blobs.fail_all(Some(down()));
    cache.put("unrelated", &large(2)).unwrap();
    (two, cache)
}

/// What a call gives, which must come to an end.
fn in_time<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> T {
    let (told, heard) = channel();
    std::thread::spawn(move || told.send(call()));
    heard.recv_timeout(20 * SECOND).expect("it goes on for ever")
}

#[test]
fn a_touch_of_what_only_the_first_store_has_is_made_there_while_its_blobs_are_down() {
    let (two, cache) = without_blobs(&["k"]);
    let touching = cache.clone();
    assert!(in_time(move || touching.extend_ttl("k", 1_000 * SECOND)).unwrap());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let touching: cacheness::Cache = cache.clone().into();
    assert!(in_time(move || runtime.block_on(touching.extend_ttl("k", 1_000 * SECOND))).unwrap());
    two.up();
    two.clock.advance(1_500 * SECOND);
    assert_eq!(get(&two.elsewhere(), "k"), Some(large(1)));
}

#[test]
fn a_touch_that_the_first_store_does_not_answer_is_an_error() {
    let (two, cache) = without_blobs(&["k"]);
    two.entries.fail_next("apply", down());
    let touching = cache.clone();
    let error = in_time(move || touching.touch("k")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    two.entries.fail_all(Some(down()));
    let touching = cache.clone();
    assert!(!in_time(move || touching.touch("k")).unwrap(), "while all is down it is not there");
}

#[test]
fn what_is_removed_by_its_tag_while_blobs_are_down_is_gone_for_everybody() {
    let (two, cache) = without_blobs(&["a", "b", "c"]);
    cache.put_with("c", &large(3), PutOptions::new().tag("t")).unwrap();
    assert_eq!(cache.remove_matching(ListOptions::new().tag("t")).unwrap(), 3);
    let keys = ["a", "b", "c"];
    let elsewhere = two.elsewhere();
    let all_are_gone = |cache: &Cache| keys.iter().all(|key| get(cache, key).is_none());
    assert!(all_are_gone(&cache) && get(&elsewhere, "a").is_none() && get(&elsewhere, "b").is_none());
    two.up();
    two.meet();
    assert!(all_are_gone(&cache) && all_are_gone(&elsewhere));
    drop((cache, elsewhere));
    two.is_whole();
}

#[test]
fn removing_by_a_tag_is_an_error_while_nobody_knows_what_has_it() {
    let two = Two::new();
    let cache = two.open();
    cache.put_with("k", &large(1), PutOptions::new().tag("t")).unwrap();
    two.down();
    cache.put_with("here", &large(1), PutOptions::new().tag("t")).unwrap();
    let tagged = || ListOptions::new().tag("t");
    assert_eq!(cache.remove_matching(tagged()).unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(cache.list(tagged()).unwrap().entries.len(), 1, "a mere listing has what there is");
    two.up();
    two.meet();
    assert_eq!(cache.remove_matching(tagged()).unwrap(), 2);
}

#[test]
fn a_copy_that_is_put_after_a_clear_stays_though_its_value_is_older() {
    let two = Two::new();
    let cache = two.open();
    let tenant = cache.namespace("tenant").unwrap();
    for key in ["small", "large", "gone"] {
        tenant.put(key, &7).unwrap();
    }
    tenant.put("large", &large(1)).unwrap();
    let copies = ["small", "large"].map(|key| tenant.get_raw(key).unwrap().unwrap());
    two.down();
    tenant.clear().unwrap();
    // It answers again, and the clear cannot be brought yet.
    (0..3).for_each(|_| {
        two.entries.fail_next("list_entries", Error::new(ErrorKind::StorageFull, "no room to sort"))
    });
    two.up();
    let listed = two.entries.calls_of("list_entries");
    until(|| two.entries.calls_of("list_entries") > listed);
    copies.into_iter().for_each(|copy| drop(tenant.put_raw(copy).unwrap()));
    let is_there = |tenant: &Cache| {
        assert_eq!(tenant.get("small").unwrap(), Some(7));
        assert_eq!(get(tenant, "large"), Some(large(1)));
        assert_eq!(get(tenant, "gone"), None);
    };
    is_there(&tenant);
    two.meet();
    is_there(&tenant);
    is_there(&two.elsewhere().namespace("tenant").unwrap());
    drop((cache, tenant));
    two.is_whole();
}
