//! The value was passed, not a reference to it.

fn main() {
    let cache = cacheness::blocking::Cache::memory().unwrap();
    cache.put("k", 5).unwrap();
}
