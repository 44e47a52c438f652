//! The behaviour of the handlers, each through its trait, over a blob in memory.

#![cfg(all(
    feature = "serde-formats",
    feature = "arrow",
    feature = "json",
    feature = "bincode",
    feature = "postcard",
    feature = "npy"
))]

mod compact;
mod hostile;
mod json;
mod memory;
mod nesting;
mod npy;
mod options;
mod plain;
mod ranges;
mod refusals;
mod round_trips;
mod tables;
