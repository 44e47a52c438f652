//! Queries over whole caches: against a plain model, over many entries, and over a backend that cannot answer them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cacheness::blocking::Cache;
use cacheness::metadata::memory::MemoryMetadataFactory;
use cacheness::{
    AccessBatch, BlobId, CacheId, Change, ConfigOptions, Entry, EntryInfo, ErrorKind, Evictions, Limits,
    LimitsChange, ListOptions, ListOrder, ListQuery, MetadataBackend, MetadataCapabilities, MetadataFactory,
    Namespace, OpenContext, OptionSpec, Outcome, Page, Purged, PutOptions, QuerySupport, Registry, Result,
    Stats, Timestamp, field,
};
use cacheness_testkit::TestClock;
use proptest::prelude::*;

#[derive(Clone, Debug)]
struct Sample {
    key: String,
    size: usize,
    tags: Vec<&'static str>,
    stock: Option<i32>,
    ttl: Option<u64>,
    gets: usize,
}

fn sample() -> impl Strategy<Value = Sample> {
    let tags = proptest::sample::subsequence(vec!["a", "b", "c"], 0..3);
    let fields = (0..5_usize, tags, proptest::option::of(-2..3), proptest::option::of(0..6_u64), 0..3_usize);
    ("[ab][:/][0-9]{1,2}", fields).prop_map(|(key, (size, tags, stock, ttl, gets))| Sample {
        key,
        size,
        tags,
        stock,
        ttl,
        gets,
    })
}

#[derive(Clone, Debug)]
struct Question {
    glob: Option<&'static str>,
    tags: Vec<&'static str>,
    stock: Option<i32>,
    least_size: Option<u64>,
    least_age: Option<u64>,
    valid: Option<bool>,
    order: ListOrder,
    descending: bool,
    limit: usize,
}

fn question() -> impl Strategy<Value = Question> {
    let glob = proptest::option::of(proptest::sample::select(vec!["a*", "*:?", "[!a]/*", "*", "b:1*"]));
    let orders = [
        ListOrder::Key,
        ListOrder::Created,
        ListOrder::Accessed,
        ListOrder::Size,
        ListOrder::Expiry,
        ListOrder::Hits,
    ];
    let filters = (
        glob,
        proptest::sample::subsequence(vec!["a", "b"], 0..2),
        proptest::option::weighted(0.3, -1..2),
        proptest::option::weighted(0.3, 0..4_u64),
        proptest::option::weighted(0.3, 0..8_u64),
        proptest::option::weighted(0.4, any::<bool>()),
    );
    let order = (proptest::sample::select(orders.to_vec()), any::<bool>(), 1..8_usize);
    (filters, order).prop_map(|(filters, order)| Question {
        glob: filters.0,
        tags: filters.1,
        stock: filters.2,
        least_size: filters.3,
        least_age: filters.4,
        valid: filters.5,
        order: order.0,
        descending: order.1,
        limit: order.2,
    })
}

impl Question {
    fn options(&self) -> ListOptions {
        let mut options = ListOptions::new().tags(self.tags.clone()).order_by(self.order).limit(self.limit);
        if let Some(glob) = self.glob {
            options = options.glob(glob);
        }
        if let Some(stock) = self.stock {
            options = options.filter(field("stock").gt_eq(stock));
        }
        if let Some(size) = self.least_size {
            options = options.size(size..);
        }
        if let Some(age) = self.least_age {
            options = options.age(Duration::from_secs(age)..);
        }
        if let Some(valid) = self.valid {
            options = options.valid(valid);
        }
        if self.descending { options.descending() } else { options }
    }

    fn matches(&self, entry: &EntryInfo) -> bool {
        let key = entry.key.as_str();
        let glob = match self.glob {
            None | Some("*") => true,
            Some("a*") => key.starts_with('a'),
            Some("*:?") => key.len() == 3 && key.contains(':'),
            Some("[!a]/*") => key.starts_with("b/"),
            Some("b:1*") => key.starts_with("b:1"),
            Some(other) => panic!("the model does not know {other}"),
        };
        let stock = entry.custom.get("stock").and_then(|stock| stock.as_i64());
        glob && self.tags.iter().all(|tag| entry.tags.iter().any(|has| has == tag))
            && self.stock.is_none_or(|least| stock.is_some_and(|stock| stock >= i64::from(least)))
            && self.least_size.is_none_or(|least| entry.size >= least)
            && self.least_age.is_none_or(|least| entry.age >= Duration::from_secs(least))
            && self.valid.is_none_or(|valid| entry.is_valid() == valid)
    }

    fn sorted(&self, entries: &[EntryInfo]) -> Vec<String> {
        let value = |entry: &EntryInfo| match self.order {
            ListOrder::Created => i128::from(entry.created_at.as_nanos()),
            ListOrder::Accessed => i128::from(entry.accessed_at.as_nanos()),
            ListOrder::Size => i128::from(entry.size),
            ListOrder::Expiry => entry.validity.expires_at.map_or(i128::MAX, |at| i128::from(at.as_nanos())),
            ListOrder::Hits => i128::from(entry.hits),
            _ => 0,
        };
        let mut matching: Vec<&EntryInfo> = entries.iter().filter(|entry| self.matches(entry)).collect();
        matching.sort_by_key(|entry| (value(entry), entry.key.clone()));
        if self.descending {
            matching.reverse();
        }
        matching.into_iter().map(|entry| entry.key.as_str().to_owned()).collect()
    }
}

/// Lists page by page.
fn pages(cache: &Cache, question: &Question) -> Vec<String> {
    let (mut keys, mut options) = (Vec::new(), question.options());
    loop {
        let page = cache.list(options).unwrap();
        assert!(page.entries.len() <= question.limit);
        keys.extend(page.entries.iter().map(|entry| entry.key.as_str().to_owned()));
        let Some(next) = page.next else { return keys };
        options = question.options().after(next);
    }
}

fn agrees_with_a_model(metadata: &str, samples: &[Sample], questions: &[Question]) {
    let clock = TestClock::new();
    let cache = Cache::builder().metadata(metadata).env(clock.env()).open_blocking().unwrap();
    for sample in samples {
        let mut options = PutOptions::manual().tags(sample.tags.clone());
        if let Some(ttl) = sample.ttl {
            options = options.with_ttl(Duration::from_secs(ttl));
        }
        if let Some(stock) = sample.stock {
            options = options.custom("stock", stock);
        }
        cache.put_with(&sample.key, &*"x".repeat(sample.size), options).unwrap();
        for _ in 0..sample.gets {
            clock.advance(Duration::from_millis(700));
            let _: Option<String> = cache.get(&sample.key).unwrap();
        }
    }
    let all = cache.list(ListOptions::new()).unwrap().entries;
    for question in questions {
        let expected = question.sorted(&all);
        assert_eq!(pages(&cache, question), expected, "{question:?}");
        assert_eq!(cache.count_matching(question.options()).unwrap(), expected.len() as u64, "{question:?}");
    }
    if let Some(question) = questions.first() {
        let removed = cache.remove_matching(question.options()).unwrap();
        let matching = question.sorted(&all);
        let gone = &matching[..matching.len().min(question.limit)];
        assert_eq!(removed, gone.len() as u64, "{question:?}");
        let left: Vec<String> =
            all.iter().map(|entry| entry.key.to_string()).filter(|key| !gone.contains(key)).collect();
        let listed = cache.list(ListOptions::new()).unwrap().entries;
        assert_eq!(listed.iter().map(|entry| entry.key.to_string()).collect::<Vec<_>>(), left);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]

    #[test]
    fn listings_agree_with_a_model(
        samples in proptest::collection::vec(sample(), 0..40),
        questions in proptest::collection::vec(question(), 1..12),
    ) {
        for metadata in ["memory", "sqlite_memory"] {
            agrees_with_a_model(metadata, &samples, &questions);
        }
    }
}

/// The most memory that this process has had resident, in bytes.
#[cfg(target_os = "linux")]
fn peak_memory() -> u64 {
    let status = fs_err::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[cfg(target_os = "linux")]
#[test]
fn queries_over_100_000_entries_take_bounded_memory() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path()).unwrap();
    let options = || PutOptions::new().tag("everyone").custom("note", "n".repeat(200));
    for part in 0..50 {
        cache.put_many((0..2_000).map(|i| (format!("{part:02}:{i:04}"), &1)), options()).unwrap();
    }
    cache.put_with("zzz", "the longest", options().tag("rare")).unwrap();
    let before = peak_memory();
    for nothing in [
        ListOptions::new().tag("nobody"),
        ListOptions::new().glob("*no such key*"),
        ListOptions::new().filter(field("note").eq("n")),
        ListOptions::new().size(1_000..).order_by(ListOrder::Size),
        ListOptions::new().valid(false),
    ] {
        let page = cache.list(nothing.clone()).unwrap();
        assert_eq!((page.entries.len(), page.next), (0, None), "{nothing:?}");
    }
    assert_eq!(cache.list(ListOptions::new().tag("rare")).unwrap().entries.len(), 1);
    let largest = cache.list(ListOptions::new().order_by(ListOrder::Size).descending()).unwrap();
    assert_eq!((largest.entries[0].key.as_str(), largest.entries.len()), ("zzz", 1_000));
    assert_eq!(cache.count_matching(ListOptions::new().tag("everyone")).unwrap(), 100_001);
    let grown = peak_memory().saturating_sub(before);
    assert!(grown < 32 << 20, "the queries took {grown} bytes");
}

/// A backend that knows nothing of queries, and would answer them wrongly.
struct Plain(Arc<dyn MetadataBackend>);

macro_rules! delegate {
    ($($name:ident ( $($argument:ident : $kind:ty),* ) -> $result:ty;)*) => {
        #[async_trait]
        impl MetadataBackend for Plain {
            fn capabilities(&self) -> MetadataCapabilities {
                self.0.capabilities().with_queries(QuerySupport::none())
            }

            fn cache_id(&self) -> CacheId {
                self.0.cache_id()
            }

            async fn list_entries(&self, query: &ListQuery) -> Result<Page> {
                assert!(query.is_in_key_order() && query.filter == Default::default(), "{query:?}");
                self.0.list_entries(query).await
            }

            $(async fn $name(&self, $($argument: $kind),*) -> Result<$result> {
                self.0.$name($($argument),*).await
            })*
        }
    };
}

delegate! {
    get_entry(namespace: &Namespace, key: &str) -> Option<Entry>;
    get_entries(namespace: &Namespace, keys: &[&str]) -> Vec<Option<Entry>>;
    apply(changes: Vec<Change>) -> Vec<Outcome>;
    record_accesses(batch: AccessBatch) -> ();
    stats(namespace: Option<&Namespace>) -> Stats;
    reset_stats(namespace: Option<&Namespace>) -> ();
    namespaces() -> Vec<Namespace>;
    clear(namespace: &Namespace) -> u64;
    drop_namespace(namespace: &Namespace) -> Option<u64>;
    purge(now: Timestamp, limit: usize) -> Purged;
    due_garbage(now: Timestamp, limit: usize) -> Vec<BlobId>;
    forget_garbage(blobs: &[BlobId]) -> ();
    change_limits(namespace: Option<&Namespace>, change: &LimitsChange) -> Limits;
    evict(namespace: Option<&Namespace>, now: Timestamp, limit: usize) -> Evictions;
    close() -> ();
}

struct PlainFactory;

#[async_trait]
impl MetadataFactory for PlainFactory {
    fn name(&self) -> &str {
        "plain"
    }

    fn description(&self) -> &str {
        "answers no queries"
    }

    fn options(&self) -> &[OptionSpec] {
        &[]
    }

    async fn open(&self, options: &ConfigOptions, context: &OpenContext) -> Result<Arc<dyn MetadataBackend>> {
        Ok(Arc::new(Plain(MemoryMetadataFactory::new().open(options, context).await?)))
    }
}

#[test]
fn what_a_backend_cannot_answer_is_an_error_that_says_what_to_do() {
    let registry = Registry::builtin().with_metadata_backend(PlainFactory).unwrap();
    let cache = cacheness::CacheBuilder::new(registry).metadata("plain").open_blocking().unwrap();
    cache.put("user:1", &1).unwrap();
    let all = ListOptions::new;
    for (options, part) in [
        (all().glob("user:*"), "`glob`"),
        (all().tag("a"), "`tag`"),
        (all().filter(field("a").eq(1)), "custom fields (`filter`)"),
        (all().size(1..), "`size`"),
        (all().age(Duration::from_secs(1)..), "`age`"),
        (all().order_by(ListOrder::Hits), "`order_by`"),
        (all().descending(), "`descending`"),
    ] {
        for error in [
            cache.list(options.clone()).unwrap_err(),
            cache.remove_matching(options.clone().limit(1)).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{options:?}");
            let text = error.to_string();
            assert!(text.contains("`plain` cannot") && text.contains(part), "{text}");
            assert!(text.contains("leave it out"), "{text}");
        }
    }
    assert_eq!(cache.list(all().prefix("user:").valid(true)).unwrap().entries.len(), 1);
    assert_eq!(cache.count_matching(all().descending()).unwrap(), 1, "counting needs no order");
    assert_eq!(cache.remove_matching(all().prefix("user:")).unwrap(), 1);
}

#[test]
fn custom_fields_that_could_not_be_read_again_are_refused() {
    let cache = Cache::memory().unwrap();
    let nested = |levels| (0..levels).fold(serde_json::json!(1), |value, _| serde_json::json!([value]));
    let error = cache.put_with("deep", &1, PutOptions::new().custom("x", nested(101))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
    cache.put_with("k", &1, PutOptions::new().custom("x", nested(100))).unwrap();
    assert_eq!(cache.get("k").unwrap(), Some(1));
    assert_eq!(cache.list(ListOptions::new()).unwrap().entries.len(), 1);
}

#[test]
fn what_is_not_valid_is_listed_in_another_order_page_by_page() {
    let clock = TestClock::new();
    let cache = Cache::builder().env(clock.env()).open_blocking().unwrap();
    let mut expected = Vec::new();
    for i in 0..3_000_u32 {
        let (key, ttl) = (format!("{:04}", i * 7 % 3_000), if i % 500 == 3 { 1 } else { 1_000 });
        cache.put_with(&key, &i, PutOptions::ttl(Duration::from_secs(ttl))).unwrap();
        clock.advance(Duration::from_nanos(1));
        expected.extend((ttl == 1).then_some(key));
    }
    clock.advance(Duration::from_secs(2));
    let options = || ListOptions::new().valid(false).order_by(ListOrder::Created);
    let mut listed = Vec::new();
    let mut next = None;
    loop {
        let options = options().limit(4);
        let page = cache.list(next.map_or(options.clone(), |cursor| options.after(cursor))).unwrap();
        listed.extend(page.entries.iter().map(|entry| entry.key.as_str().to_owned()));
        next = page.next;
        if next.is_none() {
            break;
        }
    }
    assert_eq!(listed, expected);
    assert_eq!(cache.remove_matching(options().descending().limit(2)).unwrap(), 2);
    let left = cache.list(options()).unwrap();
    let left: Vec<_> = left.entries.iter().map(|entry| entry.key.as_str()).collect();
    assert_eq!(left, expected[..4]);
}
