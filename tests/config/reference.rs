//! The page that lists all options, written from the lists that the program itself goes by.

use cacheness::*;

use super::holds;

const PAGE: &str = "docs/configuration.md";
const MARK: &str = "<!-- What follows is written by `BLESS=1 cargo test --all-features --test config`. -->\n";

fn table(specs: &[OptionSpec]) -> String {
    let mut table =
        String::from("| option | takes | default | example | what it does |\n|---|---|---|---|---|\n");
    for spec in specs {
        let code = |value: &str| format!("`{}`", literal(spec, value));
        let default = match (spec.default, spec.otherwise) {
            (Some(default), _) if spec.in_folder => format!("`{default}` in the cache's folder"),
            (Some(default), _) => code(default),
            (None, Some(otherwise)) => otherwise.to_owned(),
            (None, None) if spec.required => "must be given".to_owned(),
            (None, None) => "none".to_owned(),
        };
        let example = spec.example.or(spec.default);
        let secret = if spec.secret { " It is never shown." } else { "" };
        table.push_str(&format!(
            "| `{}` | {} | {default} | {} | {}{secret} |\n",
            spec.name,
            spec.allowed(),
            example.map_or_else(String::new, |example| {
                format!("`{} = {}`", spec.name.rsplit('.').next().unwrap_or_default(), literal(spec, example))
            }),
            spec.help,
        ));
    }
    table
}

/// A value as TOML has it.
fn literal(spec: &OptionSpec, value: &str) -> String {
    let plain = match spec.kind {
        OptionKind::Bool => true,
        OptionKind::Int { .. } => value.parse::<i64>().is_ok(),
        _ => false,
    };
    if plain { value.to_owned() } else { format!("\"{value}\"") }
}

fn backends(title: &str, name: &str, parts: &[PartInfo]) -> String {
    let mut text = format!("\n## {title}\n");
    for part in parts {
        text.push_str(&format!("\n### `[{name}] backend = \"{}\"`\n\n{}\n", part.name, part.description));
        if !part.needs.is_empty() {
            text.push_str(&format!("It needs {}.\n", part.needs.join(", and ")));
        }
        if part.options.is_empty() {
            text.push_str("\nIt has no options.\n");
        } else {
            text.push_str(&format!("\n{}", table(&part.options)));
        }
    }
    text
}

fn generated() -> String {
    let registry = Registry::builtin();
    let mut text = String::from(
        "\n## The cache\n\nA dot stands for a table: `limits.policy` is `policy` in `[limits]`.\n\n",
    );
    text.push_str(&table(CACHE_OPTIONS));
    text.push_str("\n## One namespace: `[namespaces.NAME]`\n\n");
    text.push_str(&table(NAMESPACE_OPTIONS));
    text.push_str("\n## One key: `[encryption.keys.NAME]`\n\n");
    text.push_str(&table(ENCRYPTION_KEY_OPTIONS));
    text.push_str(&backends("Metadata backends", "metadata", &registry.list_metadata_backends()));
    text.push_str(&backends("Blob backends", "blobs", &registry.list_blob_backends()));
    text
}

#[test]
fn the_example_of_the_page_is_a_configuration() {
    let page = fs_err::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE)).unwrap();
    let (_, example) = page.split_once("```toml\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let variables = [("BLOB_ROOT", "/blobs")];
    let printed = super::with_variables(example, &variables).unwrap().to_toml().unwrap();
    assert!(printed.contains("readers = 8\n") && printed.contains("/blobs/app"), "{printed}");
}

#[test]
fn the_page_lists_every_option_as_the_program_has_it() {
    let page = fs_err::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE)).unwrap();
    let (by_hand, _) = page.split_once(MARK).expect("the page says where the written part begins");
    holds(PAGE, &format!("{by_hand}{MARK}{}", generated()));
}
