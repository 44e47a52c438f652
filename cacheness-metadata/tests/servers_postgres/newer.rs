//! Entries that a newer version wrote.

use cacheness_core::{ErrorKind, ListQuery, Namespace};
use cacheness_testkit::metadata::of_a_newer_version;

use crate::server::{client, fresh, lock_of, store, subject, url};

#[tokio::test]
async fn what_a_newer_version_wrote_is_no_damage() {
    let options = fresh();
    let (store, subject) = (store(&options).await, subject(&options));
    store.put(subject.entry("default", "newer")).await;
    store.put(subject.entry("default", "known")).await;
    let client = client(&url()).await;
    let (schema, _) = lock_of(&client, &options).await;
    let select = format!("SELECT record FROM {schema}.entries WHERE key = $1");
    let record: Vec<u8> = client.query_one(&select, &[&&b"newer"[..]]).await.unwrap().get(0);
    let newer = of_a_newer_version(&record, "default", "newer");
    let update = format!("UPDATE {schema}.entries SET record = $2 WHERE key = $1");
    assert_eq!(client.execute(&update, &[&&b"newer"[..], &newer]).await.unwrap(), 1);

    let name = Namespace::default();
    for keys in [&["newer"][..], &["known", "newer"]] {
        let error = store.get_entries(&name, keys).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    }
    let page = store.list_entries(&ListQuery::new()).await.unwrap();
    assert_eq!((page.entries.len(), page.damaged.len()), (1, 1));
    assert_eq!(page.damaged[0].error.kind(), ErrorKind::Unsupported);
    store.put(subject.entry("default", "newer")).await;
    assert!(store.has("default", "newer").await, "it can be replaced");
}
