//! A server that is gone, or hangs, when a cache is opened.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use cacheness::{
    CacheBuilder, ConfigOptions, Env, ErrorKind, MetadataBackend, MetadataFactory, OpenContext, OptionSpec,
    Registry, RemoteCalls, Result,
};

use super::{HANGS, Remote, SECOND, down};

/// A backend whose server hangs, or fails as often as this says before it lets anybody in.
struct Gone {
    hangs: bool,
    fails: AtomicU32,
}

#[async_trait]
impl MetadataFactory for Gone {
    fn name(&self) -> &str {
        "gone"
    }

    fn description(&self) -> &str {
        "A server that is gone."
    }

    fn options(&self) -> &[OptionSpec] {
        &[]
    }

    async fn open(&self, options: &ConfigOptions, context: &OpenContext) -> Result<Arc<dyn MetadataBackend>> {
        if self.hangs {
            context.env.sleep(HANGS).await;
        }
        if self.fails.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
            return Err(down());
        }
        let memory = Registry::builtin().metadata_backend("memory")?.clone();
        memory.open(options, context).await
    }
}

fn builder(env: Env, hangs: bool, fails: u32) -> CacheBuilder {
    let gone = Gone { hangs, fails: fails.into() };
    let registry = Registry::builtin().with_metadata_backend(gone).unwrap();
    CacheBuilder::new(registry).metadata("gone").env(env).remote(RemoteCalls::new().deadline(20 * SECOND))
}

#[tokio::test]
async fn a_server_that_hangs_is_an_error_within_the_deadline_on_both_faces() {
    let remote = Remote::new();
    let (opened, took) = remote.turning(builder(remote.clock.env(), true, 0).open()).await;
    assert_eq!(opened.unwrap_err().kind(), ErrorKind::Timeout);
    assert!(took <= 21 * SECOND, "{took:?}");
    let (opened, took) =
        remote.turning_for(|| builder(remote.clock.env(), true, 0).open_blocking().map(drop));
    assert_eq!(opened.unwrap_err().kind(), ErrorKind::Timeout);
    assert!(took <= 21 * SECOND, "{took:?}");
}

#[tokio::test]
async fn a_server_that_fails_for_a_moment_is_tried_again_and_one_that_goes_on_is_an_error() {
    let remote = Remote::new();
    let open = |fails| builder(remote.clock.env(), false, fails).open();
    remote.turning(open(3)).await.0.unwrap();
    let error = remote.turning(open(4)).await.0.unwrap_err();
    assert!(error.kind() == ErrorKind::Unavailable && error.to_string().contains("gone"), "{error}");
}

#[test]
fn calls_without_any_time_are_refused_by_the_name_of_the_option() {
    type Zero = fn(&mut RemoteCalls);
    let zeros: [(&str, Zero); 5] = [
        ("remote.timeout", |calls| calls.timeout = Duration::ZERO),
        ("remote.deadline", |calls| calls.deadline = Duration::ZERO),
        ("remote.attempts", |calls| calls.attempts = 0),
        ("remote.in_flight", |calls| calls.in_flight = 0),
        ("remote.breaker_failures", |calls| calls.breaker_failures = 0),
    ];
    let remote = Remote::new();
    for (name, zero) in zeros {
        let mut calls = RemoteCalls::new();
        zero(&mut calls);
        let error = remote.builder().remote(calls).open_blocking().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConfigInvalid);
        assert!(error.to_string().contains(name), "{error}");
    }
    let counted = RemoteCalls::new().attempts(0).in_flight(0).breaker_failures(0);
    remote.builder().remote(counted).open_blocking().unwrap();
}
