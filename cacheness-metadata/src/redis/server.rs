//! The connections of one open backend: each made when it is first needed, made anew when it was lost, and every call
//! bounded in time.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use cacheness_core::{Env, Error, ErrorKind, Result};
use futures_util::future::{Either, select};
use redis::{Cmd, Value};
use tokio::sync::Mutex;

use super::connect::{Link, Target};
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
}

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
}

impl Server {
    pub(super) fn new(settings: Settings, env: Env) -> Self {
        let links = (0..settings.connections.max(1)).map(|_| Mutex::new(None)).collect();
        Self { settings, env, links, next: AtomicUsize::new(0), closed: AtomicBool::new(false) }
    }

    /// The name of a key.
    pub(super) fn key(&self, rest: &str) -> String {
        format!("{}{rest}", self.settings.prefix)
    }

    /// Runs a script, and gives its answer without the word that it begins with, which comes first. Where the connection
    /// is lost meanwhile, one that only reads is run once more.
    pub(super) async fn run(&self, script: &Script, args: &Args, reads: bool) -> Result<(String, Reply)> {
        let first = self.run_once(script, args).await;
        let answer = match first {
            Err(error) if reads && error.kind() == ErrorKind::Unavailable && error.is_temporary() => {
                self.run_once(script, args).await?
            }
            answer => answer?,
        };
        let mut reply = Reply::new(answer)?;
        let status = reply.text()?;
        Ok((status, reply))
    }

    async fn run_once(&self, script: &Script, args: &Args) -> Result<Value> {
        let by_hash = self.command("EVALSHA", script.sha(), args);
        let answer = self.call(async |link| link.run(&by_hash).await).await?;
        match answer {
            Some(value) => Ok(value),
            None => {
                let by_text = self.command("EVAL", script.text(), args);
                self.call(async |link| link.run(&by_text).await).await?.ok_or_else(unexpected)
            }
        }
    }

    fn command(&self, name: &str, script: &str, args: &Args) -> Cmd {
        let mut command = redis::cmd(name);
        command.arg(script).arg(1).arg(self.key("h"));
        for arg in args {
            command.arg(arg);
        }
        command
    }

    /// Sends one command.
    pub(super) async fn send(&self, command: Cmd) -> Result<Value> {
        self.call(async |link| link.send(command).await).await
    }

    /// As [`Link::saved_before`].
    pub(super) async fn saved_before(&self) -> Result<Option<i64>> {
        self.call(async |link| link.saved_before().await).await
    }

    /// Makes one call within the time limit.
    async fn call<T>(&self, work: impl AsyncFnOnce(&Link) -> Result<T>) -> Result<T> {
        if self.closed.load(Ordering::Acquire) {
            return Err(closed());
        }
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.links.len();
        let link = self.link(turn).await?;
        let answer = self.within(self.settings.timeout, work(&link)).await;
        if answer.as_ref().is_err_and(|error| error.kind() == ErrorKind::Timeout) {
            // Others may still get their answers over it, but nothing new is sent.
            link.give_up();
        }
        answer.map_err(|error| error.with_context("backend", NAME))
    }

    async fn link(&self, turn: usize) -> Result<Arc<Link>> {
        let made = async {
            let mut slot = self.links[turn].lock().await;
            if let Some(link) = slot.as_ref().filter(|link| link.is_alive()) {
                return Ok(link.clone());
            }
            *slot = None;
            let link = Arc::new(Link::connect(&self.settings.target).await?);
            *slot = Some(link.clone());
            Ok(link)
        };
        self.within(self.settings.connect_timeout, made)
            .await
            .map_err(|error| error.with_context("backend", NAME))
    }

    /// A connection for one use alone.
    pub(super) async fn own_link(&self) -> Result<Link> {
        self.within(self.settings.connect_timeout, Link::connect(&self.settings.target)).await
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
