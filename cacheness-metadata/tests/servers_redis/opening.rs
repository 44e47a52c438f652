//! Finding a cache on the server, or beginning one: whose it is, by which login, over which connection.

use std::io::Write;
use std::process::{Child, Command, Stdio};

use super::*;

#[test]
fn twenty_processes_that_open_at_once_agree_on_one_cache() {
    const PREFIX: &str = "TEST_OPENING";
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let id = |prefix: &str| {
        let options = ConfigOptions::new().with("url", server()).with("prefix", prefix);
        runtime.block_on(async { open(&options, OpenMode::Create).await.unwrap().cache_id() })
    };
    if let Ok(prefix) = std::env::var(PREFIX) {
        writeln!(std::io::stdout(), "@{}", id(&prefix)).unwrap();
        return;
    }
    let prefix = format!("test-{}", CacheId::random());
    let processes: Vec<Child> = (0..20)
        .map(|_| {
            Command::new(std::env::current_exe().unwrap())
                .args([
                    "--exact",
                    "opening::twenty_processes_that_open_at_once_agree_on_one_cache",
                    "--nocapture",
                ])
                .env(PREFIX, &prefix)
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let mut caches: Vec<CacheId> = processes.into_iter().map(id_of).collect();
    caches.dedup();
    assert_eq!(caches, [id(&prefix)]);
}

/// The cache that a process has opened, by what it printed.
fn id_of(process: Child) -> CacheId {
    let output = process.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    let id = text.lines().find_map(|line| CacheId::parse(line.split_once('@')?.1));
    id.unwrap_or_else(|| panic!("no id: {text}"))
}

#[tokio::test]
async fn opening_what_must_be_there_creates_nothing() {
    let options = fresh();
    let Err(error) = open(&options, OpenMode::Existing).await else { panic!("it was opened") };
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    let created = open(&options, OpenMode::Create).await.unwrap();
    let found = open(&options, OpenMode::Existing).await.unwrap();
    assert_eq!(found.cache_id(), created.cache_id());
}

#[tokio::test]
async fn a_newer_format_and_keys_of_another_program_are_refused() {
    let prefix = format!("test-{}", CacheId::random());
    let options = fresh().with("prefix", prefix.as_str());
    open(&options, OpenMode::Create).await.unwrap();
    let mut connection = client(&server()).await;
    let head = format!("{{{prefix}}}:h");
    let _: () =
        redis::cmd("HSET").arg(&head).arg("format").arg(2).query_async(&mut connection).await.unwrap();
    let error = refused(&options).await;
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    let _: () =
        redis::cmd("SET").arg(&head).arg("something else").query_async(&mut connection).await.unwrap();
    assert_eq!(refused(&options).await.kind(), ErrorKind::ConfigInvalid);
}

#[tokio::test]
async fn hostile_prefixes_and_names_stay_apart() {
    let texts = [
        "*",
        "?",
        "[a-z]*",
        "'\"`",
        "%",
        "_",
        "\0",
        "a\0b",
        "]] return redis.call('FLUSHALL') --[[",
        "\r\n",
        "ü",
    ];
    let mut stores = Vec::new();
    let base = CacheId::random();
    for text in texts {
        let subject = subject(fresh().with("prefix", format!("{base}{text}")));
        let store = subject.open().await;
        for one in texts {
            for other in texts {
                store.put(subject.entry(one, other)).await;
            }
        }
        stores.push((subject, store));
    }
    for (subject, store) in &stores {
        let mut query = ListQuery::new();
        query.limit = 10;
        assert_eq!(store.list(&query).await.len(), texts.len() * texts.len());
        for text in texts {
            query.prefix = text.to_owned();
            query.namespace = Some(name(text));
            let keys: Vec<_> =
                store.list(&query).await.iter().map(|entry| entry.key.as_str().to_owned()).collect();
            let mut expected: Vec<_> = texts.iter().filter(|key| key.starts_with(text)).copied().collect();
            expected.sort_unstable();
            assert_eq!(keys, expected);
        }
        store.clear_all("*").await;
        store.drop_namespace(&name("\0")).await.unwrap();
        assert_eq!(store.purge_all(subject.now()).await, (0, 2 * texts.len() as u64));
        assert_eq!(store.total().await.entries as usize, (texts.len() - 2) * texts.len());
    }
}

#[tokio::test]
async fn a_wrong_password_a_missing_permission_and_a_server_that_evicts_say_what_to_do() {
    let own = OwnServer::start(&["--requirepass", "geheim-1"]);
    let error = refused(&own.options()).await;
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    assert!(error.to_string().contains("password"), "{error}");
    let error = refused(&own.options().with("password", "geheim-2")).await;
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    let with_password = own.options().with("password", "geheim-1");
    open(&with_password, OpenMode::Create).await.unwrap();

    let mut connection = client(&format!("redis://:geheim-1@127.0.0.1:{}", own.port())).await;
    let page = rules_of_the_page();
    for (rule, is_enough) in
        [("~other:* +@all", false), ("~{cacheness}:* +@read +info", false), (page.as_str(), true)]
    {
        let mut command = redis::cmd("ACL");
        command.arg("SETUSER").arg("app").arg("reset").arg("on").arg(">geheim-3");
        for part in rule.split_whitespace() {
            command.arg(part);
        }
        let _: () = command.query_async(&mut connection).await.unwrap();
        let as_app = own.options().with("user", "app").with("password", "geheim-3");
        if !is_enough {
            let error = refused(&as_app).await;
            assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
            assert!(error.to_string().contains("ACL"), "{error}");
            continue;
        }
        let subject = subject(as_app);
        random_changes::run(&subject, true, 1, async |_, _| {}).await;
        let store = subject.open().await;
        let holder = LeaseHolder::random();
        let leases = store.leases().unwrap();
        assert!(leases.acquire(&name("a"), "b", holder, Duration::from_secs(9)).await.unwrap().is_some());
        assert!(leases.renew(&name("a"), "b", holder, Duration::from_secs(9)).await.unwrap());
        assert!(leases.release(&name("a"), "b", holder).await.unwrap());
        let mut feed = subscribe(&*store).await;
        store.put(subject.entry("default", "k")).await;
        assert_eq!(feed.next().await.unwrap().len(), 1);
        let blob = subject.entry("default", "k").blob_id().unwrap();
        assert_eq!(store.unnamed(&[blob]).await.unwrap(), [blob]);
        store.condemn(&[blob], subject.now()).await.unwrap();
        store.ping().await.unwrap();
        store.reset_stats(None).await.unwrap();
    }

    let evicting = OwnServer::start(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]);
    let error = refused(&evicting.options()).await;
    assert_eq!(error.kind(), ErrorKind::ConfigInvalid, "{error}");
    assert!(error.to_string().contains("allkeys-lru") && error.to_string().contains("noeviction"), "{error}");
    let replica = OwnServer::start(&["--replicaof", "127.0.0.1", &own.port().to_string()]);
    let error = refused(&replica.options()).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    let gone = evicting.options();
    drop(evicting);
    assert_eq!(refused(&gone).await.kind(), ErrorKind::Unavailable);
}

/// What docs/backends/redis.md asks for.
fn rules_of_the_page() -> String {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/backends/redis.md");
    let page = fs_err::read_to_string(page).unwrap();
    let (_, rules) = page.split_once("ACL SETUSER cache on >PASSWORD ").expect("the page has the rules");
    rules.split("```").next().unwrap().to_owned()
}

#[tokio::test]
async fn with_tls_the_server_must_be_vouched_for() {
    let files = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers_redis/tls");
    let file = |name: &str| format!("{files}/{name}");
    let plain = OwnServer::start(&[]);
    let encrypted = OwnServer::start_with_tls(&file("server.pem"), &file("server.key"), &file("ca.pem"));
    let url = format!("rediss://localhost:{}", encrypted.port());
    let trusting = ConfigOptions::new().with("url", url.as_str()).with("tls_ca", file("ca.pem"));
    let subject = subject(trusting.clone());
    let store = subject.open().await;
    store.put(subject.inline_entry("default", "k", &[7; 100_000])).await;
    assert!(store.has("default", "k").await);

    let error = refused(&ConfigOptions::new().with("url", url.as_str())).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("tls_ca") && !error.is_temporary(), "{error}");
    let other_name = trusting.clone().with("url", format!("rediss://127.0.0.2:{}", encrypted.port()));
    refused(&other_name).await;
    // A server without TLS gets nothing to read, and neither does one with it that is spoken to without.
    refused(&trusting.with("url", format!("rediss://localhost:{}", plain.port()))).await;
    let error = refused(&encrypted.options()).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    let nothing = plain.options().with("tls_ca", file("server.key"));
    assert_eq!(refused(&nothing).await.kind(), ErrorKind::ConfigInvalid);
}

#[tokio::test]
async fn in_a_cluster_a_cache_lies_on_one_node_and_another_node_says_which() {
    let nodes =
        [OwnServer::start(&["--cluster-enabled", "yes"]), OwnServer::start(&["--cluster-enabled", "yes"])];
    let mut connections = Vec::new();
    for (node, slots) in nodes.iter().zip([[0, 8_191], [8_192, 16_383]]) {
        let mut connection = client(&node.url()).await;
        let mut add = redis::cmd("CLUSTER");
        let _: () = add.arg("ADDSLOTSRANGE").arg(&slots).query_async(&mut connection).await.unwrap();
        connections.push(connection);
    }
    let mut meet = redis::cmd("CLUSTER");
    let port = nodes[1].port();
    let _: () = meet.arg("MEET").arg("127.0.0.1").arg(port).query_async(&mut connections[0]).await.unwrap();
    for connection in &mut connections {
        let mut info = redis::cmd("CLUSTER");
        let info = info.arg("INFO");
        while !info.query_async::<String>(connection).await.unwrap().contains("cluster_state:ok") {
            wait(50).await;
        }
    }
    let mut slot = redis::cmd("CLUSTER");
    let slot: u16 = slot.arg("KEYSLOT").arg("{cacheness}:h").query_async(&mut connections[0]).await.unwrap();
    let (owner, other) = if slot < 8_192 { (&nodes[0], &nodes[1]) } else { (&nodes[1], &nodes[0]) };
    random_changes::run(&subject(owner.options()), true, 1, async |_, _| {}).await;
    let error = refused(&other.options()).await;
    assert_eq!(error.kind(), ErrorKind::ConfigInvalid, "{error}");
    assert!(error.to_string().contains(&owner.port().to_string()), "{error}");
}
