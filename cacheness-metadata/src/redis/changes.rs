//! The change feed: a stream that every write adds to, read on a connection of its own for each subscriber.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cacheness_core::{ChangeFeed, ChangeFeeds, Changed, Error, ErrorKind, Namespace, Result, Version};
use redis::Value;
use tokio::sync::mpsc;

use super::connect::Link;
use super::failure::{closed, gone, unexpected};
use super::layout::read_hex;
use super::reply::Reply;
use super::scripts;
use super::store::Store;

/// The times of a feed, of which the first one is given: how late a change may arrive.
#[derive(Clone, Copy)]
struct Times {
    bound: Duration,
    /// How long the server holds an answer back while nothing happens: an answer that is later means that the connection is
    /// cut.
    heartbeat: Duration,
    /// How long after that an answer may come.
    grace: Duration,
    /// How long to wait before the server is asked again after a failure.
    pause: Duration,
}

impl Times {
    fn of(store: &Store) -> Self {
        let bound = store.server.settings.change_feed_bound;
        Self { bound, heartbeat: bound / 5, grace: bound * 2 / 5, pause: bound / 25 }
    }
}

/// The most changes of one answer.
const AT_ONCE: usize = 1_000;

/// How many answers wait for a subscriber.
const WAITING: usize = 4;

pub(super) struct Feeds(Arc<Store>);

impl Feeds {
    pub(super) fn new(store: Arc<Store>) -> Self {
        Self(store)
    }
}

#[async_trait]
impl ChangeFeeds for Feeds {
    fn bound(&self) -> Duration {
        self.0.server.settings.change_feed_bound
    }

    async fn subscribe(&self) -> Result<Box<dyn ChangeFeed>> {
        let store = self.0.clone();
        let env = store.server.env.clone();
        env.on_io(async move {
            let (tell, changes) = mpsc::channel(WAITING);
            let (run, begun, lost, behind) = (String::new(), false, false, false);
            let times = Times::of(&store);
            let mut reader = Reader { store, times, link: None, run, last: 0, begun, lost, behind };
            reader.connect().await?;
            tokio::spawn(async move {
                // A subscriber that is gone ends the reading at once.
                let reading = std::pin::pin!(reader.follow(&tell));
                let gone = std::pin::pin!(tell.closed());
                futures_util::future::select(reading, gone).await;
            });
            Ok(Box::new(Feed { changes }) as Box<dyn ChangeFeed>)
        })
        .await
    }
}

struct Feed {
    changes: mpsc::Receiver<Result<Vec<Changed>>>,
}

#[async_trait]
impl ChangeFeed for Feed {
    async fn next(&mut self) -> Result<Vec<Changed>> {
        self.changes.recv().await.unwrap_or_else(|| Err(closed()))
    }
}

/// What follows the stream for one subscriber.
struct Reader {
    store: Arc<Store>,
    times: Times,
    link: Option<Link>,
    /// The process of the server that the place belongs to.
    run: String,
    /// The number of the last event that was read.
    last: u64,
    begun: bool,
    /// True once the subscriber was told that the cache is gone.
    lost: bool,
    /// True where there was an event after the last that was read when that was last seen to.
    behind: bool,
}

impl Reader {
    /// Reads until the backend is closed.
    async fn follow(&mut self, tell: &mpsc::Sender<Result<Vec<Changed>>>) {
        let env = self.store.server.env.clone();
        let (times, mut heard) = (self.times, env.now());
        loop {
            if self.store.server.is_closed() {
                let _ = tell.send(Err(closed())).await;
                return;
            }
            // A subscriber is told within the bound, whatever it is that takes so long.
            let left = times.bound.saturating_sub(env.now().since(heard)).max(times.pause);
            let store = self.store.clone();
            match store.server.within(left, self.step()).await {
                Ok(changes) => {
                    if !changes.is_empty() && tell.send(Ok(changes)).await.is_err() {
                        return;
                    }
                    // After that: for as long as the subscriber takes, the server is not asked.
                    heard = env.now();
                }
                Err(error) => {
                    self.link = None;
                    if env.now().since(heard) >= times.bound - times.pause
                        || error.kind() == ErrorKind::NotFound
                    {
                        heard = env.now();
                        // Who does not listen need not hear of it twice.
                        let _ = tell.try_send(Err(told(error)));
                    }
                    env.sleep(times.pause).await;
                }
            }
        }
    }

    async fn step(&mut self) -> Result<Vec<Changed>> {
        if self.link.is_none() && self.connect().await? {
            return Ok(vec![Changed::Missed]);
        }
        let Some(link) = &self.link else { return Ok(Vec::new()) };
        let (times, mut command) = (self.times, redis::cmd("XREAD"));
        command.arg("BLOCK").arg(times.heartbeat.as_millis() as u64).arg("COUNT").arg(AT_ONCE - 1);
        command.arg("STREAMS").arg(self.store.server.key("f")).arg(format!("{}-0", self.last));
        let answer = self.store.server.within(times.heartbeat + times.grace, link.send(command)).await?;
        if let Value::Nil = answer {
            return self.check().await;
        }
        self.read(answer)
    }

    /// Connects, and finds where the feed stands. True where the place before is not good any more.
    async fn connect(&mut self) -> Result<bool> {
        let link = self.store.server.own_link().await?;
        let run = link.run.clone();
        self.link = Some(link);
        let Some(now) = self.position().await? else {
            if !self.begun || self.lost {
                return Err(gone());
            }
            self.lost = true;
            return Ok(true);
        };
        // Another process of the server may not have what the last one had.
        let is_other = self.begun && (run != self.run || now < self.last);
        if !self.begun || is_other {
            self.last = now;
        }
        (self.begun, self.lost, self.run) = (true, false, run);
        Ok(is_other)
    }

    /// The number of the last event; `None` where the cache is gone.
    async fn position(&self) -> Result<Option<u64>> {
        match self.store.read(&scripts::FEED, &self.store.args()).await? {
            Some(mut reply) => reply.number().map(Some),
            None => Ok(None),
        }
    }

    /// Where nothing has come: sees whether the server is still the one that is written to, the cache still there, and its
    /// feed not behind what was read.
    async fn check(&mut self) -> Result<Vec<Changed>> {
        if let Some(link) = &self.link {
            self.store.server.within(self.times.grace, link.ping()).await?;
        }
        match self.position().await? {
            Some(now) if now == self.last => {
                self.behind = false;
                Ok(Vec::new())
            }
            // It may have come a moment ago. Then it is read now, unless it is not in the stream: that was trimmed or deleted, or
            // the user of whoever made the change may not write to it.
            Some(now) if now > self.last && !self.behind => {
                self.behind = true;
                Ok(Vec::new())
            }
            Some(now) => {
                (self.last, self.behind) = (now, false);
                Ok(vec![Changed::Missed])
            }
            None if self.lost => Err(gone()),
            None => {
                self.lost = true;
                Ok(vec![Changed::Missed])
            }
        }
    }

    /// Reads the events of an answer.
    fn read(&mut self, answer: Value) -> Result<Vec<Changed>> {
        self.behind = false;
        let mut streams = Reply::new(answer)?;
        let mut stream = streams.list()?;
        stream.bytes()?;
        let mut events = stream.list()?;
        let mut changes = Vec::with_capacity(events.left() + 1);
        while events.left() > 0 {
            let mut event = events.list()?;
            let id = event.text()?;
            let number: u64 =
                id.split('-').next().and_then(|number| number.parse().ok()).ok_or_else(unexpected)?;
            if number != self.last + 1 {
                changes.push(Changed::Missed);
            }
            self.last = number;
            changes.push(read_event(event.list()?)?);
        }
        Ok(changes)
    }
}

fn read_event(mut fields: Reply) -> Result<Changed> {
    let mut next = || {
        fields.bytes()?;
        fields.text()
    };
    let (kind, namespace, key, version) = (next()?, Namespace::new(next()?)?, next()?, next()?);
    Ok(match kind.as_str() {
        "put" => {
            let version = read_hex(version.as_bytes()).ok_or_else(unexpected)?;
            Changed::Put { namespace, key, version: Version(version) }
        }
        "cleared" => Changed::Cleared { namespace },
        _ => Changed::Invalidated { namespace, key },
    })
}

/// The error as a subscriber gets it.
fn told(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Timeout | ErrorKind::Unavailable => error,
        _ => Error::new(
            ErrorKind::Unavailable,
            "the changes cannot be read; entries may be other than they are known to be",
        )
        .with_source(error),
    }
}
