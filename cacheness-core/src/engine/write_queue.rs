//! Writes that could not be made and wait until they can: at most one for each key, in memory, within a bound.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::put::Encoded;
use super::writer::{Payload, Written};
use crate::entry::{Entry, Location};
use crate::names::{Namespace, Timestamp};

/// The writes that wait.
pub(super) struct WriteQueue {
    /// How many bytes they may occupy.
    most: u64,
    waiting: Mutex<Waiting>,
    /// How many there are; looked at by every call, so that an empty queue costs next to nothing.
    len: AtomicUsize,
    /// Held while one of them is being made, so that they are made in their order, and none during a clear.
    pub(super) making: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct Waiting {
    next: u64,
    bytes: u64,
    /// The places of the writes, in the order in which they came.
    order: BTreeMap<u64, (Namespace, String)>,
    writes: HashMap<Namespace, HashMap<String, Queued>>,
}

struct Queued {
    number: u64,
    bytes: u64,
    write: Write,
    /// Until when an earlier attempt to write the key may still be carried out, and overtake what is written before.
    not_before: Option<Timestamp>,
}

/// A write that waits.
#[derive(Clone)]
pub(super) enum Write {
    Put(Arc<QueuedPut>),
    Remove,
}

impl Write {
    /// True where both are the same write, and it has not been changed.
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Put(this), Self::Put(other)) => Arc::ptr_eq(this, other),
            (Self::Remove, Self::Remove) => true,
            _ => false,
        }
    }
}

/// A value, and the entry that it will have.
#[derive(Clone)]
pub(super) struct QueuedPut {
    /// With the stored bytes in it.
    pub(super) entry: Entry,
    pub(super) bytes: Bytes,
    /// Whether it must lie with its entry, or must not.
    pub(super) inline: Option<bool>,
    /// How many bytes it occupies.
    weight: u64,
}

impl QueuedPut {
    /// A value to be put. `entry` is its entry, without the bytes.
    pub(super) fn new(mut entry: Entry, bytes: Bytes, inline: Option<bool>) -> Self {
        let custom = entry.custom.iter().map(|(name, value)| PLACE + name.len() as u64 + weight_of(value));
        // The record has the rest once more: tags, description, source files, checksums, what the handler keeps.
        let record = entry.to_stored().len() as u64;
        let weight = custom.fold(record + bytes.len() as u64, u64::saturating_add);
        entry.location = Location::Inline(bytes.clone());
        Self { entry, bytes, inline, weight }
    }

    /// What a put stores.
    pub(super) fn encoded(&self) -> Encoded {
        let mut entry = Box::new(self.entry.clone());
        entry.location = Location::InlineOmitted;
        let written = Written {
            payload: Payload::Memory(self.bytes.to_vec()),
            size: entry.size,
            stored_size: entry.stored_size,
            checksums: entry.checksums.clone(),
            stages: entry.format.stages.clone(),
            cipher: entry.cipher.clone(),
        };
        Encoded { entry, written, inline: self.inline }
    }
}

/// What a write occupies beside its value, its key and what came with them: its entry and its places in the maps.
const OVERHEAD: u64 = 512;

/// What a name in a map occupies beside its letters.
const PLACE: u64 = 48;

/// What a value of custom fields occupies in memory, which can be many times its text.
fn weight_of(value: &serde_json::Value) -> u64 {
    use serde_json::Value;
    let inner = match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len() as u64,
        Value::Array(values) => values.iter().map(weight_of).fold(0, u64::saturating_add),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| PLACE + name.len() as u64 + weight_of(value))
            .fold(0, u64::saturating_add),
    };
    inner + size_of::<Value>() as u64
}

/// A write and its place.
pub(super) struct Next {
    pub(super) number: u64,
    pub(super) namespace: Namespace,
    pub(super) key: String,
    pub(super) write: Write,
    /// Not to be made before this.
    pub(super) not_before: Option<Timestamp>,
}

impl WriteQueue {
    pub(super) fn new(most: u64) -> Self {
        Self { most, waiting: Mutex::default(), len: AtomicUsize::new(0), making: Arc::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len.load(Ordering::Acquire) == 0
    }

    /// How many writes wait, and how many bytes they occupy.
    pub(super) fn size(&self) -> (u64, u64) {
        let waiting = self.waiting();
        (waiting.order.len() as u64, waiting.bytes)
    }

    /// How many bytes a write may have.
    pub(super) fn most(&self) -> u64 {
        self.most
    }

    /// The write of this key that waits, if one does.
    pub(super) fn get(&self, namespace: &Namespace, key: &str) -> Option<Write> {
        if self.is_empty() {
            return None;
        }
        self.waiting().writes.get(namespace)?.get(key).map(|queued| queued.write.clone())
    }

    /// Adds writes, in the place of those of the same keys, which are not to be made before that: all of them, or none where
    /// they are too many or it is `closed`.
    pub(super) fn add(
        &self,
        namespace: &Namespace,
        writes: Vec<(String, Write)>,
        not_before: Option<Timestamp>,
        closed: impl FnOnce() -> bool,
    ) -> bool {
        let mut waiting = self.waiting();
        let mut sizes = Vec::with_capacity(writes.len());
        let mut bytes = waiting.bytes;
        for (key, write) in &writes {
            let value = match write {
                Write::Put(put) => put.weight,
                Write::Remove => 0,
            };
            let size = OVERHEAD.saturating_add(value).saturating_add(2 * key.len() as u64);
            let replaced = waiting.writes.get(namespace).and_then(|of| of.get(key));
            bytes = bytes.saturating_add(size).saturating_sub(replaced.map_or(0, |queued| queued.bytes));
            sizes.push(size);
        }
        // Whoever closes the cache looks at the queue after having said so.
        if bytes > self.most || closed() {
            return false;
        }
        for ((key, write), bytes) in writes.into_iter().zip(sizes) {
            // What may still become of an attempt to write the earlier one holds for the key.
            let not_before =
                waiting.remove(namespace, &key).and_then(|earlier| earlier.not_before).max(not_before);
            let number = waiting.next;
            waiting.next += 1;
            waiting.bytes += bytes;
            waiting.order.insert(number, (namespace.clone(), key.clone()));
            let of_namespace = waiting.writes.entry(namespace.clone()).or_default();
            of_namespace.insert(key, Queued { number, bytes, write, not_before });
        }
        self.changed(&waiting);
        true
    }

    /// Changes the entry of a put that waits, and leaves one that is being made as it is: what is changed is then made
    /// once more. False where none waits.
    pub(super) fn change(&self, namespace: &Namespace, key: &str, change: impl FnOnce(&mut Entry)) -> bool {
        let mut waiting = self.waiting();
        let queued = waiting.writes.get_mut(namespace).and_then(|of| of.get_mut(key));
        match queued.map(|queued| &mut queued.write) {
            Some(Write::Put(put)) => {
                change(&mut Arc::make_mut(put).entry);
                true
            }
            _ => false,
        }
    }

    /// The write that has waited for the longest time of those with these numbers.
    pub(super) fn first(&self, numbers: Range<u64>) -> Option<Next> {
        if self.is_empty() {
            return None;
        }
        let waiting = self.waiting();
        let (number, (namespace, key)) = waiting.order.range(numbers).next()?;
        let Queued { write, not_before, .. } = waiting.writes.get(namespace)?.get(key)?;
        let (write, not_before) = (write.clone(), *not_before);
        Some(Next { number: *number, namespace: namespace.clone(), key: key.clone(), write, not_before })
    }

    /// Until when one of these keys is not to be written.
    pub(super) fn not_before<'a>(
        &self,
        namespace: &Namespace,
        keys: impl Iterator<Item = &'a str>,
    ) -> Option<Timestamp> {
        if self.is_empty() {
            return None;
        }
        let waiting = self.waiting();
        let of_namespace = waiting.writes.get(namespace)?;
        keys.filter_map(|key| of_namespace.get(key)?.not_before).max()
    }

    /// Until when one of the keys of a namespace, or of all, is not to be written.
    pub(super) fn none_before(&self, namespace: Option<&Namespace>) -> Option<Timestamp> {
        let waiting = self.waiting();
        let named = |of: &&Namespace| namespace.is_none_or(|namespace| namespace == *of);
        let writes =
            waiting.writes.iter().filter(|(of, _)| named(of)).flat_map(|(_, writes)| writes.values());
        writes.filter_map(|queued| queued.not_before).max()
    }

    /// Puts off a write whose attempt may still be carried out, or the one that has taken its place.
    pub(super) fn put_off(&self, attempted: &Next, not_before: Timestamp) {
        let mut waiting = self.waiting();
        let queued = waiting.writes.get_mut(&attempted.namespace).and_then(|of| of.get_mut(&attempted.key));
        if let Some(queued) = queued {
            queued.not_before = queued.not_before.max(Some(not_before));
        }
    }

    /// Forgets a write that has been made, unless another has taken its place since, or it has been changed.
    pub(super) fn forget(&self, made: &Next) {
        let mut waiting = self.waiting();
        let queued = waiting.writes.get(&made.namespace).and_then(|of| of.get(&made.key));
        if queued.is_some_and(|queued| queued.number == made.number && queued.write.is(&made.write)) {
            waiting.remove(&made.namespace, &made.key);
        }
        self.changed(&waiting);
    }

    /// Forgets the writes of these keys that came before that number.
    pub(super) fn forget_keys(&self, namespace: &Namespace, keys: &[String], before: u64) {
        let mut waiting = self.waiting();
        for key in keys {
            let queued = waiting.writes.get(namespace).and_then(|of| of.get(key));
            if queued.is_some_and(|queued| queued.number < before) {
                waiting.remove(namespace, key);
            }
        }
        self.changed(&waiting);
    }

    /// The number that the next write will have.
    pub(super) fn next_number(&self) -> u64 {
        self.waiting().next
    }

    /// Forgets the writes to a namespace that came before that number.
    pub(super) fn forget_namespace(&self, namespace: &Namespace, before: u64) {
        let mut waiting = self.waiting();
        let of_namespace = waiting.writes.get(namespace).into_iter().flatten();
        let keys: Vec<String> =
            of_namespace.filter(|(_, queued)| queued.number < before).map(|(key, _)| key.clone()).collect();
        for key in &keys {
            waiting.remove(namespace, key);
        }
        self.changed(&waiting);
    }

    /// Takes all writes out.
    pub(super) fn take_all(&self) -> Vec<(Namespace, String)> {
        let mut waiting = self.waiting();
        let next = waiting.next;
        let taken = std::mem::replace(&mut *waiting, Waiting { next, ..Waiting::default() });
        self.changed(&waiting);
        taken.order.into_values().collect()
    }

    fn changed(&self, waiting: &Waiting) {
        self.len.store(waiting.order.len(), Ordering::Release);
        crate::metric::writes_queued(waiting.order.len() as u64);
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn remove(&mut self, namespace: &Namespace, key: &str) -> Option<Queued> {
        let of_namespace = self.writes.get_mut(namespace)?;
        let removed = of_namespace.remove(key);
        if let Some(queued) = &removed {
            self.bytes -= queued.bytes;
            self.order.remove(&queued.number);
        }
        if of_namespace.is_empty() {
            self.writes.remove(namespace);
        }
        removed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace() -> Namespace {
        Namespace::default()
    }

    fn add(queue: &WriteQueue, keys: &[&str]) -> bool {
        let writes = keys.iter().map(|key| ((*key).to_owned(), Write::Remove)).collect();
        queue.add(&namespace(), writes, None, || false)
    }

    fn keys(queue: &WriteQueue) -> Vec<String> {
        let mut keys = Vec::new();
        while let Some(next) = queue.first(0..u64::MAX) {
            queue.forget(&next);
            keys.push(next.key);
        }
        keys
    }

    #[test]
    fn writes_come_out_in_their_order_and_a_later_one_of_a_key_takes_the_place_of_the_earlier() {
        let queue = WriteQueue::new(1 << 20);
        assert!(add(&queue, &["a", "b"]) && add(&queue, &["c", "a"]));
        assert_eq!(queue.size().0, 3);
        assert_eq!(keys(&queue), ["b", "c", "a"]);
        assert!(queue.is_empty());
        assert_eq!(queue.size(), (0, 0));
    }

    #[test]
    fn what_does_not_fit_is_refused_as_a_whole_and_what_is_replaced_makes_room() {
        let queue = WriteQueue::new(3 * (OVERHEAD + 2));
        assert!(add(&queue, &["a", "b"]));
        assert!(!add(&queue, &["c", "d"]));
        assert!(add(&queue, &["a", "c"]));
        assert!(!queue.add(&namespace(), vec![("a".into(), Write::Remove)], None, || true), "it is closed");
        assert_eq!(keys(&queue), ["b", "a", "c"]);
    }

    #[test]
    fn a_write_that_was_replaced_while_it_was_made_is_still_to_be_made() {
        let queue = WriteQueue::new(1 << 20);
        add(&queue, &["a"]);
        let being_made = queue.first(0..u64::MAX).unwrap();
        add(&queue, &["a"]);
        queue.forget(&being_made);
        assert!(queue.get(&namespace(), "a").is_some());
    }

    #[test]
    fn until_when_a_key_is_not_written_outlives_the_write_and_is_never_shortened() {
        let queue = WriteQueue::new(1 << 20);
        let at = |seconds: i64| Some(Timestamp::from_nanos(seconds * 1_000_000_000));
        let put =
            |not_before| queue.add(&namespace(), vec![("a".into(), Write::Remove)], not_before, || false);
        put(at(5));
        let attempted = queue.first(0..u64::MAX).unwrap();
        put(None);
        put(at(3));
        add(&queue, &["b"]);
        let until = |keys: &[&str]| queue.not_before(&namespace(), keys.iter().copied());
        assert_eq!((until(&["a", "b"]), until(&["b", "c"])), (at(5), None));
        queue.put_off(&attempted, at(7).unwrap());
        assert_eq!((until(&["a"]), queue.none_before(None)), (at(7), at(7)));
        assert_eq!(queue.none_before(Some(&Namespace::new("other").unwrap())), None);
    }

    #[test]
    fn clearing_a_namespace_forgets_what_came_before_it_and_nothing_else() {
        let queue = WriteQueue::new(1 << 20);
        let other = Namespace::new("other").unwrap();
        add(&queue, &["a"]);
        queue.add(&other, vec![("a".into(), Write::Remove)], None, || false);
        let before = queue.next_number();
        add(&queue, &["b"]);
        queue.forget_namespace(&namespace(), before);
        assert_eq!(queue.take_all(), [(other, "a".to_owned()), (namespace(), "b".to_owned())]);
        assert!(queue.is_empty());
    }
}
