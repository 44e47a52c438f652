//! Blobs in files of this machine.
//!
//! ```text
//! <path>/cacheness-blobs                      the marker: the number of this layout, and a line feed
//! <path>/staging/                             files on their way; those of crashed processes go at the next open
//! <path>/<cache id>/<xx>/<yy>/<blob id>       a blob; xx and yy are the last four hexadecimal digits of its id
//! ```
//!
//! The first digits of an id are its time, and would put all blobs of one day into one folder; the last ones are
//! random. A blob is written in `staging` and renamed, so a file at its place is always whole. The marker tells a
//! blob that is not there from a folder that is not there: without it nothing is said to be missing.

mod backend;
mod config;
mod files;
mod listing;

pub use backend::FilesystemBlobs;
pub use config::FilesystemBlobFactory;

#[cfg(test)]
mod tests;
