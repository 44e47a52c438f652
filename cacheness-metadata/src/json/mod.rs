//! Entries in JSON files that one can read: the backend `json`, for development and for caches of up to ten thousand
//! entries.
//!
//! All entries are in the memory of each process that has the cache open, and opening reads all of them. Beyond ten
//! thousand entries or a few writing processes, `sqlite` is the better choice.
//!
//! # Files
//! | file | what |
//! |---|---|
//! | `index.json` | the snapshot: one JSON document with one row a line; replaced as a whole |
//! | `index.json.journal` | one line of JSON for each write since the snapshot; only ever appended to |
//! | `index.json.lock` | the lock; empty, and never replaced |
//! | `index.json.users` | whoever has the index open holds a shared lock on it; empty, and never replaced |
//!
//! `docs/on-disk-format.md` specifies them. The rows are those of [`kv`](crate::kv).
//!
//! # How it works
//! - A **write** takes the lock, reads what others have appended, checks its conditions, and appends one line. With
//!   [`Durability::Power`](cacheness_core::Durability::Power) it then waits for the disk.
//! - A **read** asks for the length of the journal. As long as that is what this process has read, it answers from
//!   memory, without a lock. Otherwise it takes the lock and reads on; so it sees no write that may still fail.
//! - When the journal is longer than 64 KiB and than the snapshot, the writer **replaces the snapshot**: it writes a
//!   new one aside and syncs it, ends the journal by a last line, renames the snapshot into its place, and begins a
//!   new journal in the same way. Both carry the number of their generation, so whatever a crash leaves is known
//!   for what it is. Who still has the old journal open finds its last line and reads the new files.
//! - A write that was **interrupted** leaves a line that is not whole, at the end. It had not returned, and whoever
//!   takes the lock next cuts it off. Other damage is an error that names the file.
//!
//! Waiting for the lock ends after the option `busy_timeout`, with an error of kind
//! [`Timeout`](cacheness_core::ErrorKind::Timeout). Values above 2 KiB are not stored with their entry but as blobs.

mod backend;
mod checksum;
mod config;
mod failure;
mod files;
mod journal;
mod lock;
mod salvage;
mod snapshot;
mod store;
mod text;

pub use config::JsonMetadataFactory;

#[cfg(test)]
mod tests;
