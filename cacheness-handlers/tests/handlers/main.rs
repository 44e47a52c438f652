//! The behaviour of the handlers, each through its trait, over a blob in memory.

#![cfg(all(feature = "serde-formats", feature = "arrow"))]

mod hostile;
mod memory;
mod options;
mod plain;
mod ranges;
mod round_trips;
mod tables;
