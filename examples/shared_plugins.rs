//! Three plugins share one cache and cannot see each other's data: each is bound to a namespace of its own.
//!
//! `cargo run --example shared_plugins`

#![expect(clippy::print_stdout, reason = "an example talks to the person who runs it")]

// shows: rows 23-31, 33

use cacheness::blocking::Cache;
use serde_json::{Value, json};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let cache = Cache::open(folder.path().join("cache"))?;
    let analyzer = cache.namespace("code-analyzer")?;
    let docs = cache.namespace("doc-generator")?;
    let tests = cache.namespace("test-generator")?;

    analyzer.put("ast:main.py", &json!({"file": "src/main.py", "functions": ["main", "process_data"]}))?;
    docs.put("docs:main.py", &json!({"file": "src/main.py", "coverage": 0.85}))?;
    tests.put("tests:main.py", &json!({"file": "src/main.py", "test_count": 12}))?;

    let sees = |plugin: &Cache, key: &str| -> Result<bool> { Ok(plugin.get::<Value, _>(key)?.is_some()) };
    println!("code-analyzer sees its own data: {}", sees(&analyzer, "ast:main.py")?);
    println!("code-analyzer sees doc-generator's data: {}", sees(&analyzer, "docs:main.py")?);
    println!("doc-generator sees its own data: {}", sees(&docs, "docs:main.py")?);
    println!("test-generator sees its own data: {}", sees(&tests, "tests:main.py")?);

    for name in cache.namespaces()? {
        let stats = cache.namespace(&name)?.stats()?;
        println!(
            "{name}: {} entries, {} bytes, {}/{} hits/misses",
            stats.entries, stats.stored_bytes, stats.counters.hits, stats.counters.misses
        );
    }
    let total = cache.total_stats()?;
    println!(
        "all: {} namespaces, {} entries, {} bytes",
        cache.namespaces()?.len(),
        total.entries,
        total.stored_bytes
    );

    println!("cleared {} entries of code-analyzer", analyzer.clear()?);
    println!("doc-generator's data intact: {}", docs.contains("docs:main.py")?);
    println!("test-generator's data intact: {}", tests.contains("tests:main.py")?);
    cache.close()?;
    Ok(())
}
