//! What a caller may ask of a get: the type that was meant, and which part of a table.

use std::ops::Range;

/// How a value is read. By default all of it.
///
/// Columns, rows and a filter narrow what is read of a table; handlers of other formats refuse them.
///
/// ```
/// use cacheness_core::{ReadOptions, column};
///
/// let west = ReadOptions::columns(["region", "revenue"]).filter(column("region").eq("West"));
/// ```
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ReadOptions {
    pub(crate) type_tag: Option<String>,
    pub(crate) type_version: Option<u32>,
    columns: Option<Vec<String>>,
    rows: Option<Range<u64>>,
    predicate: Option<Predicate>,
}

impl ReadOptions {
    /// All of the value.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Only these columns of a table, in the table's order.
    #[must_use]
    pub fn columns<T: Into<String>>(columns: impl IntoIterator<Item = T>) -> Self {
        Self::new().with_columns(columns)
    }

    /// Only these columns of a table, beside other options.
    #[must_use]
    pub fn with_columns<T: Into<String>>(mut self, columns: impl IntoIterator<Item = T>) -> Self {
        self.columns = Some(columns.into_iter().map(Into::into).collect());
        self
    }

    /// Only these rows of a table, counted from 0 before any filter. Rows past the end are left out.
    #[must_use]
    pub fn rows(mut self, rows: Range<u64>) -> Self {
        self.rows = Some(rows);
        self
    }

    /// Only the rows for which this holds. Several filters must all hold.
    #[must_use]
    pub fn filter(mut self, predicate: impl Into<Predicate>) -> Self {
        let predicate = predicate.into();
        self.predicate = Some(match self.predicate.take() {
            Some(first) => first.and(predicate),
            None => predicate,
        });
        self
    }

    /// Names the type that is expected; an entry that was put with another name is a
    /// [`TypeMismatch`](crate::ErrorKind::TypeMismatch).
    #[must_use]
    pub fn type_tag(mut self, tag: impl Into<String>) -> Self {
        self.type_tag = Some(tag.into());
        self
    }

    /// Numbers the version of the type that is expected; an entry of another version is a miss.
    #[must_use]
    pub fn type_version(mut self, version: u32) -> Self {
        self.type_version = Some(version);
        self
    }

    /// The columns asked for; `None` for all.
    #[must_use]
    pub fn wanted_columns(&self) -> Option<&[String]> {
        self.columns.as_deref()
    }

    /// The rows asked for; `None` for all.
    #[must_use]
    pub fn wanted_rows(&self) -> Option<Range<u64>> {
        self.rows.clone()
    }

    /// The filter; `None` for none.
    #[must_use]
    pub fn predicate(&self) -> Option<&Predicate> {
        self.predicate.as_ref()
    }

    /// True where only a part of the value is asked for.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.columns.is_some() || self.rows.is_some() || self.predicate.is_some()
    }
}

/// A condition on the rows of a table: comparisons that must all hold.
#[derive(Clone, PartialEq, Debug)]
pub struct Predicate {
    comparisons: Vec<Comparison>,
}

impl Predicate {
    /// Both conditions must hold.
    #[must_use]
    pub fn and(mut self, other: impl Into<Self>) -> Self {
        self.comparisons.extend(other.into().comparisons);
        self
    }

    /// The comparisons, all of which must hold. There is at least one.
    #[must_use]
    pub fn comparisons(&self) -> &[Comparison] {
        &self.comparisons
    }
}

impl From<Comparison> for Predicate {
    fn from(comparison: Comparison) -> Self {
        Self { comparisons: vec![comparison] }
    }
}

/// One column compared with one value. A null in the column never matches.
#[non_exhaustive]
#[derive(Clone, PartialEq, Debug)]
pub struct Comparison {
    /// The column's name.
    pub column: String,
    /// How it is compared.
    pub operator: Operator,
    /// What it is compared with.
    pub value: Literal,
}

/// How a column is compared with a value.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Operator {
    /// Equal.
    Eq,
    /// Not equal.
    NotEq,
    /// Less.
    Lt,
    /// Less or equal.
    LtEq,
    /// Greater.
    Gt,
    /// Greater or equal.
    GtEq,
}

/// A value that a column is compared with.
#[derive(Clone, PartialEq, Debug)]
pub enum Literal {
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// A text.
    Text(String),
}

impl From<bool> for Literal {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Literal {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<i32> for Literal {
    fn from(value: i32) -> Self {
        Self::Int(value.into())
    }
}

impl From<f64> for Literal {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<&str> for Literal {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Literal {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

/// Names a column, to compare it: `column("revenue").gt(1000.0)`.
#[must_use]
pub fn column(name: impl Into<String>) -> Column {
    Column(name.into())
}

/// A column that is to be compared.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Column(String);

macro_rules! comparison {
    ($($(#[$doc:meta])* $name:ident => $operator:ident),* $(,)?) => {
        impl Column {
            $(
                $(#[$doc])*
                #[must_use]
                pub fn $name(self, value: impl Into<Literal>) -> Predicate {
                    Comparison { column: self.0, operator: Operator::$operator, value: value.into() }.into()
                }
            )*
        }
    };
}

comparison! {
    /// The column equals this value.
    eq => Eq,
    /// The column differs from this value.
    not_eq => NotEq,
    /// The column is less than this value.
    lt => Lt,
    /// The column is at most this value.
    lt_eq => LtEq,
    /// The column is greater than this value.
    gt => Gt,
    /// The column is at least this value.
    gt_eq => GtEq,
}
