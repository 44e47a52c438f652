//! The feed of changes: what all processes write into a table in the transactions that make them. A subscriber asks for
//! what has become visible since it last asked, when it is notified and from time to time; the asking shows, too, that the
//! server is there.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use cacheness_core::{ChangeFeed, ChangeFeeds, Changed, Error, ErrorKind, Result, Timestamp, Version};
use futures_util::future::select;
use tokio::sync::watch;
use tokio_postgres::Row;

use super::backend::PostgresMetadata;
use super::connection::Param;
use super::deadline::Deadline;
use super::failure::Failure;
use super::reading::{damaged, namespace};
use super::statements::Sql;
use super::store::{Store, params};

/// The most changes that are handed out at once.
const AT_ONCE: i32 = 1_000;

/// After so long without an answer changes may have been deleted: they are kept for 20 minutes, and a transaction takes 5
/// at most.
const FORGOTTEN: Duration = Duration::from_secs(600);

/// How often at most a process notifies others.
const NOTIFY_EVERY: Duration = Duration::from_millis(20);

/// What the first row of an answer is: the feed was only begun by the question, or what it begins with.
const BEGUN: i16 = 8;
const HEADER: i16 = 9;

/// The row that says that there are too many changes to be read in parts.
const TOO_MANY: i16 = 10;

/// How a process takes part in the feed.
pub(super) struct FeedSettings {
    /// Whether it offers one.
    pub(super) enabled: bool,
    /// How late a change may arrive.
    pub(super) bound: Duration,
}

/// Tells others that something was changed, not more often than need be.
#[derive(Default)]
pub(super) struct Notifier {
    under_way: AtomicBool,
    last: Mutex<Option<Timestamp>>,
    /// True where somebody followed the changes when last asked.
    followed: AtomicBool,
}

/// The place of a subscriber.
struct Feed {
    store: Arc<Store>,
    notified: watch::Receiver<u64>,
    /// What is visible at this moment is known, and when it was by the server's clock, in microseconds, and on which of the
    /// server's timelines.
    seen: String,
    seen_at: i64,
    timeline: Vec<u8>,
    /// The moment up to which changes are being handed out, and the last of them.
    up_to: Option<String>,
    last: i64,
    /// A question that is under way. It goes on where nobody waits for it any more, and whoever comes next waits for that one.
    asking: Option<Asking>,
    /// Since when there is no answer.
    silent_since: Option<Timestamp>,
}

/// What a question gives: the answer, and what was notified before it.
type Asking = Pin<Box<dyn Future<Output = Result<(Answer, watch::Receiver<u64>)>> + Send>>;

/// The answer to one question.
struct Answer {
    moment: String,
    /// True where the server has gone back in time, as after a restore.
    went_back: bool,
    at: i64,
    timeline: Vec<u8>,
    /// True where there are too many to be read in parts.
    too_many: bool,
    changes: Vec<(i64, Changed)>,
}

#[async_trait]
impl ChangeFeeds for PostgresMetadata {
    fn bound(&self) -> Duration {
        self.store.feed.bound
    }

    async fn subscribe(&self) -> Result<Box<dyn ChangeFeed>> {
        self.call(|store| async move {
            let notified = store.pool.notified();
            store.pool.listen(&store.channel()).await?;
            let answer = begin(&store).await?;
            let feed = Feed {
                notified,
                seen: answer.moment,
                seen_at: answer.at,
                timeline: answer.timeline,
                up_to: None,
                last: 0,
                asking: None,
                silent_since: None,
                store,
            };
            Ok(Box::new(feed) as Box<dyn ChangeFeed>)
        })
        .await
    }
}

#[async_trait]
impl ChangeFeed for Feed {
    async fn next(&mut self) -> Result<Vec<Changed>> {
        let bound = self.store.feed.bound;
        let mut wait = Duration::ZERO;
        loop {
            let now = self.store.env.now();
            let silent = now.since(*self.silent_since.get_or_insert(now));
            let limit = (bound / 3).min(bound.saturating_sub(silent)).max(Duration::from_millis(1));
            match self.step(wait, limit).await {
                Ok(answer) => {
                    self.silent_since = None;
                    if let Some(changes) = self.take(answer).await? {
                        return Ok(changes);
                    }
                    wait = bound / 4;
                }
                Err(error) if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout) => {
                    let silent = self.store.env.now().since(now) + silent;
                    if silent >= bound {
                        // Whoever asks again waits for as long again.
                        self.silent_since = None;
                        let message = format!(
                            "the server has not answered for {silent:?}; changes may not have arrived"
                        );
                        return Err(
                            Error::new(ErrorKind::Unavailable, message).with_context("backend", "postgres")
                        );
                    }
                    wait = (bound / 20).min(Duration::from_millis(500)).min(bound - silent);
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl Feed {
    /// Waits until it is notified, or for so long, and asks once; or waits for what was asked before. It ends by itself soon.
    async fn step(&mut self, wait: Duration, limit: Duration) -> Result<Answer> {
        let asking = match &mut self.asking {
            Some(asking) => asking,
            none => none.insert(question(
                self.store.clone(),
                self.notified.clone(),
                params![Some(self.seen.clone()), self.up_to.clone(), self.last, AT_ONCE],
                wait,
                limit,
            )),
        };
        let asked = asking.await;
        self.asking = None;
        let (answer, notified) = asked?;
        self.notified = notified;
        Ok(answer)
    }

    /// Takes note of an answer, and hands out what it brings.
    async fn take(&mut self, answer: Answer) -> Result<Option<Vec<Changed>>> {
        let since = u64::try_from(answer.at.saturating_sub(self.seen_at)).unwrap_or(0);
        let elsewhere = answer.timeline != self.timeline;
        if answer.went_back || elsewhere || answer.too_many || Duration::from_micros(since) > FORGOTTEN {
            let store = self.store.clone();
            let answer =
                self.store.env.on_io(async move { begin(&store).await.map_err(Failure::told) }).await?;
            self.go_on_from(answer);
            return Ok(Some(vec![Changed::Missed]));
        }
        let changes = if answer.changes.len() >= usize::try_from(AT_ONCE).unwrap_or(usize::MAX) {
            self.last = answer.changes.last().map_or(0, |(id, _)| *id);
            self.up_to = Some(answer.moment);
            answer.changes
        } else {
            self.go_on_from(answer)
        };
        let changes: Vec<Changed> = changes.into_iter().map(|(_, changed)| changed).collect();
        Ok((!changes.is_empty()).then_some(changes))
    }

    /// All that was visible when the question was asked is known.
    fn go_on_from(&mut self, answer: Answer) -> Vec<(i64, Changed)> {
        (self.seen, self.seen_at, self.timeline) = (answer.moment, answer.at, answer.timeline);
        (self.up_to, self.last) = (None, 0);
        answer.changes
    }
}

fn question(
    store: Arc<Store>,
    mut notified: watch::Receiver<u64>,
    params: [Param; 4],
    wait: Duration,
    limit: Duration,
) -> Asking {
    let env = store.env.clone();
    let asking = async move {
        if !wait.is_zero() {
            select(pin!(notified.changed()), pin!(store.env.sleep(wait))).await;
        }
        // What is notified from here on comes after the question.
        notified.borrow_and_update();
        let rows = store.pool.query_within(Sql::Poll, &params, limit, Deadline::NONE).await;
        let answer = rows.and_then(|rows| read(&rows)).map_err(Failure::told)?;
        let answer = answer.ok_or_else(|| damaged("a question for changes was not answered"))?;
        Ok((answer, notified))
    };
    Box::pin(async move { env.on_io(asking).await })
}

/// Sees to it that changes are written down, and gives the moment from which on they are.
async fn begin(store: &Store) -> Result<Answer, Failure> {
    for _ in 0..3 {
        let params = params![None::<String>, None::<String>, 0_i64, AT_ONCE];
        if let Some(answer) = read(&store.query(Sql::Poll, &params).await?)? {
            return Ok(answer);
        }
    }
    Err(damaged("the feed of changes cannot be begun").into())
}

/// Reads an answer; `None` where the feed was only begun by the question.
fn read(rows: &[Row]) -> Result<Option<Answer>, Failure> {
    let Some((first, rest)) = rows.split_first() else { return Ok(None) };
    match first.try_get::<_, i16>(0)? {
        HEADER => {}
        BEGUN => return Ok(None),
        _ => return Err(damaged("the answer to a question for changes has no head").into()),
    }
    let (mut changes, mut too_many) = (Vec::with_capacity(rest.len()), false);
    for row in rest {
        if row.try_get::<_, i16>(0)? == TOO_MANY {
            too_many = true;
            continue;
        }
        changes.push((row.try_get(1)?, changed(row)?));
    }
    Ok(Some(Answer {
        moment: String::from_utf8_lossy(first.try_get(3)?).into_owned(),
        went_back: first.try_get::<_, i64>(1)? != 0,
        timeline: first.try_get(2)?,
        at: first.try_get(4)?,
        too_many,
        changes,
    }))
}

fn changed(row: &Row) -> Result<Changed, Failure> {
    let namespace = namespace(row.try_get(2)?)?;
    let key: Option<&[u8]> = row.try_get(3)?;
    let key = match key.map(|key| std::str::from_utf8(key)) {
        Some(Ok(key)) => key.to_owned(),
        Some(Err(_)) => return Err(damaged("a key is not UTF-8").into()),
        None => String::new(),
    };
    let version = row.try_get::<_, Option<i64>>(4)?.map(|version| Version(version.max(0).unsigned_abs()));
    Ok(match (row.try_get::<_, i16>(0)?, version) {
        (0, Some(version)) => Changed::Put { namespace, key, version },
        (2, _) => Changed::Cleared { namespace },
        _ => Changed::Invalidated { namespace, key },
    })
}

impl Store {
    /// The channel on which processes of this cache notify each other.
    pub(super) fn channel(&self) -> String {
        format!("cacheness_{}", self.cache)
    }

    /// Takes note of whether somebody follows the changes, and notifies them.
    pub(super) fn changed(self: &Arc<Self>, followed: bool) {
        self.notifier.followed.store(followed, Ordering::Relaxed);
        self.notify();
    }

    /// Notifies those who follow the changes: now, or soon where that was done a moment ago. To be called on the cache's
    /// own runtime. Where it fails they learn of the changes all the same, somewhat later.
    pub(super) fn notify(self: &Arc<Self>) {
        if !self.notifier.followed.load(Ordering::Relaxed)
            || self.notifier.under_way.swap(true, Ordering::AcqRel)
        {
            return;
        }
        let store = self.clone();
        tokio::spawn(async move {
            let last = *store.notifier.last.lock().unwrap_or_else(PoisonError::into_inner);
            let since = last.map_or(NOTIFY_EVERY, |last| store.env.now().since(last));
            if let Some(wait) = NOTIFY_EVERY.checked_sub(since).filter(|wait| !wait.is_zero()) {
                store.env.sleep(wait).await;
            }
            *store.notifier.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(store.env.now());
            // What is changed from here on needs a notification of its own.
            store.notifier.under_way.store(false, Ordering::Release);
            let _ = store.query(Sql::Notify, &params![store.channel()]).await;
        });
    }
}
