//! The behaviour suite of [`CacheHandler`](cacheness_core::CacheHandler), and a writer and a reader in memory with
//! which a handler's own tests can drive it.

mod case;
mod damage;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

pub use case::HandlerCase;
pub use reader::MemoryReader;
pub use writer::MemoryWriter;
