//! Change feeds: what any process that shares a metadata backend has changed.

use std::time::Duration;

use async_trait::async_trait;

use crate::error::Result;
use crate::names::{Namespace, Version};

/// What a metadata backend that many processes share can offer: to follow the changes that all of them make.
#[async_trait]
pub trait ChangeFeeds: Send + Sync {
    /// How late a change may arrive in a feed that works.
    fn bound(&self) -> Duration;

    /// Follows the changes from now on: every change whose call begins after this has returned arrives.
    async fn subscribe(&self) -> Result<Box<dyn ChangeFeed>>;
}

/// The changes that a subscriber has not seen yet.
#[async_trait]
pub trait ChangeFeed: Send {
    /// The next changes: one at least, as many as are at hand, 1,000 at most. It waits until there are any. Those of one
    /// key come in the order in which they were made; changes that this process made come, too. A change can come
    /// twice.
    ///
    /// Where the feed was cut, it goes on from where it was, and nothing is lost. Where that cannot be, because the store
    /// no longer knows what happened meanwhile, [`Changed::Missed`] comes first.
    ///
    /// Dropping the future before it is ready loses nothing.
    ///
    /// # Errors
    /// [`Unavailable`](crate::ErrorKind::Unavailable) or [`Timeout`](crate::ErrorKind::Timeout) where the store has not
    /// answered for longer than the feed's [bound](ChangeFeeds::bound). What is known of entries may be old from then on.
    /// Calling again goes on waiting.
    async fn next(&mut self) -> Result<Vec<Changed>>;
}

/// A change that some process made.
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Changed {
    /// An entry was put.
    Put {
        /// Its namespace.
        namespace: Namespace,
        /// Its key.
        key: String,
        /// The version that the put was given.
        version: Version,
    },
    /// An entry went: removed, evicted or purged. Or its expiry was changed by a touch.
    Invalidated {
        /// Its namespace.
        namespace: Namespace,
        /// Its key.
        key: String,
    },
    /// A namespace was cleared or dropped: all entries that it had are gone.
    Cleared {
        /// The namespace.
        namespace: Namespace,
    },
    /// Changes may have been lost: whatever is known of any entry may be old.
    Missed,
}

impl Changed {
    /// The namespace in which it was made; `None` where that is not known.
    #[must_use]
    pub fn namespace(&self) -> Option<&Namespace> {
        match self {
            Self::Put { namespace, .. }
            | Self::Invalidated { namespace, .. }
            | Self::Cleared { namespace } => Some(namespace),
            Self::Missed => None,
        }
    }
}
