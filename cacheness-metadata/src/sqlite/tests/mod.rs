//! Tests of what only the SQLite backends do.
