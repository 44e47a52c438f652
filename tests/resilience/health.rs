//! What `health` tells.

use cacheness::{BackendRole, Cache, ErrorKind, HealthState, OnWriteError, RemoteCalls};

use super::{HANGS, Remote, SECOND, blocking, down, large};

#[tokio::test]
async fn it_follows_what_calls_have_shown_on_both_faces() {
    let remote = Remote::new();
    let calls = RemoteCalls::new().attempts(1).breaker_failures(3);
    let cache = remote.builder().remote(calls).open().await.unwrap();
    let health = cache.health().await.unwrap();
    let names = |health: &cacheness::Health| {
        health.backends.iter().map(|b| (b.role, b.backend.clone(), b.state)).collect::<Vec<_>>()
    };
    let both = |metadata| {
        let (far, away) = ("far".to_owned(), "away".to_owned());
        vec![(BackendRole::Metadata, far, metadata), (BackendRole::Blobs, away, HealthState::Ok)]
    };
    assert_eq!((health.state, names(&health)), (HealthState::Ok, both(HealthState::Ok)));
    remote.clock.advance(SECOND);
    remote.metadata.fail_all(Some(down()));
    cache.get::<u8, _>("k").await.unwrap_err();
    let health = blocking(&cache).health().unwrap();
    assert_eq!((health.state, names(&health)), (HealthState::Degraded, both(HealthState::Degraded)));
    let failed_at = remote.clock.env().now();
    let error = health.backends[0].last_error.clone().unwrap();
    assert_eq!(
        (health.backends[0].since, error.at, error.kind),
        (failed_at, failed_at, ErrorKind::Unavailable)
    );
    assert!(error.message.contains("the server is down"), "{error:?}");
    for _ in 0..3 {
        cache.get::<u8, _>("k").await.unwrap_err();
    }
    let health = cache.health().await.unwrap();
    assert_eq!((health.state, names(&health)), (HealthState::Down, both(HealthState::Down)));
    remote.metadata.fail_all(None);
    remote.clock.advance(5 * SECOND);
    let health = cache.health().await.unwrap();
    assert_eq!(health.state, HealthState::Ok, "it was asked, and answers");
    assert_eq!(cache.get::<u8, _>("k").await.unwrap(), None);
    assert!(health.backends[0].last_error.is_some(), "what went wrong last stays to be seen");
}

#[tokio::test]
async fn a_backend_that_nobody_called_lately_is_asked_for_a_second_at_the_most() {
    let remote = Remote::new();
    let cache = remote.open().await;
    cache.health().await.unwrap();
    let asked = || remote.metadata.calls_of("ping") + remote.blobs.calls_of("ping");
    let before = asked();
    cache.health().await.unwrap();
    assert_eq!(asked(), before, "both were asked just now");
    remote.clock.advance(5 * SECOND);
    let _ = remote.metadata.clone().slow_by_clock(HANGS);
    let _ = remote.blobs.clone().slow_by_clock(HANGS);
    let (health, took) = remote.turning(cache.health()).await;
    assert_eq!(health.unwrap().state, HealthState::Degraded);
    assert!(took <= SECOND * 3 / 2, "{took:?}");
    assert_eq!(asked(), before + 2);
    remote.metadata.calm(true);
    remote.blobs.calm(true);
}

#[tokio::test]
async fn a_slow_backend_does_not_go_down_by_being_watched() {
    let remote = Remote::new();
    let cache = remote.open().await;
    let _ = remote.metadata.clone().slow_by_clock(SECOND * 3 / 2);
    let mut seen = Vec::new();
    for _ in 0..16 {
        remote.clock.advance(6 * SECOND);
        let (health, _) = remote.turning(cache.health()).await;
        seen.push(health.unwrap().state);
    }
    // Where it was asked just before, it is known that it answers.
    assert!(seen.contains(&HealthState::Degraded) && !seen.contains(&HealthState::Down), "{seen:?}");
    let (got, _) = remote.turning(cache.get::<u8, _>("k")).await;
    assert_eq!(got.unwrap(), None);
    remote.metadata.calm(true);
}

#[tokio::test]
async fn writes_that_wait_are_counted_and_make_the_cache_degraded() {
    let remote = Remote::new();
    let calls = RemoteCalls::new().attempts(1).breaker_failures(1_000);
    let builder = remote.builder().remote(calls).on_write_error(OnWriteError::Queue);
    let cache = builder.open().await.unwrap();
    remote.blobs.fail_all(Some(down()));
    cache.put("k", &large()).await.unwrap();
    let writes = cache.health().await.unwrap().writes;
    assert!(writes.queued == 1 && writes.queued_bytes > 300_000 && writes.dropped == 0, "{writes:?}");
    remote.blobs.fail_all(None);
}

#[test]
fn a_backend_in_this_process_is_ok_and_not_watched() {
    let cache = cacheness::blocking::Cache::memory().unwrap();
    let health = cache.health().unwrap();
    assert_eq!(health.state, HealthState::Ok);
    assert!(health.backends.iter().all(|backend| backend.last_answer.is_none()), "{health:?}");
}

#[tokio::test]
async fn it_can_be_serialised() {
    let cache = Cache::memory().await.unwrap();
    let json = serde_json::to_value(cache.health().await.unwrap()).unwrap();
    assert_eq!(json["state"], "ok");
    assert_eq!(json["backends"][1]["role"], "blobs");
    assert_eq!(json["backends"][1]["last_error"], serde_json::Value::Null);
    let remote = Remote::new();
    let cache = remote.builder().remote(RemoteCalls::new().attempts(1)).open().await.unwrap();
    remote.metadata.fail_next("get_entry", down().with_context("key", "secret-key"));
    cache.get::<u8, _>("secret-key").await.unwrap_err();
    let health = cache.health().await.unwrap();
    let json = serde_json::to_string(&health).unwrap();
    assert!(json.contains("\"kind\":\"unavailable\"") && json.contains("\"state\":\"degraded\""), "{json}");
    assert!(!json.contains("secret-key") && !format!("{health:?}").contains("secret-key"), "{json}");
}
