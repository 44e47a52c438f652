//! The connections of one open backend: each made when it is first needed, made anew when it was lost, and every call
//! bounded in time.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use cacheness_core::{Env, Error, ErrorKind, Result};
use futures_util::future::{Either, select};
use tokio::sync::Mutex;

use super::connect::{Link, Target};
use super::deadline::late;
use super::failure::{NAME, closed, unexpected};
use super::reply::Reply;
use super::scripts::Script;

/// How calls are made.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) target: Target,
    /// What all keys begin with: `{PREFIX}:`.
    pub(super) prefix: String,
    pub(super) connections: usize,
    pub(super) connect_timeout: Duration,
    pub(super) timeout: Duration,
    pub(super) change_feed: bool,
    /// How late a change may arrive.
    pub(super) change_feed_bound: Duration,
    /// How many changes the feed goes back.
    pub(super) feed_length: u64,
}

/// What a script answers that came after its time, with the time by its clock.
const LATE: &str = "LATE";

/// The arguments of a script.
pub(super) type Args = Vec<Vec<u8>>;

/// Makes arguments of texts and bytes.
macro_rules! args {
    ($($arg:expr),* $(,)?) => { vec![$(Vec::<u8>::from($arg)),*] };
}
pub(super) use args;

pub(super) struct Server {
    pub(super) settings: Settings,
    pub(super) env: Env,
    links: Vec<Mutex<Option<Arc<Link>>>>,
    next: AtomicUsize,
    closed: AtomicBool,
    saves: std::sync::Mutex<Saves>,
}

/// When the server has saved what it has, in seconds by its clock. One save begins after the one before has ended, so the
/// last has whatever was written before the end of the one before it. (How long it took is not told: what the server says
/// of that may be of a later one that failed, or that was made for a replica.)
#[derive(Default)]
struct Saves {
    /// The server's process.
    run: String,
    before: i64,
    last: i64,
}

impl Server {
    pub(super) fn new(settings: Settings, env: Env) -> Self {
        let links = (0..settings.connections.max(1)).map(|_| Mutex::new(None)).collect();
        Self {
            settings,
            env,
            links,
            next: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            saves: std::sync::Mutex::default(),
        }
    }

    /// The name of a key.
    pub(super) fn key(&self, rest: &str) -> String {
        format!("{}{rest}", self.settings.prefix)
    }

    /// Runs a script that only reads, and gives its answer without the word that it begins with, which comes first. Where
    /// the connection is lost meanwhile, it is run once more.
    pub(super) async fn read(&self, script: &Script, args: &Args) -> Result<(String, Reply)> {
        match self.run(script, args, None).await {
            Err(error) if error.kind() == ErrorKind::Unavailable && error.is_temporary() => {
                self.run(script, args, None).await
            }
            answer => answer,
        }
    }

    /// Runs a script that writes, unless this moment is over when the server comes to it, and gives its answer as
    /// [`read`](Self::read) does.
    pub(super) async fn write(
        &self,
        script: &Script,
        args: &Args,
        until: Instant,
    ) -> Result<(String, Reply)> {
        loop {
            let answer = self.run(script, args, Some(until)).await?;
            if answer.0 != LATE {
                return Ok(answer);
            }
            // Where there is time left, the server's clock was not known, or has been set.
            if Instant::now() >= until {
                return Err(late());
            }
        }
    }

    async fn run(&self, script: &Script, args: &Args, until: Option<Instant>) -> Result<(String, Reply)> {
        let key = self.key("h");
        let command = |link: &Link, name: &str, script: &str| {
            let mut command = redis::cmd(name);
            command.arg(script).arg(1).arg(&key);
            for arg in args {
                command.arg(arg);
            }
            if let Some(until) = until {
                command.arg(link.clock.at(until));
            }
            command
        };
        self.call(async |link| {
            let answer = match link.run(&command(link, "EVALSHA", script.sha())).await? {
                Some(answer) => answer,
                None => link.run(&command(link, "EVAL", script.text())).await?.ok_or_else(unexpected)?,
            };
            let mut reply = Reply::new(answer)?;
            let status = reply.text()?;
            if status == LATE {
                link.clock.learn(reply.number()?);
            }
            Ok((status, reply))
        })
        .await
    }

    /// Sees whether there is a server that takes writes.
    pub(super) async fn ping(&self) -> Result<()> {
        self.call(async |link| link.ping().await).await
    }

    /// The second, by the server's clock, before which what was written has been saved: not known yet where that is the
    /// smallest number, and `None` where each write is logged, or nothing is ever saved.
    pub(super) async fn saved_before(&self) -> Result<Option<i64>> {
        self.call(async |link| {
            let Some(last) = link.last_save().await? else { return Ok(None) };
            let mut saves = self.saves.lock().unwrap_or_else(PoisonError::into_inner);
            if saves.run != link.run {
                *saves = Saves { run: link.run.clone(), before: i64::MIN, last };
            } else if saves.last != last {
                (saves.before, saves.last) = (saves.last, last);
            }
            Ok(Some(saves.before))
        })
        .await
    }

    /// Makes one call within the time limit.
    async fn call<T>(&self, work: impl AsyncFnOnce(&Link) -> Result<T>) -> Result<T> {
        if self.is_closed() {
            return Err(closed());
        }
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.links.len();
        // Where there is no connection, nothing was sent.
        let link = self.link(turn).await.map_err(|error| error.with_outcome_unknown(false))?;
        let answer = self.within(self.settings.timeout, work(&link)).await;
        if answer.as_ref().is_err_and(|error| error.kind() == ErrorKind::Timeout) {
            // Others may still get their answers over it, but nothing new is sent.
            link.give_up();
        } else if answer.is_err() && !link.is_alive() {
            // What has become of the server that this one led to, the others would find out one by one, and those that
            // only read perhaps never.
            self.give_up_all();
        }
        answer.map_err(|error| error.with_context("backend", NAME))
    }

    fn give_up_all(&self) {
        // One that is locked is being made anew.
        for slot in self.links.iter().filter_map(|slot| slot.try_lock().ok()) {
            slot.iter().for_each(|link| link.give_up());
        }
    }

    async fn link(&self, turn: usize) -> Result<Arc<Link>> {
        let made = async {
            let mut slot = self.links[turn].lock().await;
            if self.is_closed() {
                return Err(closed());
            }
            if let Some(link) = slot.as_ref().filter(|link| link.is_alive()) {
                return Ok(link.clone());
            }
            *slot = None;
            let link = Arc::new(self.own_link().await?);
            *slot = Some(link.clone());
            Ok(link)
        };
        self.within(self.settings.connect_timeout, made)
            .await
            .map_err(|error| error.with_context("backend", NAME))
    }

    /// A connection for one use alone.
    pub(super) async fn own_link(&self) -> Result<Link> {
        let limit = self.settings.connect_timeout;
        self.within(limit, Link::connect(&self.settings.target, limit, &self.env)).await
    }

    pub(super) async fn within<T>(
        &self,
        limit: Duration,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        match select(pin!(work), pin!(self.env.sleep(limit))).await {
            Either::Left((result, _)) => result,
            Either::Right(_) => {
                let message = format!(
                    "the server did not answer within {limit:?}; see whether it can be reached, or raise `timeout` or \
                     `connect_timeout`"
                );
                Err(Error::new(ErrorKind::Timeout, message))
            }
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(super) async fn close(&self) {
        if self.closed.swap(true, Ordering::AcqRel) {
            return;
        }
        for slot in &self.links {
            slot.lock().await.take();
        }
    }
}
