//! Caches that sign or encrypt their entries, and somebody with access to all that is stored, but without the key.

mod keys;
mod signing;
mod store;
mod values;
