//! Calls that are polled so many times and then dropped.
#![allow(unreachable_pub, reason = "a module of several test binaries")]

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A future that is polled so many times at the most. `None` where it had not ended by then.
struct UpTo<F> {
    inner: Pin<Box<F>>,
    left: usize,
}

impl<F: Future> Future for UpTo<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.left -= 1;
        match self.inner.as_mut().poll(context) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending if self.left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// Begins a call, and drops it after so many polls. What came of it where it ended before, which is no error.
pub async fn polled<T>(polls: usize, call: impl Future<Output = cacheness::Result<T>>) -> Option<T> {
    let done = UpTo { inner: Box::pin(call), left: polls }.await;
    done.map(|done| done.unwrap_or_else(|error| panic!("{error}")))
}
