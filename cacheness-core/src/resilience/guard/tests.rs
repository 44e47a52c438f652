//! What becomes of the places of calls whose work goes on in the backend.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::Semaphore;

use super::super::call::Call;
use super::super::health::BackendRole;
use super::super::options::RemoteCalls;
use super::Guard;
use crate::env::Env;

#[test]
fn calls_that_were_given_up_do_not_pile_up_in_a_backend_that_goes_on_with_them() {
    let env = Env::new();
    let calls = RemoteCalls::new().in_flight(3).attempts(1).breaker_failures(1_000);
    let calls = calls.timeout(Duration::from_millis(20)).deadline(Duration::from_millis(200));
    let guard = Guard::new(BackendRole::Blobs, "hangs", env.clone(), calls);
    let (answers, under_way, most) =
        (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let call = || {
        let (env, answers, under_way, most) = (env.clone(), answers.clone(), under_way.clone(), most.clone());
        let guard = guard.clone();
        async move {
            let attempt = move || {
                let (env, answers, under_way, most) =
                    (env.clone(), answers.clone(), under_way.clone(), most.clone());
                async move {
                    // To its end, whoever waits for it; and a call within a call is the same one.
                    let inner = env.clone();
                    env.on_io(async move {
                        inner
                            .on_io(async move {
                                most.fetch_max(
                                    1 + under_way.fetch_add(1, Ordering::SeqCst),
                                    Ordering::SeqCst,
                                );
                                let answered = answers.acquire().await.map(drop);
                                under_way.fetch_sub(1, Ordering::SeqCst);
                                answered.map_err(|_| crate::Error::new(crate::ErrorKind::Closed, "closed"))
                            })
                            .await
                    })
                    .await
                }
            };
            guard.call(Call::read("get"), attempt).await
        }
    };
    let hung = env.block_on(true, async { Ok(join_all((0..20).map(|_| call())).await) }).unwrap();
    assert!(hung.iter().all(Result::is_err));
    assert_eq!(most.load(Ordering::SeqCst), 6, "as many as may be under way, and as many that were given up");
    // When it answers again, there are places again.
    answers.add_permits(1_000);
    for _ in 0..3 {
        let done = env.block_on(true, async { Ok(join_all((0..20).map(|_| call())).await) }).unwrap();
        assert!(done.iter().all(Result::is_ok), "{done:?}");
    }
}
