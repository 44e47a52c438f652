//! The scripts that the server runs. What varies is always an argument, never text.

use std::sync::OnceLock;

/// A script; its name for the server is the SHA-1 of its text.
pub(super) struct Script {
    text: &'static str,
    sha: OnceLock<String>,
}

impl Script {
    const fn new(text: &'static str) -> Self {
        Self { text, sha: OnceLock::new() }
    }

    pub(super) fn text(&self) -> &'static str {
        self.text
    }

    pub(super) fn sha(&self) -> &str {
        self.sha.get_or_init(|| sha1_smol::Sha1::from(self.text).digest().to_string())
    }
}

macro_rules! scripts {
    ($($(#[$doc:meta])* $name:ident = $($part:literal),*;)*) => {
        $($(#[$doc])* pub(super) static $name: Script = Script::new(concat!($(include_str!($part)),*));)*
    };
}

scripts! {
    OPEN = "scripts/common.lua", "scripts/open.lua";
    GET = "scripts/common.lua", "scripts/get.lua";
    LIST = "scripts/common.lua", "scripts/list.lua";
    STATS = "scripts/common.lua", "scripts/stats.lua";
    DUE = "scripts/common.lua", "scripts/due.lua";
    NAMES = "scripts/common.lua", "scripts/names.lua";
    NAMED = "scripts/common.lua", "scripts/named.lua";
    WRITE = "scripts/common.lua", "scripts/changes.lua", "scripts/evict.lua", "scripts/write.lua";
    LIMITS = "scripts/common.lua", "scripts/changes.lua", "scripts/limits.lua";
    RANK = "scripts/common.lua", "scripts/changes.lua", "scripts/rank.lua";
    LEASE = "scripts/common.lua", "scripts/changes.lua", "scripts/lease.lua";
    FEED = "scripts/common.lua", "scripts/feed.lua";
}
