//! The engines' plans, for tests.

use super::{Find, Range, Start, UserFilter, UserSort, counting, listing};
use crate::error::Result;
use crate::store::conn::{Conn, Raw, answered};
use crate::store::failure::store_error;

impl Conn {
    /// The engine's plans for [`list_users`](Self::list_users), for a list of which `total` is known.
    pub async fn explain_list_users(
        &mut self,
        filter: &UserFilter,
        sort: UserSort,
        start: &Start,
        total: i64,
    ) -> Result<Vec<String>> {
        let ranges = Range::all(sort, start);
        let mut lines = Vec::new();
        self.begin_snapshot().await?;
        let gather = self.how_to_gather(filter).await?;
        let find = Find::choose(gather, filter, start, total, 21);
        for step in 0..=ranges.len() {
            let range = step.checked_sub(1).map(|at| &ranges[at]);
            self.set_planner(match range {
                None => gather.settings(),
                Some(_) => find.settings(),
            })
            .await?;
            match self.raw("explain") {
                Raw::Postgres(c) => {
                    let mut query = match range {
                        None => counting("explain ", filter, gather),
                        Some(range) => listing("explain ", filter, sort, range, find, Some(21)),
                    };
                    let plan = query.build_query_scalar().persistent(false).fetch_all(&mut *c);
                    let plan: Vec<String> = answered(plan).await.map_err(store_error)?;
                    lines.extend(plan);
                }
                Raw::Sqlite(c) => {
                    const PREFIX: &str = "explain query plan ";
                    let mut query = match range {
                        None => counting(PREFIX, filter, gather),
                        Some(range) => listing(PREFIX, filter, sort, range, find, Some(21)),
                    };
                    let plan: Vec<(i64, i64, i64, String)> = query
                        .build_query_as()
                        .persistent(false)
                        .fetch_all(&mut *c)
                        .await
                        .map_err(store_error)?;
                    lines.extend(plan.into_iter().map(|row| row.3));
                }
            }
        }
        self.end_snapshot().await?;
        Ok(lines)
    }
}
