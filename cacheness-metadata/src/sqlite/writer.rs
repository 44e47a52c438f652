//! Grouped commits: concurrent callers put their changes into a queue, and whoever gets the writing connection makes
//! the changes of all of them in one transaction.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cacheness_core::{Change, Error, ErrorKind, Outcome, Result};

use super::failure::Tried;
use super::store::{Store, Writer, closed};

/// The most changes of several callers in one transaction.
const CHANGES_PER_COMMIT: usize = 1_000;

/// Changes that wait for the connection.
#[derive(Default)]
pub(super) struct Queue(Mutex<VecDeque<Arc<Job>>>);

/// What one caller wants done.
struct Job(Mutex<State>);

enum State {
    Waiting(Vec<Change>),
    Done(Result<Vec<Outcome>>),
    /// The result has been taken, or whoever was to make the changes panicked.
    Gone,
}

impl Job {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn jobs(&self) -> MutexGuard<'_, VecDeque<Arc<Job>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many callers wait.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.jobs().len()
    }

    /// Takes as many jobs as go into one transaction, at least one.
    fn take(&self) -> Vec<Arc<Job>> {
        let mut queue = self.jobs();
        let (mut jobs, mut changes) = (Vec::new(), 0);
        while let Some(job) = queue.front() {
            let more = match &*job.state() {
                State::Waiting(changes) => changes.len(),
                State::Done(_) | State::Gone => 0,
            };
            if changes > 0 && changes + more > CHANGES_PER_COMMIT {
                break;
            }
            changes += more;
            jobs.extend(queue.pop_front());
        }
        jobs
    }
}

/// Makes the changes of one caller, together with those of others that wait at the same time.
pub(super) fn apply(store: &Store, mut changes: Vec<Change>) -> Result<Vec<Outcome>> {
    if changes.is_empty() {
        return store.lock_writer().map(|_| Vec::new());
    }
    // A caller that is alone pays nothing for the queue. It is not unfair to those in it, either: one of them has
    // the connection next.
    if let Some(mut writer) = store.try_lock_writer() {
        let Some(writer) = writer.as_mut() else { return Err(closed()) };
        return alone(store, writer, &mut changes);
    }
    let job = Arc::new(Job(Mutex::new(State::Waiting(changes))));
    store.queue.jobs().push_back(job.clone());
    loop {
        let mut writer = match store.lock_writer() {
            Ok(writer) => writer,
            Err(error) => {
                store.queue.jobs().retain(|other| !Arc::ptr_eq(other, &job));
                return finished(&job).unwrap_or(Err(error));
            }
        };
        if let Some(result) = finished(&job) {
            return result;
        }
        let Some(writer) = writer.as_mut() else { return Err(closed()) };
        let jobs = store.queue.take();
        if jobs.is_empty() {
            let message = "the thread that was to write these changes panicked";
            return Err(Error::new(ErrorKind::Unexpected, message));
        }
        lead(store, writer, &jobs);
    }
}

/// Makes the changes of one caller. Those that only take away work on a full disk, too.
fn alone(store: &Store, writer: &mut Writer, changes: &mut [Change]) -> Result<Vec<Outcome>> {
    if changes.iter().all(|change| matches!(change, Change::Remove { .. })) {
        store.transact_freeing(writer, |transaction| transaction.apply(changes))
    } else {
        store.transact(writer, |transaction| transaction.apply(changes))
    }
}

/// The result of a job, if it has one.
fn finished(job: &Job) -> Option<Result<Vec<Outcome>>> {
    let mut state = job.state();
    match std::mem::replace(&mut *state, State::Gone) {
        State::Done(result) => Some(result),
        other => {
            *state = other;
            None
        }
    }
}

/// Makes the changes of all jobs in one transaction. Where one of them fails, each is tried by itself.
fn lead(store: &Store, writer: &mut Writer, jobs: &[Arc<Job>]) {
    let mut changes: Vec<Vec<Change>> = jobs
        .iter()
        .map(|job| match std::mem::replace(&mut *job.state(), State::Gone) {
            State::Waiting(changes) => changes,
            State::Done(_) | State::Gone => Vec::new(),
        })
        .collect();
    let together = store.transact(writer, |transaction| {
        changes.iter_mut().map(|changes| transaction.apply(changes)).collect::<Tried<Vec<_>>>()
    });
    let results: Vec<Result<Vec<Outcome>>> = match together {
        Ok(outcomes) => outcomes.into_iter().map(Ok).collect(),
        Err(error) if jobs.len() == 1 && error.kind() != ErrorKind::StorageFull => vec![Err(error)],
        Err(_) => changes.iter_mut().map(|changes| alone(store, writer, changes)).collect(),
    };
    for (job, result) in jobs.iter().zip(results) {
        *job.state() = State::Done(result);
    }
}
