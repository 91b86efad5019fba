//! What stands in the migrations in each engine's own words.

/// The engine that a migration is written out for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    Postgres,
    Sqlite,
}

/// All groups of three characters of a text, indexed: a longer text is found by its groups. Not `pg_trgm`, which
/// has to be installed, and which in a database of the locale C knows no letters but ASCII.
const SEARCH_POSTGRES: &str = "
create function josoor_auth_grams(text) returns text[] language sql immutable strict parallel safe as
$$ select pg_catalog.array_agg(distinct pg_catalog.substr($1, n, 3))
   from pg_catalog.generate_series(1, greatest(pg_catalog.length($1) - 2, 1)) as n $$;
create index users_grams on users using gin (josoor_auth_grams(search_text));
";

/// The same by SQLite's full-text index, which triggers keep.
const SEARCH_SQLITE: &str = "
create virtual table users_search using fts5 (search_text, content='users', content_rowid='id', tokenize='trigram');
insert into users_search (users_search) values ('rebuild');
create trigger users_search_insert after insert on users begin
    insert into users_search (rowid, search_text) values (new.id, new.search_text);
end;
create trigger users_search_delete after delete on users begin
    insert into users_search (users_search, rowid, search_text) values ('delete', old.id, old.search_text);
end;
create trigger users_search_update after update of search_text on users begin
    insert into users_search (users_search, rowid, search_text) values ('delete', old.id, old.search_text);
    insert into users_search (rowid, search_text) values (new.id, new.search_text);
end;
";

/// A random UUID (RFC 9562, version 4) for every user. In PostgreSQL the default is set apart from the column, so that the rows
/// that are there are not rewritten under a lock: they get theirs afterwards, in steps.
const UID_POSTGRES: &str = "
alter table users add column uid uuid;
alter table users alter column uid set default gen_random_uuid();
create unique index users_uid on users (uid);
";

/// The same where a column cannot be added with an expression as its default: a trigger fills it in. It uses no function that
/// SQLite got lately, because other programs write to the table with a SQLite of their own.
const UID_SQLITE: &str = "
alter table users add column uid blob;
update users set uid = cast(randomblob(6)
    || substr(x'404142434445464748494a4b4c4d4e4f', 1 + (random() & 15), 1) || randomblob(1)
    || substr(cast(x'808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f'
        || x'a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebf' as blob), 1 + (random() & 63), 1) || randomblob(7) as blob);
create unique index users_uid on users (uid);
create trigger users_uid_insert after insert on users when new.uid is null begin
    update users set uid = cast(randomblob(6)
        || substr(x'404142434445464748494a4b4c4d4e4f', 1 + (random() & 15), 1) || randomblob(1)
        || substr(cast(x'808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f'
            || x'a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebf' as blob), 1 + (random() & 63), 1) || randomblob(7) as blob)
        where id = new.id;
end;
";

/// The database stamps changes itself, also those of a node of the version before whose clock is wrong.
const STAMP_CHANGES_POSTGRES: &str = "
create function josoor_auth_stamp_change() returns trigger language plpgsql as
$$ begin new.at := clock_timestamp(); return new; end $$;
create trigger changes_stamp before insert on changes for each row execute function josoor_auth_stamp_change();
";

/// All processes that use one file share one clock.
const STAMP_CHANGES_SQLITE: &str = "select 1;";

/// Who changes a name or an address and knows nothing of the search text, an older node's or another program's statement, leaves one
/// that is not folded, and is found by it until it is.
const UNFOLD_POSTGRES: &str = "
create function josoor_auth_unfold() returns trigger language plpgsql as
$$ begin
    if new.search_text = old.search_text
        and (new.full_name is distinct from old.full_name or new.email_key is distinct from old.email_key) then
        new.search_text := coalesce(new.email_key, '') || chr(10) || lower(coalesce(new.full_name, ''));
    end if;
    return new;
end $$;
create trigger users_unfold before update of full_name, email_key on users
    for each row execute function josoor_auth_unfold();
";

const UNFOLD_SQLITE: &str = "
create trigger users_unfold after update of full_name, email_key on users
when new.search_text = old.search_text and (new.full_name is not old.full_name or new.email_key is not old.email_key) begin
    update users set search_text = coalesce(new.email_key, '') || char(10) || lower(coalesce(new.full_name, '')) where id = new.id;
end;
";

/// The other orders of a list, as indexes in which a page far down is found alone.
const MORE_ORDERS_SQLITE: &str = "
create index users_created_order on users (created_at, id, role, is_active, deleted_at);
create index users_updated_order on users (updated_at, id, role, is_active, deleted_at);
create index users_role_order on users (role, id, is_active, deleted_at);
";

/// The last character of a search text, and what it is when the text is folded ([`FOLDED`](crate::domain::FOLDED)): as the index
/// `users_unfolded` has them.
pub(crate) const FOLDED_POSTGRES: (&str, &str) = ("right(search_text, 1)", "E'\\x01'");
pub(crate) const FOLDED_SQLITE: (&str, &str) = ("substr(search_text, -1)", "char(1)");

const USERS_OF_ANY_KIND_POSTGRES: &str = include_str!("users_of_any_kind.postgres.sql");

const USERS_OF_ANY_KIND_SQLITE: &str = include_str!("users_of_any_kind.sqlite.sql");

/// What an engine puts for a placeholder of a migration's text.
pub(super) type Placeholder = (&'static str, &'static str);

impl Engine {
    /// What stands for each placeholder of the migrations.
    pub(super) const fn placeholders(self) -> [Placeholder; 16] {
        match self {
            // "by default", so that an import can keep the ids it brings. No node has the nil UUID, and the time does not come.
            Self::Postgres => [
                ("{id}", "bigint generated by default as identity primary key"),
                ("{time}", "timestamptz"),
                ("{uuid}", "uuid"),
                ("{bytes}", "bytea"),
                ("{search}", SEARCH_POSTGRES),
                ("{uid}", UID_POSTGRES),
                ("{stamp_changes}", STAMP_CHANGES_POSTGRES),
                ("{users_of_any_kind}", USERS_OF_ANY_KIND_POSTGRES),
                ("{unfold}", UNFOLD_POSTGRES),
                ("{last_of_search_text}", FOLDED_POSTGRES.0),
                ("{folded}", FOLDED_POSTGRES.1),
                ("{bytewise}", " collate \"C\""),
                // Rows are read for their visibility in any case.
                ("{list_columns}", ""),
                ("{more_orders}", ""),
                ("{no_uuid}", "'00000000-0000-0000-0000-000000000000'"),
                ("{no_end}", "'9999-12-31T00:00:00Z'"),
            ],
            // Without "autoincrement" SQLite gives the id of a deleted last row again.
            Self::Sqlite => [
                ("{id}", "integer primary key autoincrement"),
                ("{time}", "integer"),
                ("{uuid}", "blob"),
                ("{bytes}", "blob"),
                ("{search}", SEARCH_SQLITE),
                ("{uid}", UID_SQLITE),
                ("{stamp_changes}", STAMP_CHANGES_SQLITE),
                ("{users_of_any_kind}", USERS_OF_ANY_KIND_SQLITE),
                ("{unfold}", UNFOLD_SQLITE),
                ("{last_of_search_text}", FOLDED_SQLITE.0),
                ("{folded}", FOLDED_SQLITE.1),
                ("{bytewise}", ""),
                // So that a page far down is found in the index alone.
                ("{list_columns}", ", role, is_active, deleted_at"),
                ("{more_orders}", MORE_ORDERS_SQLITE),
                ("{no_uuid}", "x'00000000000000000000000000000000'"),
                ("{no_end}", "253402214400000000"),
            ],
        }
    }
}
