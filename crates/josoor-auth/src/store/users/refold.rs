//! Folding what was written without it: rows from before the folding, and those of older nodes or of other programs.

use sqlx::QueryBuilder;

use crate::domain::SearchKeys;
use crate::error::Result;
use crate::store::conn::{Conn, built};
use crate::store::db::Db;
use crate::store::users::engine::Engine;

/// What is locked of the rows that are read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lock {
    None,
    /// Those that are free; what another one has locked is found next time.
    Free,
}

/// A user whose search text is not folded: id, canonical address, name.
type Unfolded = (i64, Option<String>, Option<String>);

impl Db {
    /// Folds the search texts of up to `limit` users that are not folded, and gives their names a place in lists. How many. A user keeps
    /// its version: nothing of it that is shown has changed.
    pub async fn refold_users(&self, limit: i64) -> Result<usize> {
        // No unit of work is begun for nothing.
        if self.read().await?.unfolded_users(1, Lock::None).await?.is_empty() {
            return Ok(0);
        }
        let mut conn = self.begin().await?;
        let users = conn.unfolded_users(limit, Lock::Free).await?;
        if !users.is_empty() {
            conn.fold_users(&users).await?;
        }
        conn.commit().await?;
        Ok(users.len())
    }
}

fn unfolded<E: Engine>(limit: i64, lock: Lock) -> QueryBuilder<E> {
    let (last, folded) = E::FOLDED;
    let mut query = QueryBuilder::new(format!(
        "select id, email_key, full_name from users where {last} <> {folded} order by id limit "
    ));
    E::push_number(&mut query, limit);
    if lock == Lock::Free {
        query.push(E::LOCK_FREE_ROWS);
    }
    query
}

impl Conn {
    async fn unfolded_users(&mut self, limit: i64, lock: Lock) -> Result<Vec<Unfolded>> {
        built!(
            self,
            unfolded(limit, lock),
            build_query_as().persistent(false).fetch_all
        )
    }

    async fn fold_users(&mut self, users: &[Unfolded]) -> Result<u64> {
        built!(
            self,
            {
                let mut query = QueryBuilder::new(
                    "update users set search_text = v.column2, name_key = v.column3 from (",
                );
                query.push_values(users, |mut row, (id, email_key, full_name)| {
                    let keys = SearchKeys::of(email_key.as_deref().unwrap_or_default(), full_name.as_deref());
                    row.push_bind(*id).push_bind(keys.text).push_bind(keys.name);
                });
                query.push(") as v where users.id = v.column1");
                query
            },
            execute
        )
    }
}
