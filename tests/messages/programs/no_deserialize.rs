//! Deserialize was forgotten.

#[derive(serde::Serialize)]
struct OnlyOut {
    name: String,
}

fn main() {
    let cache = cacheness::blocking::Cache::memory().unwrap();
    cache.put("k", &OnlyOut { name: "n".into() }).unwrap();
}
