//! Random changes by two backends on one store: limits hold after each put, a refused call changes nothing, and totals
//! and indexes agree with the entries.
#![cfg(all(feature = "json", feature = "sqlite"))]

mod random_changes;

use cacheness_core::{ConfigOptions, MetadataFactory};
use cacheness_metadata::json::JsonMetadataFactory;
use cacheness_metadata::memory::MemoryMetadataFactory;
use cacheness_metadata::sqlite::SqliteMetadataFactory;
use cacheness_testkit::metadata::MetadataSubject;

/// Nothing but what `docs/on-disk-format.md` says stands in `ranks`. Each of these finds what contradicts it.
fn check_ranks(subject: &MetadataSubject, context: &str) {
    const RANKED: &str = "FROM state s, entries e JOIN namespaces n ON n.generation = e.generation \
                          WHERE e.id < s.ranked_to AND NOT EXISTS (SELECT 1 FROM ranks r WHERE r.id = e.id";
    const LIMITED: &str = "AND (n.max_entries IS NOT NULL OR n.max_bytes IS NOT NULL)";
    let connection = rusqlite::Connection::open(subject.folder().join("index.sqlite")).unwrap();
    for (what, from) in [
        ("a row of no entry", "FROM ranks r WHERE r.id NOT IN (SELECT id FROM entries)".to_owned()),
        (
            "an entry without its row",
            format!("{RANKED} AND r.list = 0 AND r.rank = e.rank AND r.priority = e.priority)"),
        ),
        (
            "an entry without its row in its namespace",
            format!(
                "{RANKED} AND r.list = e.generation AND r.rank = e.rank AND r.priority = e.priority) {LIMITED}"
            ),
        ),
        (
            "an entry without its expiry in its namespace",
            format!(
                "{RANKED} AND r.list = -e.generation AND r.rank = e.expires_at) {LIMITED} \
                 AND e.expires_at IS NOT NULL"
            ),
        ),
        (
            "a rank of old",
            "FROM ranks r JOIN entries e ON e.id = r.id WHERE r.list >= 0 AND r.rank != e.rank".to_owned(),
        ),
        (
            "an expiry of old",
            "FROM ranks r JOIN entries e ON e.id = r.id WHERE r.list < 0 AND r.rank IS NOT e.expires_at"
                .to_owned(),
        ),
        (
            "a wrong number of namespaces with limits",
            format!("FROM state s WHERE s.limited != (SELECT count(*) FROM namespaces n WHERE 1 {LIMITED})"),
        ),
    ] {
        let sql = format!("SELECT count(*) {from}");
        let count: i64 = connection.query_row(&sql, (), |row| row.get(0)).unwrap();
        assert_eq!(count, 0, "{context}: {what}");
    }
}

async fn run_all(factory: impl MetadataFactory + Clone, shared: bool, sql: bool) {
    for seed in 1..6 {
        let subject = MetadataSubject::new(factory.clone(), ConfigOptions::new());
        let check = async |subject: &MetadataSubject, context: &str| {
            if sql {
                check_ranks(subject, context);
            }
        };
        random_changes::run(&subject, shared, seed, check).await;
    }
}

#[tokio::test]
async fn sqlite_holds_under_random_changes() {
    run_all(SqliteMetadataFactory::new(), true, true).await;
}

#[tokio::test]
async fn json_holds_under_random_changes() {
    run_all(JsonMetadataFactory::new(), true, false).await;
}

#[tokio::test]
async fn memory_holds_under_random_changes() {
    run_all(MemoryMetadataFactory::new(), false, false).await;
}
