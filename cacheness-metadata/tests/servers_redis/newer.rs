//! Entries that a newer version wrote.

use cacheness_testkit::metadata::of_a_newer_version;

use super::*;

#[tokio::test]
async fn what_a_newer_version_wrote_is_no_damage() {
    let own = OwnServer::start(&[]);
    let subject = subject(own.options());
    let store = subject.open().await;
    store.put(subject.entry("default", "newer")).await;
    store.put(subject.entry("default", "known")).await;

    let mut client = client(&own.url()).await;
    let rows: Vec<String> = redis::cmd("KEYS").arg("*e:*").query_async(&mut client).await.unwrap();
    let mut changed = 0;
    for name in rows {
        let mut row: Vec<u8> = redis::cmd("GET").arg(&name).query_async(&mut client).await.unwrap();
        // A header, the key, and the record, which is the last part where the value lies in a blob.
        let at = 177 + "newer".len();
        if row.get(177..at) != Some(b"newer") {
            continue;
        }
        let newer = of_a_newer_version(&row[at..], "default", "newer");
        row[at..].copy_from_slice(&newer);
        let set = redis::cmd("SET").arg(&name).arg(&row[..]).to_owned();
        let _: redis::Value = set.query_async(&mut client).await.unwrap();
        changed += 1;
    }
    assert_eq!(changed, 1);

    let error = store.get_entries(&name("default"), &["known", "newer"]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    let page = store.list_entries(&ListQuery::new()).await.unwrap();
    assert_eq!((page.entries.len(), page.damaged.len()), (1, 1));
    assert_eq!(page.damaged[0].error.kind(), ErrorKind::Unsupported);
    store.put(subject.entry("default", "newer")).await;
    assert!(store.has("default", "newer").await, "it can be replaced");
}
