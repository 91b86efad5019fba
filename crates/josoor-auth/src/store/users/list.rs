//! Lists of users: filter, order, page and search.
//!
//! A page is read in one snapshot, in three steps: how many users match, up to a bound; the ids on the page; the users. What matches a
//! filter is gathered and sorted, as long as that is little: by the filter's facts where few users have them, else by its words. Of
//! many, the order's index is followed, in which a page is soon full. The planner is not left to choose: neither engine knows what
//! testing one row costs.

#[cfg(feature = "internals")]
mod explain;

use std::collections::{HashMap, HashSet};

use sqlx::QueryBuilder;
use uuid::Uuid;

use super::engine::{Engine, has_grams};
use super::order::{Range, Start, UserCursor, UserSort};
use super::user::{User, columns};
use crate::domain::{Role, SearchWords, UserId};
use crate::error::Result;
use crate::store::conn::{Conn, built, on};

/// More users than this that a search finds are not counted.
const COUNTED: i64 = 100_000;

/// Up to so many users that match a filter are always gathered. Of more, a page near the beginning is found by following the order.
/// Where at most so many have a filter's facts, their words are compared one by one, however many others have the same words.
const GATHERED: i64 = 10_000;

/// Filter of a list of users.
#[derive(Clone, Debug, Default)]
pub struct UserFilter {
    /// Words that the address or the name contain.
    pub text: SearchWords,
    /// Only this role.
    pub role: Option<Role>,
    /// Only active, or only inactive, users.
    pub is_active: Option<bool>,
    /// Only users whose address is verified, or is not.
    pub email_verified: Option<bool>,
    /// Only users who have not accepted their invitation yet, or only all others.
    pub invited: Option<bool>,
    /// Only users with a second factor, or only those without one.
    pub mfa_enabled: Option<bool>,
    /// Those that were deleted and can still be restored, instead of all others.
    pub deleted: bool,
}

impl UserFilter {
    /// Whether it asks for anything.
    fn is_some(&self) -> bool {
        !self.text.is_empty() || self.has_facts()
    }

    /// Whether it asks for anything but words.
    fn has_facts(&self) -> bool {
        self.role.is_some()
            || self.is_active.is_some()
            || self.email_verified.is_some()
            || self.invited.is_some()
            || self.mfa_enabled.is_some()
            || self.deleted
    }

    /// Whether the index of grams finds its words.
    fn has_grams(&self) -> bool {
        self.text.words().iter().any(|word| has_grams(word))
    }
}

/// A page of users.
#[derive(Clone, Debug)]
pub struct UserPage {
    /// The users.
    pub users: Vec<User>,
    /// How many match, on all pages.
    pub total: i64,
    /// Whether there are more than `total`.
    pub total_is_capped: bool,
    /// Where the next page begins; `None` on the last one.
    pub next: Option<UserCursor>,
}

impl Conn {
    /// One page of the users that match a filter.
    pub async fn list_users(
        &mut self,
        filter: &UserFilter,
        sort: UserSort,
        start: &Start,
        limit: i64,
    ) -> Result<UserPage> {
        self.begin_snapshot().await?;
        let gather = self.how_to_gather(filter).await?;
        self.set_planner(gather.settings()).await?;
        let counted: i64 = built!(
            self,
            counting("", filter, gather),
            build_query_scalar().persistent(false).fetch_one
        )?;
        let total_is_capped = !filter.text.is_empty() && counted > COUNTED;
        let total = if total_is_capped { COUNTED } else { counted };
        // One more than asked for tells whether there is a next page.
        let mut ids = match self.resolve_start(start, sort).await? {
            Some(Start::Offset(offset)) if offset >= total && !total_is_capped => Vec::new(),
            Some(start) => {
                let find = Find::choose(gather, filter, &start, total, limit + 1);
                self.page_of_ids(filter, sort, &start, find, limit + 1).await?
            }
            None => Vec::new(),
        };
        let has_next = i64::try_from(ids.len()).is_ok_and(|count| count > limit);
        ids.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        let users = self.users_by_ids(&ids).await?;
        let next = match users.last().filter(|_| has_next) {
            Some(last) => Some(self.cursor_of(last, sort).await?),
            None => None,
        };
        self.end_snapshot().await?;
        Ok(UserPage {
            users,
            total,
            total_is_capped,
            next,
        })
    }

    /// By which of its parts what matches a filter is gathered.
    async fn how_to_gather(&mut self, filter: &UserFilter) -> Result<Find> {
        if !filter.has_grams() {
            return Ok(Find::Facts);
        }
        if !filter.has_facts() {
            return Ok(Find::Words);
        }
        self.set_planner(Find::Facts.settings()).await?;
        let count: i64 = built!(
            self,
            counting_few(filter),
            build_query_scalar().persistent(false).fetch_one
        )?;
        Ok(if count > GATHERED {
            Find::Words
        } else {
            Find::Facts
        })
    }

    /// A start whose place in the order is known: of a user that a cursor only names, the place as it is now. `None` when there is no
    /// such user.
    async fn resolve_start(&mut self, start: &Start, sort: UserSort) -> Result<Option<Start>> {
        match start {
            Start::After(cursor) if !cursor.is_of(sort) => {
                let Some(user) = self.user_by_id(cursor.user()).await? else {
                    return Ok(None);
                };
                Ok(Some(Start::After(self.cursor_of(&user, sort).await?)))
            }
            known => Ok(Some(known.clone())),
        }
    }

    async fn page_of_ids(
        &mut self,
        filter: &UserFilter,
        sort: UserSort,
        start: &Start,
        find: Find,
        limit: i64,
    ) -> Result<Vec<i64>> {
        self.set_planner(find.settings()).await?;
        let mut ids = Vec::new();
        for range in Range::all(sort, start) {
            let left = limit - i64::try_from(ids.len()).unwrap_or(limit);
            if left > 0 {
                let part: Vec<i64> = built!(
                    self,
                    listing("", filter, sort, &range, find, Some(left)),
                    build_query_scalar().persistent(false).fetch_all
                )?;
                ids.extend(part);
            }
        }
        Ok(ids)
    }

    async fn cursor_of(&mut self, user: &User, sort: UserSort) -> Result<UserCursor> {
        const SQL: &str = "select name_key from users where id = $1";
        let name_key: Option<Vec<u8>> = if sort.is_by_name() {
            on!(self, sqlx::query_scalar(SQL).bind(user.id.0), fetch_one)?
        } else {
            None
        };
        Ok(UserCursor::of(user, sort, name_key))
    }

    /// The ids of the users that match a filter, in order. Eight bytes for each: what follows can be read in pieces, and
    /// no user is lost or repeated when others are added or removed meanwhile.
    pub async fn list_user_ids(&mut self, filter: &UserFilter, sort: UserSort) -> Result<Vec<i64>> {
        self.begin_snapshot().await?;
        // All of them are wanted, so no index spares the sorting.
        let gather = self.how_to_gather(filter).await?;
        self.set_planner(gather.settings()).await?;
        let range = Range::From(0);
        let ids = built!(
            self,
            listing("", filter, sort, &range, gather, None),
            build_query_scalar().persistent(false).fetch_all
        )?;
        self.end_snapshot().await?;
        Ok(ids)
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

    /// Says which ways to read a table PostgreSQL has for the next statements of a snapshot.
    async fn set_planner(&mut self, settings: &'static str) -> Result<()> {
        if self.is_sqlite() {
            return Ok(());
        }
        self.run(settings).await
    }
}

/// How the users of a page are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Find {
    /// By the index of grams; then they are sorted.
    Words,
    /// By the indexes of the filter's other parts; then they are sorted.
    Facts,
    /// By the order's index; each is tested.
    Order,
}

impl Find {
    fn choose(gather: Self, filter: &UserFilter, start: &Start, total: i64, limit: i64) -> Self {
        let is_soon_full = match start {
            Start::After(_) => true,
            Start::Offset(offset) => offset.saturating_add(limit).saturating_mul(8) <= total,
        };
        if filter.is_some() && (total <= GATHERED || total < COUNTED && !is_soon_full) {
            gather
        } else {
            Self::Order
        }
    }

    /// Which ways to read the table PostgreSQL has. Where words are found by their grams there is no other way than that index: read
    /// otherwise, the grams of every row would be computed. Facts are as quick by reading the table.
    const fn settings(self) -> &'static str {
        match self {
            Self::Words => {
                "set local enable_seqscan = off; set local enable_bitmapscan = on; set local enable_sort = on"
            }
            Self::Facts => {
                "set local enable_seqscan = on; set local enable_bitmapscan = on; set local enable_sort = on"
            }
            Self::Order => {
                "set local enable_seqscan = off; set local enable_bitmapscan = off; set local enable_sort = off"
            }
        }
    }
}

/// Begins ` from … where …`.
fn push_from<E: Engine>(query: &mut QueryBuilder<E>, filter: &UserFilter, find: Find) {
    if find == Find::Words {
        query.push(" from ").push(E::FROM_GRAMS);
        E::push_grams(query, &filter.text);
    } else {
        query.push(" from users where true");
    }
}

fn push_filter<E: Engine>(query: &mut QueryBuilder<E>, filter: &UserFilter, find: Find) {
    query.push(if filter.deleted {
        " and users.deleted_at is not null"
    } else {
        " and users.deleted_at is null"
    });
    push_conditions(query, filter, find);
}

/// [`push_filter`], whether a user was deleted or not.
fn push_conditions<E: Engine>(query: &mut QueryBuilder<E>, filter: &UserFilter, find: Find) {
    push_words(query, filter);
    if find == Find::Facts && !filter.text.is_empty() && filter.has_facts() {
        let (before, after) = E::BY_INDEX_FIRST;
        query.push(before);
        push_facts(query, filter, find);
        query.push(after);
    } else {
        push_facts(query, filter, find);
    }
}

fn push_words<E: Engine>(query: &mut QueryBuilder<E>, filter: &UserFilter) {
    for word in filter.text.words() {
        let escaped = word.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
        query.push(" and users.search_text like ");
        E::push_text(query, format!("%{escaped}%"));
        query.push(" escape '\\'");
    }
}

fn push_facts<E: Engine>(query: &mut QueryBuilder<E>, filter: &UserFilter, find: Find) {
    // Written so that no index is found for them, where another one is to be used.
    let by_index = find == Find::Facts;
    if let Some(role) = filter.role {
        query.push(if by_index {
            " and users.role = "
        } else {
            " and (users.role || '') = "
        });
        E::push_text(query, role.as_str().to_owned());
    }
    if let Some(is_active) = filter.is_active {
        query.push(" and users.is_active = ");
        E::push_flag(query, is_active);
    }
    let mut push_fact = |fact: &str, no_fact: &str, wanted: Option<bool>| {
        if let Some(wanted) = wanted {
            let wanted = if wanted { fact } else { no_fact };
            if by_index {
                query.push(format!(" and ({wanted})"));
            } else {
                query.push(format!(" and case when {wanted} then 1 else 0 end = 1"));
            }
        }
    };
    push_fact(
        "users.email_verified_at is not null",
        "users.email_verified_at is null",
        filter.email_verified,
    );
    push_fact(
        "users.invited_at is not null and users.accepted_at is null",
        "users.invited_at is null or users.accepted_at is not null",
        filter.invited,
    );
    push_fact(
        "users.mfa_at is not null",
        "users.mfa_at is null",
        filter.mfa_enabled,
    );
}

/// How many users have a filter's facts, up to one more than [`GATHERED`].
fn counting_few<E: Engine>(filter: &UserFilter) -> QueryBuilder<E> {
    let mut query = QueryBuilder::new("select count(*) from (select 1 from users where true");
    push_facts(&mut query, filter, Find::Facts);
    query.push(if filter.deleted {
        " and deleted_at is not null"
    } else {
        ""
    });
    query.push(format!(" limit {}) as found", GATHERED + 1));
    query
}

fn counting<E: Engine>(prefix: &str, filter: &UserFilter, find: Find) -> QueryBuilder<E> {
    let mut query = QueryBuilder::new(prefix);
    if !filter.text.is_empty() {
        query.push("select count(*) from (select 1");
        push_from(&mut query, filter, find);
        push_filter(&mut query, filter, find);
        query.push(format!(" limit {}) as found", COUNTED + 1));
        return query;
    }
    if filter.deleted {
        query.push("select count(*) from users where true");
        push_filter(&mut query, filter, find);
        return query;
    }
    // The deleted ones, which are few and have an index, are subtracted: so counting all the others reads the smallest index.
    query.push("select (select count(*) from users where true");
    push_conditions(&mut query, filter, find);
    query.push(") - (select count(*) from users where deleted_at is not null");
    push_conditions(&mut query, filter, Find::Order);
    query.push(")");
    query
}

fn listing<E: Engine>(
    prefix: &str,
    filter: &UserFilter,
    sort: UserSort,
    range: &Range,
    find: Find,
    limit: Option<i64>,
) -> QueryBuilder<E> {
    let mut query = QueryBuilder::new(prefix);
    let key = format!("{}{}", sort.key(), if sort.is_text() { E::BYTEWISE } else { "" });
    let (id, key) = match find {
        // The order has to follow after all are gathered: with a limit PostgreSQL would follow the order and test every row.
        Find::Words | Find::Facts => {
            query.push(format!(
                "with found as materialized (select users.id, {key} as sort_key"
            ));
            push_from(&mut query, filter, find);
            push_filter(&mut query, filter, find);
            query.push(") select found.id from found where true");
            ("found.id", "found.sort_key".to_owned())
        }
        Find::Order => {
            query.push("select users.id");
            push_from(&mut query, filter, find);
            push_filter(&mut query, filter, find);
            ("users.id", key)
        }
    };
    range.push_condition(&mut query, sort, id, &key);
    query.push(sort.order(id, &key, range));
    if let Some(limit) = limit {
        query.push(" limit ");
        E::push_number(&mut query, limit);
        if let Range::From(offset) = range {
            query.push(" offset ");
            E::push_number(&mut query, *offset);
        }
    }
    query
}
