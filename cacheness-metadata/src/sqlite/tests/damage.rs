//! Rows that no version of this program writes: an error or something harmless, never a panic.

use cacheness_core::{AccessBatch, Change, Condition, ErrorKind, Limits, ListQuery, Namespace};

use super::{stranger, subject};

#[tokio::test]
async fn no_value_in_any_column_makes_a_call_panic() {
    let hostile = ["-1", "-9223372036854775808", "9223372036854775807", "1.5", "'text'", "x'00ff'", "x''"];
    let columns = [
        (
            "entries",
            ["key", "accessed_at", "hits", "expires_at", "stored_size", "place", "blob_id"].as_slice(),
        ),
        ("entries", &["priority", "rank", "record", "inline", "generation", "id"]),
        ("entries", &["version"]),
        ("namespaces", &["hits", "evictions", "generation"]),
        ("totals", &["generation", "entries", "bytes", "blob_bytes", "sequence", "age", "ages"]),
        ("state", &["generation", "policy", "max_entries", "max_bytes", "limited", "ranked_to", "cleared"]),
        ("ranks", &["priority", "rank", "id"]),
        ("garbage", &["not_before", "size", "blob_id"]),
        ("cleared", &["generation", "cleared_at"]),
    ];
    let mut errors = 0;
    for (table, columns) in columns {
        for column in columns {
            let mut damaged = 0;
            for value in hostile {
                let (rows, noticed) = survives(table, column, value).await;
                damaged += rows;
                errors += usize::from(noticed);
            }
            assert!(damaged > 0, "{table}.{column} has no row that could be damaged");
        }
    }
    assert!(errors > 20, "much of this damage must be noticed, but only {errors} calls failed");
}

/// Damages a column and makes every call. Returns how many rows are damaged, and true where a call was an error.
async fn survives(table: &str, column: &str, value: &str) -> (usize, bool) {
    let subject = subject();
    let store = subject.open().await;
    // So few that entries are ranked.
    store.limit(Limits::unbounded().max_entries(3), subject.now()).await;
    store.put(subject.inline_entry("cleared", "gone", b"x")).await;
    let expiring = subject.expiring_entry("default", "k", std::time::Duration::ZERO);
    let version = store.put(expiring.clone()).await.version;
    store.put(subject.entry("default", "k2")).await;
    store.put(subject.entry("default", "k2")).await;
    store.clear_all("cleared").await;
    // Damage that the schema itself refuses is none.
    let update = format!("UPDATE OR IGNORE {table} SET {column} = {value}");
    let stranger = stranger(subject.folder());
    let rows = stranger.prepare(&update).unwrap().execute(()).unwrap_or(0);

    let (name, now) = (Namespace::default(), subject.now() + cacheness_core::GARBAGE_DELAY);
    let mut kinds = Vec::new();
    let mut note = |error: Option<cacheness_core::Error>| kinds.extend(error.map(|error| error.kind()));
    note(store.get_entry(&name, "k").await.err());
    note(store.list_entries(&ListQuery::new()).await.err());
    note(store.stats(None).await.err());
    note(store.stats(Some(&name)).await.err());
    note(store.namespaces().await.err());
    note(store.due_garbage(now, 10).await.err());
    let accesses =
        version.map(|version| cacheness_core::EntryAccess::new(name.clone(), "k", version, now, u64::MAX));
    let counters = vec![(name.clone(), Default::default())];
    note(
        store.record_accesses(AccessBatch { counters, accesses: accesses.into_iter().collect() }).await.err(),
    );
    for policy in ["lfu", "size"] {
        let limits = Limits::unbounded().max_entries(2).policy(policy);
        note(store.change_limits(None, &limits.into()).await.err());
        note(store.change_limits(Some(&name), &Limits::unbounded().max_entries(1).into()).await.err());
        note(store.evict(Some(&name), now, 10).await.err());
        note(store.evict(None, now, 10).await.err());
    }
    for key in ["k", "k2", "k3", "k4", "k5"] {
        note(store.apply(vec![subject.putting(subject.entry("default", key))]).await.err());
    }
    let (key, condition) = ("k".to_owned(), Condition::Always);
    note(store.apply(vec![Change::Remove { namespace: name.clone(), key, condition, now }]).await.err());
    note(store.purge(now, 10).await.err());
    note(store.clear(&name).await.err());
    note(store.purge(now, 10).await.err());
    note(store.reset_stats(None).await.err());
    note(store.drop_namespace(&name).await.err());
    for kind in &kinds {
        let told = matches!(kind, ErrorKind::Corrupted | ErrorKind::Unsupported | ErrorKind::LimitExceeded);
        assert!(told, "{table}.{column} = {value}: {kind:?}");
    }
    (rows, !kinds.is_empty())
}

#[tokio::test]
async fn a_damaged_page_is_an_error_that_names_the_file() {
    let subject = subject();
    let store = subject.open().await;
    for part in 0..4 {
        let changes = (0..250).map(|i| subject.putting(subject.entry("default", &format!("{part}-{i}"))));
        store.changes(changes.collect()).await;
    }
    store.close().await.unwrap();
    let path = subject.folder().join("index.sqlite");
    let mut bytes = fs_err::read(&path).unwrap();
    let from = 4096 * 2;
    for byte in &mut bytes[from..] {
        *byte = 0xA5;
    }
    fs_err::write(&path, bytes).unwrap();
    let error = match super::open_in(subject.folder(), cacheness_core::OpenMode::Create).await {
        Err(error) => error,
        Ok(store) => store.list_entries(&ListQuery::new()).await.unwrap_err(),
    };
    assert_eq!(error.kind(), ErrorKind::Corrupted, "{error}");
    assert!(error.to_string().contains("index.sqlite"), "{error}");
}
