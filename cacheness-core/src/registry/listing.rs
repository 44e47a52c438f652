//! What a registry tells about its parts, and how a part is asked to be registered.

use crate::config::OptionSpec;

/// How a part is registered: under which name, at which place, and whether it may replace another.
///
/// ```
/// use cacheness_core::Register;
///
/// let second = Register::new().priority(1).named("invoices");
/// let instead = Register::new().replace();
/// ```
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Register {
    /// The name, in place of the part's own.
    pub name: Option<String>,
    /// Where a handler stands: 0 is asked first, and one without a priority is asked after all that have one.
    /// Handlers of the same priority are asked in the order in which they were registered. Backends are chosen by
    /// name, and have none.
    pub priority: Option<u32>,
    /// Whether a part of the same name is replaced; otherwise it is an error.
    pub replace: bool,
}

impl Register {
    /// Under the part's own name, after all others, replacing nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With priority 0: a handler that is asked before all built-in ones.
    #[must_use]
    pub fn first() -> Self {
        Self::new().priority(0)
    }

    /// Sets the name. A handler's name is stored with each entry that it writes, so it must stay the same for ever.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets where a handler stands; 0 is asked first.
    #[must_use]
    pub fn priority(mut self, priority: u32) -> Self {
        self.priority = Some(priority);
        self
    }

    /// Lets the part take the place of one of the same name, where there is one. A handler without a priority takes
    /// over the priority and the place of the one it replaces.
    #[must_use]
    pub fn replace(mut self) -> Self {
        self.replace = true;
        self
    }
}

/// What a registry tells about one of its parts.
#[non_exhaustive]
#[derive(Clone, PartialEq, Debug)]
pub struct PartInfo {
    /// The name by which configurations and entries know it.
    pub name: String,
    /// What it is, in one sentence; empty where its author gave none.
    pub description: String,
    /// A handler's priority, where it was registered with one.
    pub priority: Option<u32>,
    /// True for a part that [`Registry::builtin`](crate::Registry::builtin) brings.
    pub builtin: bool,
    /// What must be there for it to work, in words: a folder, a server.
    pub needs: Vec<&'static str>,
    /// The options that it takes. Handlers take none.
    pub options: Vec<OptionSpec>,
}
