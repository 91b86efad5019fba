//! Lists of users: filter, order and search.

use std::collections::{HashMap, HashSet};

use sqlx::QueryBuilder;
use uuid::Uuid;

use super::user::{User, columns};
use crate::domain::{Role, UserId};
use crate::error::Result;
use crate::store::conn::{Conn, Raw, built, on};
use crate::store::failure::store_error;

/// Filter of a list of users.
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
    /// One page of the users that match a filter, and how many there are in all.
    pub async fn list_users(
        &mut self,
        filter: &UserFilter,
        sort: UserSort,
        limit: i64,
        offset: i64,
    ) -> Result<(Vec<User>, i64)> {
        let total: i64 = built!(self, counting("", filter), build_query_scalar().fetch_one)?;
        let page = Page { limit, offset };
        let users: Vec<User> = built!(
            self,
            listing("", columns!(), filter, sort, total, Some(page)),
            build_query_as().fetch_all
        )?;
        Ok((users, total))
    }

    /// The engine's plans for [`list_users`](Self::list_users), for a list of which `total` is known: for tests.
    #[doc(hidden)]
    pub async fn explain_list_users(
        &mut self,
        filter: &UserFilter,
        sort: UserSort,
        total: i64,
    ) -> Result<Vec<String>> {
        let page = Some(Page { limit: 20, offset: 0 });
        let mut lines = Vec::new();
        match self.raw() {
            Raw::Postgres(c) => {
                let count = counting("explain ", filter);
                for mut query in [count, listing("explain ", columns!(), filter, sort, total, page)] {
                    let plan: Vec<String> = query
                        .build_query_scalar()
                        .fetch_all(&mut *c)
                        .await
                        .map_err(store_error)?;
                    lines.extend(plan);
                }
            }
            Raw::Sqlite(c) => {
                const PREFIX: &str = "explain query plan ";
                let count = counting(PREFIX, filter);
                for mut query in [count, listing(PREFIX, columns!(), filter, sort, total, page)] {
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

    /// The ids of the users that match a filter, in order. Eight bytes for each: what follows can be read in pieces, and
    /// no user is lost or repeated when others are added or removed meanwhile.
    pub async fn list_user_ids(&mut self, filter: &UserFilter, sort: UserSort) -> Result<Vec<i64>> {
        // All of them are wanted, so no index spares the sorting.
        built!(
            self,
            listing("", "id", filter, sort, 0, None),
            build_query_scalar().fetch_all
        )
    }

    /// The users with these ids that are still there, in the order of the ids.
    pub async fn users_by_ids(&mut self, ids: &[i64]) -> Result<Vec<User>> {
        let users = self.users_where("id", ids).await?;
        let mut found: HashMap<i64, User> = users.into_iter().map(|user| (user.id.0, user)).collect();
        Ok(ids.iter().filter_map(|id| found.remove(id)).collect())
    }

    /// The users that have one of these ids, one of these uids or one of these canonical addresses.
    pub async fn users_with(&mut self, ids: &[UserId], uids: &[Uuid], keys: &[&str]) -> Result<Vec<User>> {
        let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
        // Statements of their own instead of an "or": each is a plain lookup in one index.
        let mut users = self.users_where("email_key", keys).await?;
        users.extend(self.users_where("id", &ids).await?);
        users.extend(self.users_where("uid", uids).await?);
        let mut seen = HashSet::new();
        users.retain(|user| seen.insert(user.id.0));
        Ok(users)
    }

    async fn users_where<T>(&mut self, column: &'static str, values: &[T]) -> Result<Vec<User>>
    where
        T: Copy + Send + Sync + for<'q> sqlx::Encode<'q, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
        T: for<'q> sqlx::Encode<'q, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
    {
        if values.is_empty() {
            return Ok(Vec::new());
        }
        built!(
            self,
            {
                let mut query = QueryBuilder::new(concat!("select ", columns!(), " from users where "));
                query.push(column).push(" in (");
                let mut list = query.separated(", ");
                for value in values {
                    list.push_bind(*value);
                }
                query.push(")");
                query
            },
            // Every length is a statement of its own.
            build_query_as().persistent(false).fetch_all
        )
    }

    /// Up to `limit` users with ids above `after`, by id.
    pub async fn users_after(&mut self, after: UserId, limit: i64) -> Result<Vec<User>> {
        const SQL: &str = concat!(
            "select ",
            columns!(),
            " from users where id > $1 and deleted_at is null order by id limit $2"
        );
        on!(self, sqlx::query_as(SQL).bind(after.0).bind(limit), fetch_all)
    }
}

/// Up to so many users that match a filter are gathered by its index and then sorted. Where there are more, the order's
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

/// What a filter's parts are bound as, and how its text is found.
trait Engine: sqlx::Database {
    const GRAMS: Grams;
}
impl Engine for sqlx::Postgres {
    const GRAMS: Grams = GRAMS_POSTGRES;
}
impl Engine for sqlx::Sqlite {
    const GRAMS: Grams = GRAMS_SQLITE;
}

fn counting<E: Engine>(prefix: &str, filter: &UserFilter) -> QueryBuilder<E>
where
    String: for<'q> sqlx::Encode<'q, E> + sqlx::Type<E>,
    bool: for<'q> sqlx::Encode<'q, E> + sqlx::Type<E>,
{
    let mut query = QueryBuilder::new(prefix);
    if filter.deleted {
        query.push("select count(*) from users where true");
        push_filter(&mut query, filter, Some(E::GRAMS));
        return query;
    }
    // The deleted ones, which are few and have an index, are subtracted: so counting all the others reads the smallest index.
    query.push("select (select count(*) from users where true");
    push_conditions(&mut query, filter, Some(E::GRAMS));
    query.push(") - (select count(*) from users where deleted_at is not null");
    push_conditions(&mut query, filter, Some(E::GRAMS));
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
        push_filter(&mut query, filter, Some(E::GRAMS));
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
