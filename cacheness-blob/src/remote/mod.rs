//! Blobs as objects of a store on another machine: their names, what counts as missing, and how long a call may take.
//! Backends say only how their store's requests are made ([`Objects`]).

mod backend;
mod objects;

pub(crate) use backend::{RemoteBlobs, Settings};
pub(crate) use objects::{Listed, Objects, PART, part_len, read_part};
