//! Lists of names in messages, and the one that was probably meant.

/// Names in backticks, separated by commas.
pub(crate) fn list<T: AsRef<str>>(names: &[T]) -> String {
    names.iter().map(|name| format!("`{}`", name.as_ref())).collect::<Vec<_>>().join(", ")
}

/// A hint at the name that was probably meant, or nothing.
pub(crate) fn nearest<T: AsRef<str>>(name: &str, known: &[T]) -> String {
    let best = known.iter().map(AsRef::as_ref).map(|known| (distance(name, known), known)).min();
    match best {
        Some((distance, known)) if distance <= known.len() / 3 + 1 && distance < known.len() => {
            format!("; did you mean `{known}`?")
        }
        _ => String::new(),
    }
}

/// The Levenshtein distance: how many characters must be changed, added or dropped.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, a) in a.chars().take(64).enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, &b) in b.iter().enumerate() {
            let changed = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
