//! What the second store holds beside entries: notes of removed keys, in place of their entries, and notes of cleared
//! namespaces, in a namespace of their own.

use std::time::Duration;

use bytes::Bytes;

use super::Shared;
use super::pair::shown_entry;
use crate::entry::{Entry, Format, Location};
use crate::error::Result;
use crate::handler::TypeClass;
use crate::key::Key;
use crate::metadata::{Change, Condition, ListQuery};
use crate::names::{CacheId, Namespace, Timestamp};

/// The handler of a note. No registered handler has such a name.
const NOTE: &str = "\0cacheness removed";

/// The namespace of the notes of cleared namespaces.
const CLEARED: &str = "\0cacheness cleared";

/// The namespace of the note of who is bringing rows at present, and of what else is no change to the cache.
const MEETING: &str = "\0cacheness meeting";

/// The note, in the same namespace, of which cache the first store holds.
const FIRST_ID: &str = "first";

/// How long nobody else brings rows, after whoever does has last said so.
const TURN: Duration = Duration::from_secs(120);

/// The note that a key was removed, or that the namespace of this name was cleared.
fn note(namespace: Namespace, key: Key, now: Timestamp) -> Entry {
    let format = Format::named(NOTE, TypeClass::Native);
    Entry::new(namespace, key, format, Location::Inline(Bytes::new()), now)
}

/// The change that notes that a key was removed.
pub(super) fn removal(
    namespace: Namespace,
    key: &str,
    condition: Condition,
    now: Timestamp,
) -> Result<Change> {
    let entry = Box::new(note(namespace, Key::new(key)?, now));
    Ok(Change::Put { entry, condition, now })
}

pub(super) fn is_note(row: &Entry) -> bool {
    row.format.handler == NOTE
}

/// The namespace of the notes of cleared namespaces.
pub(super) fn cleared_namespace() -> Result<Namespace> {
    Namespace::new(CLEARED)
}

pub(super) fn is_hidden(namespace: &Namespace) -> bool {
    [CLEARED, MEETING].contains(&namespace.as_str())
}

/// A row as callers see it; `None` for a note.
pub(super) fn live(row: Entry) -> Option<Entry> {
    if is_note(&row) || is_hidden(&row.namespace) { None } else { Some(shown_entry(row)) }
}

impl Shared {
    /// Notes that a namespace was cleared.
    pub(super) async fn note_cleared(&self, namespace: &Namespace) -> Result<()> {
        let now = self.env.now();
        let entry = Box::new(note(cleared_namespace()?, Key::new(namespace.as_str())?, now));
        self.second.metadata.apply(vec![Change::Put { entry, condition: Condition::Always, now }]).await?;
        Ok(())
    }

    /// The note that a namespace was cleared, where there is one.
    pub(super) async fn cleared(&self, namespace: &Namespace) -> Result<Option<Entry>> {
        self.second.metadata.get_entry(&cleared_namespace()?, namespace.as_str()).await
    }

    /// True for an entry of the first store that is gone, because its namespace was cleared since it was put.
    pub(super) async fn is_cleared(&self, entry: &Entry) -> Result<bool> {
        Ok(self.cleared(&entry.namespace).await?.is_some_and(|note| entry.created_at <= note.created_at))
    }

    /// True where the second store has any row or note.
    pub(super) async fn second_holds_any(&self) -> Result<bool> {
        let mut query = ListQuery::new();
        // One more than there are rows in the namespace that does not count.
        query.limit = 3;
        loop {
            let page = self.second.metadata.list_entries(&query).await?;
            let any = page.entries.iter().any(|row| row.namespace.as_str() != MEETING);
            if any || page.next.is_none() {
                return Ok(any);
            }
            query.after = page.next;
        }
    }

    /// Notes which cache the first store holds.
    pub(super) async fn remember_id(&self, id: CacheId) -> Result<()> {
        if self.remembered_id().await? == Some(id) {
            return Ok(());
        }
        let now = self.env.now();
        let mut entry = Box::new(note(Namespace::new(MEETING)?, Key::new(FIRST_ID)?, now));
        entry.description = Some(id.to_string());
        self.second.metadata.apply(vec![Change::Put { entry, condition: Condition::Always, now }]).await?;
        Ok(())
    }

    /// Which cache the first store held when it last answered.
    pub(super) async fn remembered_id(&self) -> Result<Option<CacheId>> {
        let noted = self.second.metadata.get_entry(&Namespace::new(MEETING)?, FIRST_ID).await?;
        Ok(noted.and_then(|note| note.description).and_then(|id| CacheId::parse(&id)))
    }

    /// Takes or keeps the turn of bringing rows. `None` where another process has it.
    pub(super) async fn take_turn(&self) -> Result<Option<Entry>> {
        let (namespace, now) = (Namespace::new(MEETING)?, self.env.now());
        let there = self.second.metadata.get_entry(&namespace, "turn").await?;
        let me = self.holder.to_string();
        let condition = match &there {
            None => Condition::Absent,
            Some(there) => {
                let mine = there.description.as_ref() == Some(&me);
                // A clock that was turned back must not hold it up for ever.
                let over = now.since(there.created_at).max(there.created_at.since(now)) >= TURN;
                if !mine && !over {
                    return Ok(None);
                }
                Condition::Version(there.version)
            }
        };
        let mut entry = Box::new(note(namespace, Key::new("turn")?, now));
        entry.description = Some(me);
        let mut taken = (*entry).clone();
        let outcomes = self.second.metadata.apply(vec![Change::Put { entry, condition, now }]).await?;
        Ok(outcomes.first().and_then(|outcome| outcome.version).map(|version| {
            taken.version = version;
            taken
        }))
    }

    /// Removes a row, unless it was replaced. True where it was removed.
    pub(super) async fn remove_row(&self, row: &Entry) -> Result<bool> {
        let change = Change::Remove {
            namespace: row.namespace.clone(),
            key: row.key.as_str().to_owned(),
            condition: Condition::Version(row.version),
            now: self.env.now(),
        };
        let outcomes = self.second.metadata.apply(vec![change]).await?;
        self.signal.wake();
        Ok(outcomes.iter().any(|outcome| outcome.applied))
    }
}
