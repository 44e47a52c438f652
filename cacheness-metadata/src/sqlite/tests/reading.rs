//! Reading: plans, pages, garbage, and namespaces that another process makes anew.

use cacheness_core::{GARBAGE_DELAY, ListQuery, Namespace};

use super::{open_store, stranger, subject};
use crate::sqlite::statements::Sql;

#[test]
fn no_statement_walks_through_all_entries_or_sorts_them() {
    let subject = subject();
    open_store(subject.folder()).unwrap();
    let connection = stranger(subject.folder());
    for sql in Sql::ALL {
        if matches!(sql, Sql::Begin | Sql::Commit | Sql::Rollback | Sql::Checkpoint) {
            continue;
        }
        let mut explain = connection.prepare(&format!("EXPLAIN QUERY PLAN {}", sql.text())).unwrap();
        let steps =
            explain.raw_query().mapped(|row| row.get::<_, String>(3)).collect::<Result<Vec<_>, _>>().unwrap();
        for step in &steps {
            let walks = step.starts_with("SCAN e") || step.starts_with("SCAN r");
            assert!(!walks && !step.contains("TEMP B-TREE"), "{sql:?}: {steps:?}");
        }
    }
}

#[tokio::test]
async fn a_page_of_long_records_ends_early_and_the_next_goes_on() {
    let subject = subject();
    let store = subject.open().await;
    for i in 0..12 {
        let mut entry = subject.entry("default", &format!("{i:02}"));
        entry.description = Some("d".repeat(1 << 20));
        store.put(entry).await;
    }
    let mut query = ListQuery::new();
    let page = store.list_entries(&query).await.unwrap();
    assert!((1..=4).contains(&page.entries.len()), "a page of {} MiB", page.entries.len());
    query.namespace = Some(Namespace::default());
    assert_eq!(store.list(&query).await.len(), 12);
}

#[tokio::test]
async fn a_filter_that_few_entries_pass_still_finds_them() {
    let subject = subject();
    let store = subject.open().await;
    for part in 0..3 {
        let changes = (0..1000).map(|i| subject.putting(subject.entry("default", &format!("{part}-{i:03}"))));
        store.changes(changes.collect()).await;
    }
    store.put(subject.expiring_entry("default", "9", std::time::Duration::ZERO)).await;
    let mut query = ListQuery::new();
    query.expired = Some((true, subject.now()));
    query.limit = 2;
    let page = store.list_entries(&query).await.unwrap();
    assert_eq!(page.entries.len(), 1, "the one that has expired stands behind 3,000 that have not");
    assert_eq!(page.next, None);
}

#[tokio::test]
async fn a_namespace_that_another_process_dropped_and_made_anew_is_found() {
    let subject = subject();
    let (one, other) = (subject.open().await, subject.open().await);
    for _ in 0..3 {
        let old = one.put(subject.entry("reports", "k")).await.version;
        let name = Namespace::new("reports").unwrap();
        assert_eq!(other.drop_namespace(&name).await.unwrap(), Some(1));
        assert!(!one.has("reports", "k").await);
        let new = other.put(subject.entry("reports", "k")).await.version;
        assert!(new > old);
        assert_eq!(Some(one.version("reports", "k").await), new);
    }
}

#[tokio::test]
async fn garbage_is_kept_while_the_log_cannot_be_written_into_the_database() {
    let subject = subject();
    let store = subject.open().await;
    store.put(subject.entry("default", "k")).await;
    // Whoever reads an old state keeps the log from being written over what it sees.
    let reader = stranger(subject.folder());
    reader.execute_batch("BEGIN").unwrap();
    reader.query_row("SELECT count(*) FROM entries", (), |row| row.get::<_, i64>(0)).unwrap();
    store.put(subject.entry("default", "k")).await;
    subject.wait(GARBAGE_DELAY);
    assert!(store.due(subject.now()).await.is_empty(), "after a loss of power the old blob might be needed");
    reader.execute_batch("COMMIT").unwrap();
    assert_eq!(store.due(subject.now()).await.len(), 1);
}

#[tokio::test]
async fn values_keep_their_bytes_around_the_length_at_which_they_move_out_of_the_row() {
    let subject = subject();
    let store = subject.open().await;
    for length in [0, 1, 2047, 2048, 2049, 32 * 1024] {
        let bytes = vec![b'x'; length];
        store.put(subject.inline_entry("default", "k", &bytes)).await;
        let entry = store.get("default", "k").await.unwrap();
        assert_eq!(entry.location, cacheness_core::Location::Inline(bytes.into()), "{length} bytes");
        let rows: i64 = stranger(subject.folder())
            .query_row("SELECT count(*) FROM inline_values", (), |row| row.get(0))
            .unwrap();
        assert_eq!(rows, i64::from(length > 2048), "{length} bytes");
    }
}
