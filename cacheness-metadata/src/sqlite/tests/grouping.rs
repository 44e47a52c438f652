//! Grouped commits: concurrent callers share a transaction, and each gets its own result.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use cacheness_core::{ErrorKind, Limits};

use super::{open_store, put, shared, subject};
use crate::sqlite::{reader, writer};

const CALLERS: usize = 8;

#[test]
fn callers_that_wait_together_are_written_in_one_transaction() {
    let subject = subject();
    let store = shared(open_store(subject.folder()).unwrap());
    let held = store.lock_writer().unwrap();
    let before = store.transactions.load(Ordering::Relaxed);
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS)
            .map(|i| {
                let (store, changes) = (store.clone(), put(&subject, &format!("{i}")));
                scope.spawn(move || writer::apply(&store, changes))
            })
            .collect();
        wait_for(|| store.queue.len() == CALLERS);
        drop(held);
        for caller in callers {
            assert!(caller.join().unwrap().unwrap()[0].applied);
        }
    });
    assert_eq!(store.transactions.load(Ordering::Relaxed) - before, 1, "all of them are one commit");
    assert_eq!(store.read(|session| reader::stats(session, None)).unwrap().entries, CALLERS as u64);
}

#[test]
fn a_caller_that_fails_does_not_take_the_others_along() {
    let subject = subject();
    let store = shared(open_store(subject.folder()).unwrap());
    let limits = Limits::unbounded().max_bytes(1_000).into();
    store.write(|transaction| transaction.change_limits(&limits)).unwrap();
    let held = store.lock_writer().unwrap();
    let results: Vec<_> = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS)
            .map(|i| {
                let size = if i == 3 { 1_001 } else { 10 };
                let first = subject.putting(subject.entry("default", &format!("{i} first")));
                let second = subject.putting(subject.entry_of_size("default", &format!("{i}"), size));
                let store = store.clone();
                scope.spawn(move || writer::apply(&store, vec![first, second]))
            })
            .collect();
        wait_for(|| store.queue.len() == CALLERS);
        drop(held);
        callers.into_iter().map(|caller| caller.join().unwrap()).collect()
    });
    for (i, result) in results.into_iter().enumerate() {
        match result {
            Ok(outcomes) => assert!(i != 3 && outcomes.len() == 2, "caller {i} got the result of another"),
            Err(error) => assert_eq!((i, error.kind()), (3, ErrorKind::LimitExceeded), "{error}"),
        }
    }
    let entries = store.read(|session| reader::stats(session, None)).unwrap().entries;
    assert_eq!(entries, 2 * (CALLERS as u64 - 1), "of the call that failed nothing was written");
}

#[test]
fn callers_that_wait_when_the_index_is_closed_are_told_so() {
    let subject = subject();
    let store = shared(open_store(subject.folder()).unwrap());
    let mut held = store.lock_writer().unwrap();
    std::thread::scope(|scope| {
        let (waiting, changes) = (store.clone(), put(&subject, "k"));
        let caller = scope.spawn(move || writer::apply(&waiting, changes));
        wait_for(|| store.queue.len() == 1);
        *held = None;
        drop(held);
        assert_eq!(caller.join().unwrap().unwrap_err().kind(), ErrorKind::Closed);
    });
}

#[test]
fn a_lookup_does_not_wait_for_a_writer() {
    let subject = subject();
    let store = open_store(subject.folder()).unwrap();
    writer::apply(&store, put(&subject, "k")).unwrap();
    let _held = store.lock_writer().unwrap();
    let namespace = subject.entry("default", "k").namespace;
    assert!(store.read(|session| reader::entry(session, &namespace, "k")).unwrap().is_some());
}

fn wait_for(condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(30), "what is waited for does not happen");
        std::thread::yield_now();
    }
}
