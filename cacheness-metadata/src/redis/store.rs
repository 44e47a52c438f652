//! What one open backend keeps: its server, the cache's id, and what it last heard of limits, ranks and victims.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cacheness_core::{AccessLog, CacheId, Error, ErrorKind, EvictionPolicies, OpenContext, OpenMode, Result};

use super::failure::{gone, unexpected};
use super::reply::Reply;
use super::rules::Rules;
use super::scripts::{self, Script};
use super::server::{Args, Server, Settings, args};
use super::writing::Preview;

/// The format of what is stored.
const FORMAT: u32 = 1;

pub(super) struct Store {
    pub(super) server: Server,
    pub(super) cache: CacheId,
    pub(super) accesses: Arc<AccessLog>,
    pub(super) policies: EvictionPolicies,
    /// For how long a change may take: no longer than anybody waits for it.
    limit: Duration,
    /// Held by the task of this process that ranks.
    pub(super) ranking: Arc<tokio::sync::Mutex<()>>,
    rules: Mutex<Rules>,
    preview: Mutex<Preview>,
}

impl Store {
    /// Finds the cache on the server, or begins one.
    pub(super) async fn open(settings: Settings, context: OpenContext) -> Result<Self> {
        let limit = context.call_timeout.map_or(settings.timeout, |limit| limit.min(settings.timeout));
        let feed = if settings.change_feed { "1" } else { "0" };
        let server = Server::new(settings, context.env.clone());
        let create = if context.mode == OpenMode::Create { "1" } else { "0" };
        let args = args![CacheId::random().to_string(), create, FORMAT.to_string(), feed];
        let (status, mut reply) = server.read(&scripts::OPEN, &args).await?;
        let prefix = server.settings.prefix.clone();
        match status.as_str() {
            "OK" => {}
            "NOTHING" => {
                let message = "the server holds no cache under this prefix, and nothing may be created";
                return Err(Error::new(ErrorKind::NotFound, message).with_context("prefix", prefix));
            }
            "NEWER" => {
                let message = format!(
                    "the entries on the server have format {}, and this version of Cacheness knows formats up to \
                     {FORMAT}; use a newer version, or another `prefix`",
                    reply.text()?
                );
                return Err(Error::new(ErrorKind::Unsupported, message).with_context("prefix", prefix));
            }
            _ => {
                let message =
                    "the keys under this prefix belong to another program; give the cache another `prefix`";
                return Err(Error::new(ErrorKind::ConfigInvalid, message).with_context("prefix", prefix));
            }
        }
        let cache = CacheId::parse(&reply.text()?).ok_or_else(unexpected)?;
        let rules = Mutex::new(Rules::read(reply.list()?)?);
        let (accesses, policies) = (context.accesses, context.policies);
        Ok(Self {
            server,
            cache,
            accesses,
            policies,
            limit,
            ranking: Arc::default(),
            rules,
            preview: Mutex::default(),
        })
    }

    /// Until when a change that is begun now may be made.
    pub(super) fn until(&self) -> Instant {
        Instant::now() + self.limit
    }

    /// The limits and the policy as they were last heard of.
    pub(super) fn rules(&self) -> Rules {
        self.lock_rules().clone()
    }

    pub(super) fn lock_rules(&self) -> MutexGuard<'_, Rules> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn lock_preview(&self) -> MutexGuard<'_, Preview> {
        self.preview.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of other rules.
    pub(super) fn learn(&self, rules: Rules) {
        *self.lock_rules() = rules;
    }

    /// The arguments that every script but the first begins with.
    pub(super) fn args(&self) -> Args {
        args![self.cache.to_string()]
    }

    /// Runs a script that only reads. `None` where the server no longer has the cache.
    pub(super) async fn read(&self, script: &Script, args: &Args) -> Result<Option<Reply>> {
        let (status, reply) = self.server.read(script, args).await?;
        Ok((status == "OK").then_some(reply))
    }

    /// Runs a script that writes, before this moment or not at all, and gives the word that its answer begins with, which
    /// comes first.
    pub(super) async fn run(&self, script: &Script, args: &Args, until: Instant) -> Result<(String, Reply)> {
        let (status, reply) = self.server.write(script, args, until).await?;
        if status == "GONE" { Err(gone()) } else { Ok((status, reply)) }
    }
}
