//! Nothing was derived.

struct Plain;

fn main() {
    let cache = cacheness::blocking::Cache::memory().unwrap();
    let value: Option<Plain> = cache.get("k").unwrap();
    drop(value);
}
