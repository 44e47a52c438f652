//! A handler that does not do all that a handler must.

use cacheness::*;

struct Half;

impl CacheHandler for Half {
    fn name(&self) -> &str {
        "half"
    }
}

fn main() {}
