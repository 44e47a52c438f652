//! Puts variables into texts: `${NAME}` becomes what the variable holds, and `$${` a plain `${`.

use super::Variables;
use super::tree::{Node, Table};
use crate::config::options::{invalid, path as join_path};
use crate::config::value::{ConfigOrigin, Scalar};
use crate::error::Result;

/// Does so in every text of a table, whose dotted path is `path`.
pub(super) fn fill_in(table: &mut Table, path: &str, variables: &Variables) -> Result<()> {
    for (name, node) in &mut table.0 {
        let path = join_path(path, name);
        match node {
            Node::Table(inner, _) => fill_in(inner, &path, variables)?,
            Node::Value(value) => {
                // A variable's own value is taken as it is.
                if let (Scalar::Text(text), ConfigOrigin::Text { .. }) = (&value.scalar, &value.origin)
                    && text.contains("${")
                {
                    let filled = filled(text, &path, &value.origin, variables)?;
                    value.template = Some(text.clone());
                    value.scalar = Scalar::Text(filled);
                }
            }
        }
    }
    Ok(())
}

fn filled(text: &str, path: &str, origin: &ConfigOrigin, variables: &Variables) -> Result<String> {
    let mut filled = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, after) = (&rest[..at], &rest[at + 2..]);
        if let Some(before) = before.strip_suffix('$') {
            filled.push_str(before);
            filled.push_str("${");
            rest = after;
            continue;
        }
        filled.push_str(before);
        let Some((name, after)) = after.split_once('}') else {
            let message = format!("`{path}` has a `${{` without a `}}`; write `$${{` for the two characters");
            return Err(invalid(origin, message));
        };
        let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !plain {
            // The rest of the name is not shown: it may be a default, and that a secret.
            let plain: String = name.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            let message = format!(
                "`{path}` has `${{{plain}…}}`, which names no variable: between the braces stands a name of letters, \
                 digits and `_`, and nothing else; write `$${{` for the two characters `${{`"
            );
            return Err(invalid(origin, message));
        }
        let Some(value) = variables.get(name)? else {
            let message = format!(
                "`{path}` takes the variable {name}, which is not set; set it, or write the value in its place"
            );
            return Err(invalid(origin, message));
        };
        filled.push_str(value);
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}
