//! Lists of users: filter, order and search.

use std::collections::HashMap;

use sqlx::QueryBuilder;

use super::{User, UserRow, columns};
use crate::domain::Role;
use crate::error::Result;
use crate::store::{Conn, Raw, store_error};

/// Which users a list holds.
#[derive(Clone, Debug, Default)]
pub struct UserFilter {
    /// Lower-case text that the address or the name contains.
    pub text: Option<String>,
    /// Only this role.
    pub role: Option<Role>,
    /// Only active, or only inactive, users.
    pub is_active: Option<bool>,
    /// Those that were deleted and can still be restored, instead of all others.
    pub deleted: bool,
}

impl UserFilter {
    /// Whether it asks for anything.
    const fn is_some(&self) -> bool {
        self.text.is_some() || self.role.is_some() || self.is_active.is_some() || self.deleted
    }
}

/// The order of a list. Ties are broken by id, so that pages neither repeat nor miss a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserSort {
    /// The column.
    pub column: &'static str,
    /// Largest first.
    pub descending: bool,
}

impl UserSort {
    /// What a list may be sorted by, and the column behind each name.
    pub const KEYS: [(&'static str, &'static str); 6] = [
        ("id", "id"),
        ("email", "email_key"),
        ("full_name", "full_name"),
        ("role", "role"),
        ("created_at", "created_at"),
        ("updated_at", "updated_at"),
    ];

    /// As SQL has it, for both engines alike, and so that an index gives it in either direction.
    fn order(self) -> String {
        let (column, direction) = (self.column, if self.descending { "desc" } else { "asc" });
        match column {
            "id" => format!(" order by id {direction}"),
            // The one that may be null.
            "full_name" => {
                format!(" order by (full_name is null), full_name {direction}, id {direction}")
            }
            _ => format!(" order by {column} {direction}, id {direction}"),
        }
    }

    /// Reads `created_at` or `-created_at`.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, descending) = text.strip_prefix('-').map_or((text, false), |name| (name, true));
        let (_, column) = Self::KEYS.into_iter().find(|(key, _)| *key == name)?;
        Some(Self { column, descending })
    }
}

impl Conn {
    /// One page of the users that a filter lets through, and how many there are in all.
    pub async fn list_users(
        &mut self,
        filter: &UserFilter,
        sort: UserSort,
        limit: i64,
        offset: i64,
    ) -> Result<(Vec<User>, i64)> {
        let total: i64 = match self.raw() {
            Raw::Postgres(c) => {
                let mut query = counting("", filter, GRAMS_POSTGRES);
                query.build_query_scalar().fetch_one(&mut *c).await
            }
            Raw::Sqlite(c) => {
                let mut query = counting("", filter, GRAMS_SQLITE);
                query.build_query_scalar().fetch_one(&mut *c).await
            }
        }
        .map_err(store_error)?;
        let page = Page { limit, offset };
        let rows: Vec<UserRow> = match self.raw() {
            Raw::Postgres(c) => {
                let mut query = listing("", columns!(), filter, sort, total, Some(page), GRAMS_POSTGRES);
                query.build_query_as().fetch_all(&mut *c).await
            }
            Raw::Sqlite(c) => {
                let mut query = listing("", columns!(), filter, sort, total, Some(page), GRAMS_SQLITE);
                query.build_query_as().fetch_all(&mut *c).await
            }
        }
        .map_err(store_error)?;
        Ok((rows.into_iter().map(User::from).collect(), total))
    }

    /// How the engine would go about [`list_users`](Self::list_users), for a list of which `total` is known: the lines of its
    /// plans, for tests.
    #[doc(hidden)]
    pub async fn explain_list_users(
        &mut self,
        filter: &UserFilter,
        sort: UserSort,
        total: i64,
    ) -> Result<Vec<String>> {
        let page = Page { limit: 20, offset: 0 };
        let mut lines = Vec::new();
        match self.raw() {
            Raw::Postgres(c) => {
                for mut query in [
                    counting("explain ", filter, GRAMS_POSTGRES),
                    listing(
                        "explain ",
                        columns!(),
                        filter,
                        sort,
                        total,
                        Some(page),
                        GRAMS_POSTGRES,
                    ),
                ] {
                    let plan: Vec<String> = query
                        .build_query_scalar()
                        .fetch_all(&mut *c)
                        .await
                        .map_err(store_error)?;
                    lines.extend(plan);
                }
            }
            Raw::Sqlite(c) => {
                for mut query in [
                    counting("explain query plan ", filter, GRAMS_SQLITE),
                    listing(
                        "explain query plan ",
                        columns!(),
                        filter,
                        sort,
                        total,
                        Some(page),
                        GRAMS_SQLITE,
                    ),
                ] {
                    let plan: Vec<(i64, i64, i64, String)> = query
                        .build_query_as()
                        .fetch_all(&mut *c)
                        .await
                        .map_err(store_error)?;
                    lines.extend(plan.into_iter().map(|row| row.3));
                }
            }
        }
        Ok(lines)
    }

    /// The ids of the users that a filter lets through, in order. Eight bytes for each: what follows can be read in pieces, and
    /// nobody is lost or met twice when others come and go meanwhile.
    pub async fn list_user_ids(&mut self, filter: &UserFilter, sort: UserSort) -> Result<Vec<i64>> {
        // All of them are wanted, so no index spares the sorting.
        match self.raw() {
            Raw::Postgres(c) => {
                let mut query = listing("", "id", filter, sort, 0, None, GRAMS_POSTGRES);
                query.build_query_scalar().fetch_all(&mut *c).await
            }
            Raw::Sqlite(c) => {
                let mut query = listing("", "id", filter, sort, 0, None, GRAMS_SQLITE);
                query.build_query_scalar().fetch_all(&mut *c).await
            }
        }
        .map_err(store_error)
    }

    /// The users with these ids that are still there, in the order of the ids.
    pub async fn users_by_ids(&mut self, ids: &[i64]) -> Result<Vec<User>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let head = concat!("select ", columns!(), " from users where id in (");
        let rows: Vec<UserRow> = match self.raw() {
            Raw::Postgres(c) => {
                let mut query = QueryBuilder::new(head);
                push_ids(&mut query, ids);
                query.build_query_as().fetch_all(&mut *c).await
            }
            Raw::Sqlite(c) => {
                let mut query = QueryBuilder::new(head);
                push_ids(&mut query, ids);
                query.build_query_as().fetch_all(&mut *c).await
            }
        }
        .map_err(store_error)?;
        let mut found: HashMap<i64, User> = rows.into_iter().map(|row| (row.id, row.into())).collect();
        Ok(ids.iter().filter_map(|id| found.remove(id)).collect())
    }
}

fn push_ids<'a, E>(query: &mut QueryBuilder<E>, ids: &[i64])
where
    E: sqlx::Database,
    i64: sqlx::Encode<'a, E> + sqlx::Type<E>,
{
    let mut list = query.separated(", ");
    for id in ids {
        list.push_bind(*id);
    }
    query.push(")");
}

/// Up to so many users that a filter lets through are gathered by its index and then sorted. Where there are more, the order's
/// index is followed, and a page is soon full.
const GATHERED: i64 = 10_000;

/// How to find the texts that may contain another one of at least three characters, by their groups of three.
type Grams = (&'static str, &'static str, fn(&str) -> String);

const GRAMS_POSTGRES: Grams = (
    " and josoor_auth_grams(search_text) @> josoor_auth_grams(",
    ")",
    str::to_owned,
);

const GRAMS_SQLITE: Grams = (
    " and id in (select rowid from users_search where users_search match ",
    ")",
    // A phrase in FTS5's syntax.
    |text| format!("\"{}\"", text.replace('"', "\"\"")),
);

#[derive(Clone, Copy)]
struct Page {
    limit: i64,
    offset: i64,
}

/// What a filter's parts are bound as.
trait Engine: sqlx::Database {}
impl Engine for sqlx::Postgres {}
impl Engine for sqlx::Sqlite {}

fn counting<E: Engine>(prefix: &str, filter: &UserFilter, grams: Grams) -> QueryBuilder<E>
where
    String: for<'q> sqlx::Encode<'q, E> + sqlx::Type<E>,
    bool: for<'q> sqlx::Encode<'q, E> + sqlx::Type<E>,
{
    let mut query = QueryBuilder::new(prefix);
    if filter.deleted {
        query.push("select count(*) from users where true");
        push_filter(&mut query, filter, Some(grams));
        return query;
    }
    // The deleted ones, which are few and have an index, are subtracted: so counting all the others reads the smallest index.
    query.push("select (select count(*) from users where true");
    push_conditions(&mut query, filter, Some(grams));
    query.push(") - (select count(*) from users where deleted_at is not null");
    push_conditions(&mut query, filter, Some(grams));
    query.push(")");
    query
}

fn listing<E: Engine>(
    prefix: &str,
    columns: &str,
    filter: &UserFilter,
    sort: UserSort,
    total: i64,
    page: Option<Page>,
    grams: Grams,
) -> QueryBuilder<E>
where
    String: for<'q> sqlx::Encode<'q, E> + sqlx::Type<E>,
    bool: for<'q> sqlx::Encode<'q, E> + sqlx::Type<E>,
    i64: for<'q> sqlx::Encode<'q, E> + sqlx::Type<E>,
{
    let is_gathered = filter.is_some() && total <= GATHERED;
    let mut query = QueryBuilder::new(prefix);
    if is_gathered {
        query.push("with found as materialized (select * from users where true");
        push_filter(&mut query, filter, Some(grams));
        query.push(format!(") select {columns} from found"));
    } else {
        query.push(format!("select {columns} from users where true"));
        push_filter(&mut query, filter, None);
    }
    query.push(sort.order());
    if let Some(page) = page {
        query.push(" limit ").push_bind(page.limit);
        query.push(" offset ").push_bind(page.offset);
    }
    query
}

/// With `grams` the filter's own indexes are to be used, and without them none of them.
fn push_filter<E: Engine>(query: &mut QueryBuilder<E>, filter: &UserFilter, grams: Option<Grams>)
where
    String: for<'q> sqlx::Encode<'q, E> + sqlx::Type<E>,
    bool: for<'q> sqlx::Encode<'q, E> + sqlx::Type<E>,
{
    query.push(if filter.deleted {
        " and deleted_at is not null"
    } else {
        " and deleted_at is null"
    });
    push_conditions(query, filter, grams);
}

/// [`push_filter`], whether a user was deleted or not.
fn push_conditions<E: Engine>(query: &mut QueryBuilder<E>, filter: &UserFilter, grams: Option<Grams>)
where
    String: for<'q> sqlx::Encode<'q, E> + sqlx::Type<E>,
    bool: for<'q> sqlx::Encode<'q, E> + sqlx::Type<E>,
{
    if let Some(text) = &filter.text {
        if let Some((before, after, phrase)) = grams
            && text.chars().count() >= 3
        {
            query.push(before).push_bind(phrase(text)).push(after);
        }
        let escaped = text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
        query
            .push(" and search_text like ")
            .push_bind(format!("%{escaped}%"))
            .push(" escape '\\'");
    }
    if let Some(role) = filter.role {
        let column = if grams.is_some() { "role" } else { "(role || '')" };
        query
            .push(format!(" and {column} = "))
            .push_bind(role.as_str().to_owned());
    }
    if let Some(is_active) = filter.is_active {
        query.push(" and is_active = ").push_bind(is_active);
    }
}
