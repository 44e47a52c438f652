//! Limits, with several backends on one server.

use cacheness_core::{Limits, ListQuery};
use cacheness_metadata::postgres::PostgresMetadataFactory;
use cacheness_testkit::metadata::MetadataSubject;

use super::random_changes;
use super::server::{client, fresh, subject, url};

#[tokio::test]
async fn totals_limits_and_ranks_hold_under_random_changes_by_two_backends() {
    for seed in 1..3 {
        let options = fresh();
        let schema = options.text("schema").unwrap().to_owned();
        let subject = MetadataSubject::new(PostgresMetadataFactory::new(), options);
        random_changes::run(&subject, true, seed, async |_, _| {}).await;
        let client = client(&url()).await;
        for (what, from) in [
            (
                "an entry that is not known as one of a namespace with limits",
                "entries e JOIN {s}.namespaces n ON n.generation = e.generation \
             WHERE e.rank_epoch = (SELECT epoch FROM {s}.state) AND NOT e.limited AND (n.max_entries IS NOT NULL OR n.max_bytes IS NOT NULL)",
            ),
            (
                "a blob that is both an entry's and garbage",
                "entries e JOIN {s}.garbage g ON g.blob_id = e.blob_id \
             WHERE EXISTS (SELECT FROM {s}.namespaces n WHERE n.generation = e.generation)",
            ),
            (
                "a wrong number of namespaces with limits",
                "state s WHERE s.limited <> (SELECT count(*) FROM {s}.namespaces n \
             WHERE n.max_entries IS NOT NULL OR n.max_bytes IS NOT NULL)",
            ),
            (
                "totals of a generation that is none",
                "totals t WHERE t.generation <> 0 AND NOT EXISTS (SELECT FROM \
             {s}.namespaces n WHERE n.generation = t.generation)",
            ),
            (
                "an entry of a generation that nobody takes back",
                "entries e WHERE NOT EXISTS (SELECT FROM {s}.namespaces n \
             WHERE n.generation = e.generation) AND NOT EXISTS (SELECT FROM {s}.cleared c WHERE c.generation = e.generation)",
            ),
        ] {
            let sql = format!(
                "SELECT count(*) FROM \"{schema}\".{}",
                from.replace("{s}", &format!("\"{schema}\""))
            );
            let count: i64 = client.query_one(&sql, &[]).await.unwrap().get(0);
            assert_eq!(count, 0, "seed {seed}: {what}");
        }
        let sql = format!(
            "SELECT (SELECT sum(garbage_bytes)::bigint FROM \"{schema}\".totals), (SELECT COALESCE(sum(size), 0)::bigint FROM \
             \"{schema}\".garbage) + (SELECT COALESCE(sum(e.size), 0)::bigint FROM \"{schema}\".entries e JOIN \"{schema}\".cleared c \
             ON c.generation = e.generation WHERE e.blob_id IS NOT NULL)"
        );
        let row = client.query_one(&sql, &[]).await.unwrap();
        assert_eq!(
            row.get::<_, Option<i64>>(0).unwrap_or(0),
            row.get::<_, i64>(1),
            "seed {seed}: bytes of garbage"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn with_many_writers_a_limit_is_exceeded_only_by_what_others_are_about_to_commit() {
    const LIMIT: u64 = 50;
    const WRITERS: u64 = 6;
    let options = fresh();
    let subject = subject(&options);
    let first = subject.open().await;
    first.limit(Limits::unbounded().max_entries(LIMIT), subject.now()).await;
    let mut tasks = Vec::new();
    for writer in 0..WRITERS {
        let store = subject.open().await;
        let entries: Vec<_> = (0..80).map(|i| subject.entry("default", &format!("{writer}-{i}"))).collect();
        tasks.push(tokio::spawn(async move {
            for entry in entries {
                store.put(entry).await;
                let entries = store.total().await.entries;
                assert!(
                    entries < LIMIT + WRITERS,
                    "{entries} entries are more than what others may have under way"
                );
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    first.put(subject.entry("default", "last")).await;
    assert_eq!(first.total().await.entries, LIMIT, "a put that is alone leaves the limit as it is");
    assert_eq!(first.list(&ListQuery::new()).await.len() as u64, LIMIT);
}

#[tokio::test]
async fn limits_of_a_namespace_without_entries_rank_nothing_anew_nor_does_taking_them_away() {
    let options = fresh();
    let subject = MetadataSubject::new(PostgresMetadataFactory::new(), options.clone());
    let store = subject.open().await;
    store.put(subject.entry("default", "k")).await;
    store.limit(Limits::unbounded().max_entries(100), subject.now()).await;
    let client = client(&url()).await;
    let sql = format!("SELECT epoch FROM \"{}\".state", options.text("schema").unwrap());
    let epoch = async || client.query_one(&sql, &[]).await.unwrap().get::<_, i32>(0);
    let before = epoch().await;
    let two = Limits::unbounded().max_entries(2);
    store.limit_namespace("small", two.clone(), subject.now()).await;
    assert_eq!(epoch().await, before, "there is nothing in it");
    for key in ["a", "b", "c"] {
        store.put(subject.entry("small", key)).await;
        subject.wait(std::time::Duration::from_secs(1));
    }
    assert_eq!(store.keys("small").await, ["b", "c"], "its limits hold");
    store.limit_namespace("small", Limits::unbounded(), subject.now()).await;
    assert_eq!(epoch().await, before, "what is known of its entries does no harm");
    store.put(subject.entry("small", "d")).await;
    store.limit_namespace("small", two, subject.now()).await;
    assert_eq!(epoch().await, before + 1, "one of its entries is not known as such");
    assert_eq!(store.keys("small").await, ["c", "d"]);
}
