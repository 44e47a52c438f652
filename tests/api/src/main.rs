//! Prints the public API that a file of rustdoc's JSON describes, one item a line: `cacheness-api FILE`.
//!
//! Left out is what no caller depends on by itself: blanket implementations, and those of auto traits.

#![expect(clippy::print_stdout, reason = "a program that prints")]

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::args().nth(1).ok_or("usage: cacheness-api FILE")?;
    let api = public_api::Builder::from_rustdoc_json(file)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .build()?;
    for item in api.items() {
        println!("{item}");
    }
    Ok(())
}
