//! A connection together with its prepared statements, which live as long as it does.

use rusqlite::{Connection, Statement};
use self_cell::self_cell;

use super::statements::Sql;

/// A connection and the statements that were prepared on it.
pub(super) struct Database(Cell);

type Prepared<'c> = Vec<Option<Statement<'c>>>;

self_cell!(
    struct Cell {
        owner: Connection,
        #[not_covariant]
        dependent: Prepared,
    }
);

// SAFETY: the connection is `Send`. Its statements are not, because each of them refers to it; here they stay in one
// value with it, move to another thread only together, and are reached through `&mut self` only.
unsafe impl Send for Database {}

impl Database {
    pub(super) fn new(connection: Connection) -> Self {
        Self(Cell::new(connection, |_| std::iter::repeat_with(|| None).take(Sql::COUNT).collect()))
    }

    /// Gives the connection and its statements to `work`.
    pub(super) fn session<T>(&mut self, work: impl FnOnce(Session<'_, '_>) -> T) -> T {
        self.0.with_dependent_mut(|connection, statements| work(Session { connection, statements }))
    }
}

/// A connection and its statements, lent for some work.
pub(super) struct Session<'s, 'c> {
    pub(super) connection: &'c Connection,
    statements: &'s mut Prepared<'c>,
}

impl<'c> Session<'_, 'c> {
    /// The statement, prepared when it is first asked for.
    pub(super) fn statement(&mut self, sql: Sql) -> rusqlite::Result<&mut Statement<'c>> {
        let slot = &mut self.statements[sql as usize];
        match slot {
            Some(statement) => Ok(statement),
            None => Ok(slot.insert(self.connection.prepare(sql.text())?)),
        }
    }
}
