//! What every call to a remote backend goes through, whoever wrote the backend: a timeout for each attempt, repetitions
//! within a deadline, a limit on calls under way, and a circuit breaker. `docs/failures.md` explains it to users.

mod blobs;
mod breaker;
mod call;
mod guard;
mod guards;
mod health;
mod metadata;
mod options;

use std::fmt;
use std::sync::Arc;

use crate::blob::BlobBackend;
use crate::config::Part;
use crate::error::{Error, Result};
use crate::metadata::MetadataBackend;
use crate::registry::{BlobFactory, MetadataFactory, OpenContext};

pub(crate) use guard::Guard;
pub(crate) use guards::Guards;
pub use health::{BackendHealth, BackendRole, Health, HealthState, LastError, UnmadeWrites};
pub use options::RemoteCalls;

use blobs::GuardedBlobs;
use call::Call;
use metadata::GuardedMetadata;

/// Opens a metadata backend. One that is remote comes with its guard.
pub(crate) async fn open_metadata(
    part: Part<dyn MetadataFactory>,
    context: &OpenContext,
    calls: RemoteCalls,
) -> Result<(Arc<dyn MetadataBackend>, Option<Arc<Guard>>)> {
    let Part { factory, options } = part;
    let guard = Guard::new(BackendRole::Metadata, factory.name(), context.env.clone(), calls);
    // Whether it is remote shows once it is open, and then it must know already.
    let context = context.clone().with_call_timeout(calls.told_to_backends());
    let backend = if factory.needs_runtime() {
        let opened = guard.call(Call::composed("open"), move || {
            let (factory, options, context) = (factory.clone(), options.clone(), context.clone());
            async move { factory.open(&options, &context).await }
        });
        opened.await?
    } else {
        factory.open(&options, &context).await?
    };
    let capabilities = backend.capabilities();
    if !capabilities.shared && !capabilities.needs_runtime {
        return Ok((backend, None));
    }
    guard.set_metric();
    Ok((Arc::new(GuardedMetadata::new(backend, guard.clone())), Some(guard)))
}

/// Opens a blob backend. One that is remote comes with its guard.
pub(crate) async fn open_blobs(
    part: Part<dyn BlobFactory>,
    context: &OpenContext,
    calls: RemoteCalls,
) -> Result<(Arc<dyn BlobBackend>, Option<Arc<Guard>>)> {
    let Part { factory, options } = part;
    let guard = Guard::new(BackendRole::Blobs, factory.name(), context.env.clone(), calls);
    // Whether it is remote shows once it is open, and then it must know already.
    let context = context.clone().with_call_timeout(calls.told_to_backends());
    let backend = if factory.needs_runtime() {
        let opened = guard.call(Call::composed("open"), move || {
            let (factory, options, context) = (factory.clone(), options.clone(), context.clone());
            async move { factory.open(&options, &context).await }
        });
        opened.await?
    } else {
        factory.open(&options, &context).await?
    };
    let capabilities = backend.capabilities();
    if capabilities.local && !capabilities.shared && !capabilities.needs_runtime {
        return Ok((backend, None));
    }
    guard.set_metric();
    Ok((Arc::new(GuardedBlobs::new(backend, guard.clone())), Some(guard)))
}

/// What lies behind the error of a call that was not made: the failure because of which it was not.
#[derive(Debug)]
struct Refused(Option<Error>);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(error) => write!(f, "the last failure was: {}", error.without_key()),
            None => f.write_str("the last failure is not known"),
        }
    }
}

impl std::error::Error for Refused {}

/// True for the error of a call that was not made because the backend is down. There may be very many of them.
pub(crate) fn is_refusal(error: &Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<Refused>())
}

/// 64 bits, of which at least the upper 48 are random.
fn random() -> u64 {
    (uuid::Uuid::new_v4().as_u128() >> 64) as u64
}
