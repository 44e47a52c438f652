//! Drives one case of a suite on a runtime of its own, so that a case cannot disturb another one.

/// Drives a case on one thread.
pub(crate) fn on_one_thread(case: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime for the test cannot be started").block_on(case);
}

/// Drives a case whose tasks run on several threads at once.
pub(crate) fn on_many_threads(case: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build();
    runtime.expect("a runtime for the test cannot be started").block_on(case);
}
