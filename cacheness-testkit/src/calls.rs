//! What was asked of a cache, for tests that hold an application to it.

use cacheness_core::{Change, Namespace};

/// Something that was asked of a cache; see [`TestCache::calls`](crate::TestCache::calls).
///
/// ```
/// use cacheness_testkit::{Call, Operation};
///
/// assert_eq!(Call::new(Operation::Put, "default", "user:1").to_string(), "put default/user:1");
/// ```
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Call {
    /// What was asked.
    pub operation: Operation,
    /// Of which namespace; `None` for a listing of all.
    pub namespace: Option<String>,
    /// Of which key; `None` where it was about all of them.
    pub key: Option<String>,
}

/// What can be asked of a cache.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Operation {
    /// A question for one key: `get`, `peek`, `contains`, `get_entry` or `reader`, and each key of `get_many`.
    Lookup,
    /// A value that was stored, each one of `put_many` too.
    Put,
    /// A key that was removed, by the application or by the cache that found it damaged.
    Remove,
    /// A key that was touched, or whose TTL was extended.
    Touch,
    /// A page of a listing.
    List,
    /// A namespace that was emptied.
    Clear,
    /// A namespace that was dropped.
    DropNamespace,
}

impl Call {
    /// A call about one key.
    #[must_use]
    pub fn new(operation: Operation, namespace: &str, key: &str) -> Self {
        Self { operation, namespace: Some(namespace.to_owned()), key: Some(key.to_owned()) }
    }

    pub(crate) fn lookup(namespace: &Namespace, key: &str) -> Self {
        Self::new(Operation::Lookup, namespace.as_str(), key)
    }

    pub(crate) fn of_namespace(operation: Operation, namespace: Option<&Namespace>) -> Self {
        Self { operation, namespace: namespace.map(|name| name.as_str().to_owned()), key: None }
    }

    pub(crate) fn change(change: &Change) -> Option<Self> {
        let (operation, namespace, key) = match change {
            Change::Put { entry, .. } => (Operation::Put, &entry.namespace, entry.key.as_str()),
            Change::Remove { namespace, key, .. } => (Operation::Remove, namespace, key.as_str()),
            Change::Touch { namespace, key, .. } => (Operation::Touch, namespace, key.as_str()),
            _ => return None,
        };
        Some(Self::new(operation, namespace.as_str(), key))
    }

    /// Adds a call. A touch begins with a lookup of its key, which is a part of it and no call of its own.
    pub(crate) fn push(calls: &mut Vec<Self>, call: Self) {
        if call.operation == Operation::Touch {
            calls.pop_if(|last| {
                last.operation == Operation::Lookup
                    && last.namespace == call.namespace
                    && last.key == call.key
            });
        }
        calls.push(call);
    }
}

impl std::fmt::Display for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.operation)?;
        match (&self.namespace, &self.key) {
            (Some(namespace), Some(key)) => write!(f, " {namespace}/{key}"),
            (Some(namespace), None) => write!(f, " {namespace}"),
            (None, _) => f.write_str(" all namespaces"),
        }
    }
}

impl std::fmt::Display for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Lookup => "lookup",
            Self::Put => "put",
            Self::Remove => "remove",
            Self::Touch => "touch",
            Self::List => "list",
            Self::Clear => "clear",
            Self::DropNamespace => "drop namespace",
        })
    }
}
