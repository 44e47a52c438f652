//! The queue and its thread, without a cache around them.

use std::sync::mpsc;
use std::sync::{Arc, Mutex};

use super::*;

fn event(number: u64) -> Event {
    Event::Clear { namespace: Namespace::default(), entries: number }
}

fn number(event: &Event) -> u64 {
    match event {
        Event::Clear { entries, .. } => *entries,
        other => panic!("{other:?} was not sent"),
    }
}

fn start(listener: impl Fn(&Event) + Send + Sync + 'static) -> Arc<Delivery> {
    let mut listeners = Listeners::default();
    listeners.add(listener);
    Delivery::start(listeners).unwrap()
}

#[test]
fn closing_delivers_what_is_queued_in_its_order() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let told = seen.clone();
    let delivery = start(move |event| told.lock().unwrap().push(number(event)));
    (0..5_000).for_each(|i| delivery.send(event(i)));
    delivery.close();
    assert_eq!(*seen.lock().unwrap(), (0..5_000).collect::<Vec<_>>());
    assert_eq!(delivery.dropped(), 0);
    delivery.close();
    delivery.send(event(0));
    assert_eq!(delivery.dropped(), 1, "after closing nothing is taken");
}

#[test]
fn a_full_queue_drops_and_counts_and_nothing_is_lost_otherwise() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let seen = Arc::new(Mutex::new(0_u64));
    let told = seen.clone();
    let delivery = start(move |_| {
        let _ = wait.lock().unwrap().recv();
        *told.lock().unwrap() += 1;
    });
    (0..100_000).for_each(|i| delivery.send(event(i)));
    let dropped = delivery.dropped();
    assert!((100_000 - 8193..=100_000 - 8192).contains(&dropped), "{dropped}");
    drop(go);
    delivery.close();
    assert_eq!(*seen.lock().unwrap() + delivery.dropped(), 100_000);
}

#[test]
fn a_listener_that_panics_goes_on_with_the_next_event() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let told = seen.clone();
    let delivery = start(move |event| {
        assert_ne!(number(event) % 2, 0, "an even number");
        told.lock().unwrap().push(number(event));
    });
    (0..6).for_each(|i| delivery.send(event(i)));
    delivery.close();
    assert_eq!(*seen.lock().unwrap(), [1, 3, 5]);
}

#[test]
fn closing_gives_up_on_a_listener_that_never_returns() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let delivery = start(move |_| {
        let _ = wait.lock().unwrap().recv();
    });
    (0..10).for_each(|i| delivery.send(event(i)));
    let started = std::time::Instant::now();
    delivery.close();
    assert!(started.elapsed() < std::time::Duration::from_secs(8));
    drop(go);
}
