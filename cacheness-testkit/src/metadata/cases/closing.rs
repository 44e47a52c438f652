//! Closing.

use cacheness_core::{AccessBatch, ErrorKind, Limits, ListQuery};

use crate::metadata::MetadataSubject;
use crate::metadata::subject::namespace;

pub async fn a_call_after_close_is_an_error_that_says_so(subject: &MetadataSubject) {
    let store = subject.open().await;
    store.put(subject.entry("default", "k")).await;
    store.close().await.expect("close failed");
    let name = namespace("default");
    let now = subject.now();
    let errors = [
        ("get_entry", store.get_entry(&name, "k").await.err()),
        ("get_entries", store.get_entries(&name, &["k"]).await.err()),
        ("apply", store.apply(vec![subject.putting(subject.entry("default", "k"))]).await.err()),
        ("list_entries", store.list_entries(&ListQuery::new()).await.err()),
        (
            "record_accesses",
            store
                .record_accesses(AccessBatch {
                    counters: vec![(name.clone(), Default::default())],
                    accesses: Vec::new(),
                })
                .await
                .err(),
        ),
        ("stats", store.stats(None).await.err()),
        ("reset_stats", store.reset_stats(None).await.err()),
        ("namespaces", store.namespaces().await.err()),
        ("clear", store.clear(&name).await.err()),
        ("drop_namespace", store.drop_namespace(&name).await.err()),
        ("purge", store.purge(now, 10).await.err()),
        ("due_garbage", store.due_garbage(now, 10).await.err()),
        ("forget_garbage", store.forget_garbage(&[cacheness_core::BlobId::new(now)]).await.err()),
        ("change_limits", store.change_limits(None, &Limits::unbounded().into()).await.err()),
        ("evict", store.evict(None, now, 1).await.err()),
    ];
    for (call, error) in errors {
        let error =
            error.unwrap_or_else(|| panic!("{call} after close must be an error, but it returned Ok"));
        assert_eq!(
            error.kind(),
            ErrorKind::Closed,
            "{call} after close says that the cache is closed: {error}"
        );
    }
}

pub async fn closing_twice_is_allowed(subject: &MetadataSubject) {
    let store = subject.open().await;
    store.close().await.expect("close failed");
    store.close().await.expect("a second close is allowed and does nothing");
}
