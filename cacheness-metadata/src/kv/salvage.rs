//! What rows of a damaged store still say: entries whose records are whole, in namespaces that certainly show them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use cacheness_core::{
    CacheId, Entry, MetadataBackend, Namespace, OpenContext, Result, SalvagedIndex, SalvagedRow, Version,
};

use super::rows::{self, EntryRow, Head, NamespaceRow};
use super::{KvMetadata, KvStore, WriteBatch, layout};

/// Rows that could be read, and whether they are as they were when the store was last written: others may have been
/// changed or deleted since.
pub(crate) type SavedRows = BTreeMap<Bytes, (Bytes, bool)>;

/// What the rows of a store say.
pub(crate) struct Saved {
    pub(crate) found: SalvagedIndex,
    pub(crate) entries: Vec<SalvagedRow>,
    /// The last number that was issued, as far as that can be known.
    sequence: u64,
    /// The garbage: blobs, and the rows about them.
    garbage: Vec<(Bytes, Bytes)>,
    garbage_bytes: u64,
}

/// Reads what rows say.
pub(crate) fn read(rows: &SavedRows) -> Saved {
    let mut found = SalvagedIndex::default();
    let head = rows.get(&layout::HEAD).and_then(|(row, _)| Head::decode(row).ok());
    if let Some(head) = &head {
        (found.cache, found.entries, found.limits) =
            (Some(head.cache), Some(head.entries), head.limits.clone());
    }
    let mut saved = Saved { found, entries: Vec::new(), sequence: 0, garbage: Vec::new(), garbage_bytes: 0 };
    // Where the head is lost, entries that cannot be read may have had higher versions than those that can.
    let issued = head.as_ref().map(|head| head.sequence);
    // Then every entry that has a row is shown by a namespace.
    let none_cleared = head.as_ref().is_some_and(|head| head.cleared == 0);
    let (names, candidates) = saved.namespaces(rows);
    for (key, (value, confirmed)) in rows.range(layout::all(layout::ENTRY)) {
        saved.entry(rows, (&names, &candidates, none_cleared), key, value, *confirmed);
    }
    saved.sequence =
        issued.map_or(saved.sequence.saturating_add(1 << 20), |issued| issued.max(saved.sequence));
    for (key, (value, _)) in rows.range(layout::all(layout::BLOB)) {
        let blob = key.get(1..).and_then(cacheness_core::BlobId::from_slice);
        if let (Some(blob), Ok((due, bytes))) = (blob, rows::read_garbage(value)) {
            saved.garbage.push((key.clone(), value.clone()));
            saved.garbage.push((layout::garbage(due, blob), Bytes::new()));
            saved.garbage_bytes = saved.garbage_bytes.saturating_add(bytes);
        }
    }
    saved
}

impl Saved {
    /// The namespaces that show generations, as far as that is certain, and the names of all.
    fn namespaces(&mut self, rows: &SavedRows) -> (BTreeMap<u64, Namespace>, BTreeSet<Namespace>) {
        let (mut names, mut candidates) = (BTreeMap::new(), BTreeSet::from([Namespace::default()]));
        for (key, (value, confirmed)) in rows.range(layout::all(layout::NAMESPACE)) {
            let name = rows::read_namespace(key.get(1..).unwrap_or_default());
            let (Ok(name), Ok(row)) = (name, NamespaceRow::decode(value)) else { continue };
            candidates.insert(name.clone());
            // The row is there twice, and both must say the same.
            let shows = rows.get(&layout::live(row.generation));
            let agrees = shows.is_some_and(|(shown, _)| shown.as_ref() == name.as_str().as_bytes());
            if *confirmed && agrees && !rows.contains_key(&layout::cleared(row.generation)) {
                names.insert(row.generation, name.clone());
            }
            self.sequence = self.sequence.max(row.generation);
            self.found.namespaces.push((name, row.limits, row.counters));
        }
        // One that certainly shows a generation shows no other.
        candidates.retain(|name| !names.values().any(|shown| shown == name));
        (names, candidates)
    }

    fn entry(
        &mut self,
        rows: &SavedRows,
        (names, candidates, none_cleared): (&BTreeMap<u64, Namespace>, &BTreeSet<Namespace>, bool),
        key: &Bytes,
        value: &Bytes,
        confirmed: bool,
    ) {
        let Ok(generation) = rows::number(key) else { return };
        if rows.contains_key(&layout::cleared(generation)) {
            return;
        }
        let known = names.get(&generation);
        let lost =
            |key: Option<&str>| SalvagedRow::Lost { namespace: known.cloned(), key: key.map(str::to_owned) };
        let Ok(text) = rows::tail(key, 9) else { return self.entries.push(lost(None)) };
        let Ok(row) = EntryRow::decode(value) else { return self.entries.push(lost(Some(text))) };
        self.sequence = self.sequence.max(row.version);
        let read = |namespace: &Namespace| row.to_entry(namespace, text, false).ok();
        let entry: Option<Entry> = match known {
            Some(namespace) => read(namespace),
            None => candidates.iter().find_map(read),
        };
        // The generation of an entry stands in its index by time, too.
        let listed = rows.contains_key(&layout::created(generation, row.created_at, row.version));
        let confirmed = confirmed && listed && (known.is_some() || none_cleared);
        self.entries.push(match (entry, known, row.blob) {
            (Some(entry), ..) if confirmed => SalvagedRow::Entry(Box::new(entry)),
            (Some(entry), ..) => SalvagedRow::Unconfirmed(Box::new(entry)),
            (None, Some(namespace), Some(blob)) if confirmed => SalvagedRow::Blob {
                namespace: namespace.clone(),
                key: text.to_owned(),
                version: Version(row.version),
                blob,
            },
            _ => lost(Some(text)),
        });
    }

    /// Fills an empty store with what the old one says beside its entries, and opens it.
    pub(crate) async fn open_new(
        &self,
        store: Arc<dyn KvStore>,
        cache: CacheId,
        context: &OpenContext,
    ) -> Result<Arc<dyn MetadataBackend>> {
        let mut head = Head::new(cache);
        (head.sequence, head.garbage_bytes) = (self.sequence, self.garbage_bytes);
        let rows = self.garbage.iter().cloned().collect::<BTreeMap<_, _>>();
        let mut changes: BTreeMap<_, _> = rows.into_iter().map(|(key, row)| (key, Some(row))).collect();
        changes.insert(layout::HEAD, Some(head.encode()));
        store.write(WriteBatch { conditions: Vec::new(), changes: changes.into_iter().collect() }).await?;
        Ok(Arc::new(KvMetadata::open(store, context).await?))
    }
}
