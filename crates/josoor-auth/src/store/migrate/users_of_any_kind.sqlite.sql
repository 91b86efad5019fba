-- SQLite changes no constraint of a table that is there: a new one takes its place (https://www.sqlite.org/lang_altertable.html,
-- section 7), with foreign keys off. No node of the version before runs beside this one on a file. Ids are never given twice, so
-- the counter goes along.

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
