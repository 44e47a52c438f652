//! Asking a backend how it fares.

use std::sync::Arc;
use std::time::Duration;

use super::super::health::{BackendHealth, HealthState, LastError};
use super::Guard;
use crate::error::Result;

/// How long [`Guard::health`] waits for an answer at the most.
const WAIT: Duration = Duration::from_secs(1);

impl Guard {
    /// How the backend fares. Where no call has shown it lately, it is asked, and waited for a second at the most.
    pub(crate) async fn health(self: &Arc<Self>) -> BackendHealth {
        let slow = if self.was_asked_lately() {
            None
        } else {
            let guard = self.clone();
            // That it does not answer while somebody watches is no failure: only when the time of a call is over is it one.
            let asked = self.env.on_io(async move {
                let asking = guard.clone();
                let asking = guard.env.on_io(async move { asking.ask().await });
                let wait = guard.calls.timeout.min(WAIT);
                // What was found is in the breaker.
                Ok(guard.within(wait, asking).await.is_none().then(|| guard.timed_out(wait)))
            });
            asked.await.unwrap_or_else(Some)
        };
        let now = self.env.now();
        let breaker = self.breaker();
        let mut health = BackendHealth {
            role: self.role,
            backend: self.name.clone(),
            state: breaker.health(),
            since: breaker.since(),
            last_error: breaker.last_failure().map(|(at, error)| LastError::new(*at, error)),
            last_answer: breaker.last_success(),
        };
        if let Some(error) = slow
            && health.state == HealthState::Ok
        {
            (health.state, health.since) = (HealthState::Degraded, now);
            health.last_error = Some(LastError::new(now, &error));
        }
        health
    }

    fn was_asked_lately(&self) -> bool {
        let now = self.env.now();
        let breaker = self.breaker();
        let failure = breaker.last_failure().map(|(at, _)| *at);
        let last = breaker.last_success().max(failure);
        last.is_some_and(|last| now >= last && now.since(last) < self.calls.breaker_pause)
    }

    async fn ask(&self) -> Result<()> {
        // Somebody else may have been asking since before.
        let _asking = self.asking.lock().await;
        if self.was_asked_lately() {
            return Ok(());
        }
        let admitted = self.admit()?;
        match self.pinged(self.calls.timeout).await {
            Ok(()) => admitted.succeeded(),
            Err(error) => admitted.failed(error),
        }
        Ok(())
    }

    /// Asks whether calls are made. Where the breaker is open and its pause is over, the backend is asked first.
    ///
    /// # Errors
    /// That of a call that is not made.
    pub(crate) async fn is_ready(self: &Arc<Self>) -> Result<()> {
        if self.lets_calls_through() {
            return Ok(());
        }
        let guard = self.clone();
        // To its end: a probe decides for all.
        let asked = self.env.on_io(async move {
            let admitted = guard.admit()?;
            if !admitted.is_probe {
                admitted.undecided();
                return Ok(());
            }
            match guard.pinged(guard.calls.timeout).await {
                Ok(()) => {
                    admitted.answered().undecided();
                    Ok(())
                }
                Err(error) => {
                    admitted.failed(error);
                    Err(guard.refusal())
                }
            }
        });
        asked.await.map_err(|error| error.with_context("backend", self.name.as_str()))
    }

    /// Asks the backend whether it answers. An answer of any kind will do.
    pub(super) async fn pinged(&self, wait: Duration) -> Result<()> {
        let Some(ping) = self.ping.get() else { return Ok(()) };
        match self.within(wait, ping()).await {
            Some(Err(error)) if error.is_temporary() => Err(error),
            Some(_) => Ok(()),
            None => Err(self.timed_out(wait)),
        }
    }
}
