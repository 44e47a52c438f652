//! The cache for applications' tests: what it keeps count of, and how its clock and its faults act.

use std::time::Duration;

use cacheness::{Error, ErrorKind, PutOptions, Registry};
use cacheness_testkit::chaos::Damage;
use cacheness_testkit::{Call, Operation, TestCache};

fn down() -> Error {
    Error::new(ErrorKind::Unavailable, "the cache is down")
}

// shows: row U44
#[test]
fn calls_hits_and_misses_are_counted() {
    let test = cacheness_testkit::cache();
    let cache = test.blocking();
    assert!(test.calls().is_empty());
    assert_eq!(cache.get::<i32, _>("a").unwrap(), None);
    cache.put("a", &1).unwrap();
    assert_eq!(cache.get("a").unwrap(), Some(1));
    cache.namespace("other").unwrap().put("b", &2).unwrap();
    assert!(cache.touch("a").unwrap());
    assert!(cache.remove("a").unwrap());
    cache.clear().unwrap();
    assert_eq!((test.hits(), test.misses()), (1, 1));
    let expected = [
        Call::new(Operation::Lookup, "default", "a"),
        Call::new(Operation::Put, "default", "a"),
        Call::new(Operation::Lookup, "default", "a"),
        Call::new(Operation::Put, "other", "b"),
        Call::new(Operation::Touch, "default", "a"),
        Call::new(Operation::Remove, "default", "a"),
    ];
    assert_eq!(test.calls()[..6], expected);
    assert_eq!(test.calls()[6].to_string(), "clear default");
    assert_eq!(test.keys(Operation::Put), ["a", "b"]);
    assert_eq!((test.count(Operation::Lookup), test.count(Operation::List)), (2, 0));
    test.forget_calls();
    assert!(test.calls().is_empty());
    assert_eq!(test.hits(), 1);
}

#[test]
fn a_batch_counts_as_each_of_its_keys() {
    let test = cacheness_testkit::cache();
    let cache = test.blocking();
    cache.put_many([("a", &1), ("b", &2)], PutOptions::new()).unwrap();
    let got: Vec<Option<i32>> = cache.get_many(&["b", "c"]).unwrap();
    assert_eq!(got, [Some(2), None]);
    assert_eq!(test.keys(Operation::Put), ["a", "b"]);
    assert_eq!(test.keys(Operation::Lookup), ["b", "c"]);
    assert_eq!((test.hits(), test.misses()), (1, 1));
}

#[tokio::test]
async fn both_faces_are_one_cache_also_on_a_runtime() {
    let test = cacheness_testkit::cache();
    test.cache().put("a", &1).await.unwrap();
    assert_eq!(test.blocking().get("a").unwrap(), Some(1));
    assert_eq!(test.hits(), 1);
}

#[test]
fn a_ttl_ends_when_the_test_says_so() {
    let test = cacheness_testkit::cache();
    let cache = test.blocking();
    cache.put_with("a", &1, PutOptions::ttl(Duration::from_secs(60))).unwrap();
    test.clock().advance(Duration::from_secs(59));
    assert_eq!(cache.get("a").unwrap(), Some(1));
    test.clock().advance(Duration::from_secs(1));
    assert_eq!(cache.get::<i32, _>("a").unwrap(), None);
}

#[test]
fn the_nth_call_of_a_method_fails_counted_from_now() {
    let test = cacheness_testkit::cache();
    let cache = test.blocking();
    cache.put("a", &1).unwrap();
    test.chaos().fail_call_of("apply", 2, down());
    cache.put("a", &2).unwrap();
    assert_eq!(cache.put("a", &3).unwrap_err().kind(), ErrorKind::Unavailable);
    cache.put("a", &4).unwrap();
    assert_eq!(cache.get("a").unwrap(), Some(4));
}

#[test]
fn damage_to_small_and_large_values_is_a_counted_miss() {
    for value in [vec![7_u8; 10], vec![7; 100_000]] {
        for damage in [Damage::FlipBit(3), Damage::CutTo(5), Damage::Zeros] {
            let test = cacheness_testkit::cache();
            let cache = test.blocking();
            cache.put("a", &value).unwrap();
            test.chaos().damage(Some(damage));
            assert_eq!(cache.get::<Vec<u8>, _>("a").unwrap(), None, "{damage:?}");
            test.chaos().damage(None);
            assert_eq!(test.blocking().total_stats().unwrap().counters.errors, 1);
            assert_eq!(test.keys(Operation::Remove), ["a"], "damage that was found is removed");
        }
    }
}

#[test]
fn a_registry_without_the_memory_backends_is_an_error() {
    let error = TestCache::compose(Registry::empty(), |builder| builder).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotRegistered);
}
