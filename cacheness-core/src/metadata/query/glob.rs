//! Patterns over keys, as shells have them. No crate has just these signs: those for paths give `/`, `**` or braces a
//! meaning, which keys do not have.

use std::fmt;

use crate::error::{Error, ErrorKind, Result};

/// A pattern that a key matches as a whole.
///
/// | sign | stands for |
/// |---|---|
/// | `*` | any number of characters, none included; `**` means the same |
/// | `?` | one character |
/// | `[a-z0]` | one of these characters; a range has its ends, in the order of Unicode |
/// | `[!a-z0]`, `[^a-z0]` | one character that is none of these |
/// | `\` and a character | that character, also between brackets |
///
/// Every other character stands for itself: upper and lower case differ, and neither `/` nor `.` nor `:` is special.
/// Between brackets `*` and `?` stand for themselves.
///
/// Matching takes no more steps than the key's length times the pattern's.
///
/// ```
/// use cacheness_core::Glob;
///
/// let users = Glob::new("user:*")?;
/// assert!(users.matches("user:1") && users.matches("user:"));
/// assert!(!users.matches("a user:1"));
/// assert!(Glob::new(r"100\%?[0-9]")?.matches("100%x7"));
/// assert!(Glob::new("[a-z").is_err());
/// # Ok::<(), cacheness_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Glob {
    pattern: String,
    /// The characters before the first sign.
    prefix: String,
    /// What comes after them. No two stars follow each other.
    tokens: Vec<Token>,
}

#[derive(Clone, PartialEq, Eq)]
enum Token {
    Exactly(char),
    Any,
    Many,
    OneOf { negated: bool, ranges: Vec<(char, char)> },
}

impl Token {
    /// True where the token stands for this one character.
    fn takes(&self, character: char) -> bool {
        match self {
            Self::Exactly(wanted) => *wanted == character,
            Self::Any => true,
            Self::Many => false,
            Self::OneOf { negated, ranges } => {
                ranges.iter().any(|&(first, last)| (first..=last).contains(&character)) != *negated
            }
        }
    }
}

impl Glob {
    /// The longest pattern, in bytes.
    pub const MAX_LEN: usize = 1_024;

    /// Reads a pattern.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for a bracket that is not closed, brackets without a character, a range whose first
    /// character comes after its last, and a `\` at the end; [`ErrorKind::LimitExceeded`] for a pattern over 1,024
    /// bytes.
    pub fn new(pattern: impl Into<String>) -> Result<Self> {
        let pattern = pattern.into();
        if pattern.len() > Self::MAX_LEN {
            let message =
                format!("a glob has at most {} bytes; this one has {}", Self::MAX_LEN, pattern.len());
            return Err(Error::new(ErrorKind::LimitExceeded, message).with_context("glob", pattern));
        }
        let mut tokens = match parse(&pattern) {
            Ok(tokens) => tokens,
            Err(what) => {
                let message = format!("the glob is malformed: {what}");
                return Err(Error::new(ErrorKind::InvalidInput, message).with_context("glob", pattern));
            }
        };
        let literal = |token: &Token| match token {
            Token::Exactly(character) => Some(*character),
            _ => None,
        };
        let prefix: String = tokens.iter().map_while(literal).collect();
        tokens.drain(..prefix.chars().count());
        Ok(Self { pattern, prefix, tokens })
    }

    /// The pattern as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.pattern
    }

    /// The text that every matching key begins with.
    #[must_use]
    pub fn literal_prefix(&self) -> &str {
        &self.prefix
    }

    /// True where the whole key matches.
    #[must_use]
    pub fn matches(&self, key: &str) -> bool {
        let Some(rest) = key.strip_prefix(self.prefix.as_str()) else { return false };
        let (mut rest, mut token) = (rest.chars(), 0);
        // Where to go on when what follows the last star does not fit: one character later. Earlier stars need not be
        // tried again, because what stands between them was found as early as possible.
        let mut retry = None;
        loop {
            match self.tokens.get(token) {
                Some(Token::Many) => {
                    token += 1;
                    if token == self.tokens.len() {
                        return true;
                    }
                    retry = Some((token, rest.clone()));
                    continue;
                }
                Some(one) => {
                    let mut after = rest.clone();
                    // Where characters are missing here, they are missing later, too.
                    let Some(character) = after.next() else { return false };
                    if one.takes(character) {
                        (rest, token) = (after, token + 1);
                        continue;
                    }
                }
                None if rest.as_str().is_empty() => return true,
                None => {}
            }
            let Some((first, from)) = &mut retry else { return false };
            if from.next().is_none() {
                return false;
            }
            (rest, token) = (from.clone(), *first);
        }
    }
}

fn parse(pattern: &str) -> Result<Vec<Token>, &'static str> {
    let mut tokens = Vec::new();
    let mut rest = pattern.chars();
    while let Some(character) = rest.next() {
        let token = match character {
            '*' if tokens.last() == Some(&Token::Many) => continue,
            '*' => Token::Many,
            '?' => Token::Any,
            '[' => brackets(&mut rest)?,
            '\\' => Token::Exactly(rest.next().ok_or("a `\\` at its end escapes nothing; write `\\\\`")?),
            other => Token::Exactly(other),
        };
        tokens.push(token);
    }
    Ok(tokens)
}

/// Reads what stands between brackets; the opening one has been read.
fn brackets(rest: &mut std::str::Chars<'_>) -> Result<Token, &'static str> {
    const OPEN: &str = "a `[` is not closed; write `\\[` for the character";
    let negated = rest.as_str().starts_with(['!', '^']);
    if negated {
        rest.next();
    }
    let mut ranges = Vec::new();
    loop {
        let first = match rest.next().ok_or(OPEN)? {
            ']' if ranges.is_empty() => {
                return Err("brackets hold no character; write `\\]` for the character");
            }
            ']' => return Ok(Token::OneOf { negated, ranges }),
            '\\' => rest.next().ok_or(OPEN)?,
            other => other,
        };
        // A hyphen right before the end stands for itself.
        let is_range = rest.as_str().starts_with('-') && !rest.as_str().starts_with("-]");
        let mut last = first;
        if is_range {
            rest.next();
            last = match rest.next().ok_or(OPEN)? {
                '\\' => rest.next().ok_or(OPEN)?,
                other => other,
            };
        }
        if first > last {
            return Err("a range's first character comes after its last");
        }
        ranges.push((first, last));
    }
}

impl fmt::Debug for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Glob").field(&self.pattern).finish()
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.pattern)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, key: &str) -> bool {
        Glob::new(pattern).unwrap_or_else(|error| panic!("{error}")).matches(key)
    }

    /// The meaning of a pattern, spelled out, for those without brackets and escapes: exponential, but plain.
    fn reference(pattern: &[char], key: &[char]) -> bool {
        match (pattern, key) {
            ([], []) => true,
            (['*', pattern @ ..], _) => (0..=key.len()).any(|skipped| reference(pattern, &key[skipped..])),
            (['?', pattern @ ..], [_, key @ ..]) => reference(pattern, key),
            ([first, pattern @ ..], [character, key @ ..]) => first == character && reference(pattern, key),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn matching_agrees_with_the_plain_meaning(pattern in "[ab*?é]{0,8}", key in "[abé]{0,8}") {
            let characters = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(matches(&pattern, &key), reference(&characters(&pattern), &characters(&key)));
        }

        #[test]
        fn an_escaped_key_matches_itself_and_nothing_else(key in "\\PC{0,20}", other in "\\PC{0,20}") {
            let escaped: String = key.chars().flat_map(|character| ['\\', character]).collect();
            prop_assert!(matches(&escaped, &key));
            prop_assert_eq!(matches(&escaped, &other), key == other);
            let glob = Glob::new(escaped).unwrap();
            prop_assert_eq!(glob.literal_prefix(), key);
        }

        #[test]
        fn any_text_is_a_pattern_or_an_error_that_names_it(pattern in "[\\[\\]\\\\!^*?a-c-]{0,12}", key in "[a-c\\]-]{0,6}") {
            match Glob::new(&pattern) {
                Ok(glob) => {
                    let found = glob.matches(&key);
                    prop_assert!(!found || key.starts_with(glob.literal_prefix()));
                }
                Err(error) => {
                    prop_assert_eq!(error.kind(), ErrorKind::InvalidInput);
                    prop_assert!(error.context().any(|context| context == ("glob", pattern.as_str())));
                }
            }
        }
    }

    #[test]
    fn brackets_hold_characters_and_ranges() {
        for (pattern, yes, no) in [
            ("[a-c]", "abc", "dA-"),
            ("[!a-c]", "d-!é", "abc"),
            ("[^a-c]", "d^", "abc"),
            ("[a^!]", "a^!", "b"),
            ("[-a]", "-a", "b"),
            ("[a-]", "-a", "b"),
            ("[*?.]", "*?.", "a"),
            (r"[\]\[\\]", r"][\", "a"),
            (r"[\--0]", "-./0", "1"),
            ("[à-ü]", "éü", "ez"),
        ] {
            for character in yes.chars() {
                assert!(matches(pattern, &character.to_string()), "{pattern} matches {character}");
            }
            for character in no.chars() {
                assert!(!matches(pattern, &character.to_string()), "{pattern} does not match {character}");
            }
            assert!(!matches(pattern, ""), "{pattern} stands for one character");
        }
    }

    #[test]
    fn malformed_patterns_are_refused_and_named() {
        for (pattern, says) in [
            ("[a-z", "not closed"),
            ("x[", "not closed"),
            ("[!", "not closed"),
            (r"[a\", "not closed"),
            ("[]", "no character"),
            ("[!]", "no character"),
            ("[z-a]", "after its last"),
            (r"a\", "escapes nothing"),
        ] {
            let error = Glob::new(pattern).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains(says), "{pattern}: {error}");
            assert!(error.context().any(|context| context == ("glob", pattern)), "{error}");
        }
        assert_eq!(Glob::new("a".repeat(1_025)).unwrap_err().kind(), ErrorKind::LimitExceeded);
    }

    #[test]
    fn a_hostile_pattern_takes_no_longer_than_others() {
        // With plain backtracking, this would take longer than the universe has existed.
        let pattern = format!("{}b", "a*".repeat(500));
        assert!(!matches(&pattern, &"a".repeat(65_536)));
        assert!(!matches(&format!("*{}b", "a".repeat(1_000)), &"a".repeat(65_536)));
    }

    #[test]
    fn the_prefix_ends_where_the_first_sign_stands() {
        for (pattern, prefix) in
            [("user:*", "user:"), ("a?", "a"), ("*", ""), ("", ""), (r"\*\?b[c]", "*?b"), ("é[x]", "é")]
        {
            let glob = Glob::new(pattern);
            assert_eq!(glob.as_ref().map_or("", Glob::literal_prefix), prefix, "{pattern}");
        }
    }
}
