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

/// Constant defaults and dropped constraints touch no row. A statement of a node of the version before names none of the new columns:
/// the default that no time has tells the trigger so, which marks that node's invitations, and their acceptance.
const USERS_OF_ANY_KIND_POSTGRES: &str = "
alter table users
    alter column email drop not null,
    alter column email_key drop not null,
    drop constraint if exists users_locale_check,
    add column kind text not null default 'person',
    add column invited_at timestamptz,
    add column accepted_at timestamptz;
alter table users alter column invited_at set default '-infinity';
alter table registrations drop constraint if exists registrations_locale_check;
alter table outbox drop constraint if exists outbox_locale_check;

create function josoor_auth_note_invitation() returns trigger language plpgsql as
$$ begin
    if tg_op = 'INSERT' then
        if new.invited_at = '-infinity' then
            new.invited_at := case when new.password_hash is null and new.password_changed_at is null then new.created_at end;
        end if;
    elsif old.password_hash is null and new.password_hash is not null and new.invited_at is not null then
        new.accepted_at := coalesce(new.accepted_at, new.updated_at);
    end if;
    return new;
end $$;
create trigger users_invitation before insert or update of password_hash on users
    for each row execute function josoor_auth_note_invitation();
";

/// SQLite changes no constraint of a table that is there: a new one takes its place (https://www.sqlite.org/lang_altertable.html,
/// section 7), with foreign keys off. No node of the version before runs beside this one on a file. Ids are never given twice, so
/// the counter goes along.
const USERS_OF_ANY_KIND_SQLITE: &str = "
create table users_rebuilt (
    id integer primary key autoincrement,
    email text,
    email_key text unique,
    password_hash text,
    full_name text,
    search_text text not null,
    role text not null check (role in ('user', 'analyst', 'admin')),
    is_active boolean not null,
    email_verified_at integer,
    locale text not null,
    version bigint not null,
    created_at integer not null,
    updated_at integer not null,
    password_changed_at integer,
    last_login_at integer,
    session_limit_mailed_at integer,
    deleted_at integer,
    purge_at integer,
    kept_password_hash text,
    kept_is_active boolean not null default false,
    frozen_at integer,
    new_device_mailed_at integer,
    uid blob not null default (cast(randomblob(6)
    || substr(x'404142434445464748494a4b4c4d4e4f', 1 + (random() & 15), 1) || randomblob(1)
    || substr(cast(x'808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f'
        || x'a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebf' as blob), 1 + (random() & 63), 1) || randomblob(7) as blob)),
    kind text not null default 'person',
    invited_at integer,
    accepted_at integer
);
insert into users_rebuilt (id, email, email_key, password_hash, full_name, search_text, role, is_active, email_verified_at,
        locale, version, created_at, updated_at, password_changed_at, last_login_at, session_limit_mailed_at, deleted_at, purge_at,
        kept_password_hash, kept_is_active, frozen_at, new_device_mailed_at, uid)
    select id, email, email_key, password_hash, full_name, search_text, role, is_active, email_verified_at,
        locale, version, created_at, updated_at, password_changed_at, last_login_at, session_limit_mailed_at, deleted_at, purge_at,
        kept_password_hash, kept_is_active, frozen_at, new_device_mailed_at, uid
    from users order by id;
delete from sqlite_sequence where name = 'users_rebuilt';
insert into sqlite_sequence (name, seq) select 'users_rebuilt', seq from sqlite_sequence where name = 'users';
drop table users;
alter table users_rebuilt rename to users;
create index users_role on users (role, is_active);
create index users_created_at on users (created_at);
create index users_updated_at on users (updated_at, id);
create index users_role_id on users (role, id);
create index users_full_name_up on users ((full_name is null), full_name, id);
create index users_full_name_down on users ((full_name is null), full_name desc, id desc);
create index users_deleted_at on users (deleted_at) where deleted_at is not null;
create index users_purge_at on users (purge_at) where purge_at is not null;
create unique index users_uid on users (uid);
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
insert into users_search (users_search) values ('rebuild');

create table registrations_rebuilt (
    token_id blob primary key references one_time_tokens (id) on delete cascade,
    email text not null,
    email_key text not null,
    password_hash text not null,
    full_name text,
    locale text not null,
    created_at integer not null
);
insert into registrations_rebuilt select token_id, email, email_key, password_hash, full_name, locale, created_at from registrations;
drop table registrations;
alter table registrations_rebuilt rename to registrations;
create index registrations_email on registrations (email_key);

create table outbox_rebuilt (
    id integer primary key autoincrement,
    kind text not null,
    recipient text not null,
    recipient_key text not null,
    locale text not null,
    user_id bigint,
    token_id blob,
    details text not null,
    created_at integer not null,
    attempts bigint not null,
    due_at integer not null,
    sent_at integer,
    dropped_at integer,
    last_error text,
    class bigint not null default 2,
    network text,
    granted bigint not null default 0
);
insert into outbox_rebuilt select id, kind, recipient, recipient_key, locale, user_id, token_id, details, created_at, attempts,
    due_at, sent_at, dropped_at, last_error, class, network, granted from outbox;
delete from sqlite_sequence where name = 'outbox_rebuilt';
insert into sqlite_sequence (name, seq) select 'outbox_rebuilt', seq from sqlite_sequence where name = 'outbox';
drop table outbox;
alter table outbox_rebuilt rename to outbox;
create index outbox_due on outbox (due_at) where sent_at is null and dropped_at is null;
create index outbox_created_at on outbox (created_at);
create index outbox_turn on outbox (class, due_at, id) where sent_at is null and dropped_at is null;
";

/// What an engine puts for a placeholder of a migration's text.
pub(super) type Placeholder = (&'static str, &'static str);

impl Engine {
    /// What stands for each placeholder of the migrations.
    pub(super) const fn placeholders(self) -> [Placeholder; 10] {
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
                ("{no_uuid}", "x'00000000000000000000000000000000'"),
                ("{no_end}", "253402214400000000"),
            ],
        }
    }
}
