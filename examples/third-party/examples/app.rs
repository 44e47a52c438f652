//! A program that uses a crate with a handler of somebody else's: `cargo run -p cacheness-cbor --example app`.

use cacheness::{CacheBuilder, Error, PutOptions, Registry};
// Without this line the linker leaves the crate out, and `discover` does not find it.
use cacheness_cbor as _;

fn main() -> Result<(), Error> {
    let mut registry = Registry::builtin();
    registry.discover()?;
    for handler in registry.list_handlers().iter().filter(|handler| !handler.builtin) {
        println!("found `{}`: {}", handler.name, handler.description);
    }
    let cache = CacheBuilder::new(registry).open_blocking()?;
    cache.put_with("primes", &vec![2, 3, 5, 7], PutOptions::new().handler("cbor"))?;
    let primes: Option<Vec<u32>> = cache.get("primes")?;
    println!("stored as CBOR, read back: {primes:?}");
    Ok(())
}
