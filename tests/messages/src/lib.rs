//! Holds nothing: the programs in `programs/` are compiled with what this crate depends on.
