-- One text for both engines; {id}, {time}, {uuid} and {bytes} are the engine's column types (store/migrate.rs).

create table users (
    id {id},
    -- As typed: what mail is sent to and what is shown.
    email text not null,
    -- The canonical form; two spellings of one mailbox share it.
    email_key text not null unique,
    -- Null: the account has no password yet.
    password_hash text,
    full_name text,
    -- Lower-case address and name: what the administrators' search looks through.
    search_text text not null,
    role text not null check (role in ('user', 'analyst', 'admin')),
    is_active boolean not null,
    email_verified_at {time},
    locale text not null check (locale in ('en', 'ar')),
    -- Grows with every change that anybody can see; a copy with a lower version is out of date.
    version bigint not null,
    created_at {time} not null,
    updated_at {time} not null,
    password_changed_at {time},
    last_login_at {time}
);

create index users_role on users (role, is_active);
create index users_created_at on users (created_at);

create table sessions (
    id {uuid} primary key,
    user_id bigint not null references users (id) on delete cascade,
    created_at {time} not null,
    last_seen_at {time} not null,
    -- The absolute end.
    expires_at {time} not null,
    -- The idle end; moves with every refresh, never past expires_at.
    idle_expires_at {time} not null,
    ip text not null,
    user_agent text not null,
    -- The refresh generations: see rotation.rs.
    generation bigint not null,
    generation_issued_at {time} not null,
    generation_expires_at {time} not null,
    used_generation bigint not null,
    replaced_generation bigint,
    superseded text not null,
    revoked_at {time},
    revoke_reason text
);

create index sessions_user on sessions (user_id, created_at);
create index sessions_expires_at on sessions (expires_at);

-- Every revocation and every change of a user, in the transaction that made it; all nodes tail this table.
create table changes (
    id {id},
    at {time} not null,
    user_id bigint not null,
    -- Null: the user itself changed.
    session_id {uuid},
    reason text,
    -- Until when a copy of the session or user could be believed somewhere.
    until {time} not null
);

create index changes_at on changes (at, id);
create index changes_until on changes (until);

-- Signing and encryption keys, sealed under the master key.
create table keys (
    kid text primary key,
    -- 'access:<algorithm>' or 'server'.
    purpose text not null,
    sealed {bytes} not null,
    created_at {time} not null,
    is_current boolean not null
);

create unique index keys_current on keys (purpose) where is_current;

create table one_time_tokens (
    id {uuid} primary key,
    purpose text not null,
    user_id bigint references users (id) on delete cascade,
    created_at {time} not null,
    expires_at {time} not null,
    used_at {time}
);

create index one_time_tokens_expires_at on one_time_tokens (expires_at);

create table audit (
    id {id},
    at {time} not null,
    action text not null,
    outcome text not null,
    reason text,
    actor_id bigint,
    subject_id bigint,
    session_id {uuid},
    ip text,
    user_agent text,
    request_id text
);

create index audit_at on audit (at);
create index audit_subject on audit (subject_id, id);

-- Rows that an act locks while it decides about many others.
create table guards (
    name text primary key,
    passes bigint not null
);

insert into guards (name, passes) values ('admins', 0);
