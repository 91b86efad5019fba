-- One text for both engines; {id}, {time}, {uuid} and {bytes} are the engine's column types (store/migrate.rs).

-- The devices that users have signed in on. A row counts only with the epoch of its account's present credentials.
create table devices (
    id {uuid} primary key,
    user_id bigint not null references users (id) on delete cascade,
    -- 'known'; later also 'trusted'.
    kind text not null default 'known',
    -- What the password and the address were at the last sign-in: see devices.rs.
    epoch text not null,
    created_at {time} not null,
    last_seen_at {time} not null,
    -- When the device last presented its mark. Null: it never did.
    presented_at {time},
    -- When it was forgotten: by its owner, by a change of credentials, or for newer ones. The row stays for a while, since
    -- undoing a change of address asks for what was known before.
    forgotten_at {time},
    label text not null,
    -- The network and the address of the last sign-in.
    network text not null,
    ip text not null
);

create index devices_user on devices (user_id, last_seen_at);
create index devices_last_seen_at on devices (last_seen_at);

-- Where the refresh token lies: 'body', with the client, or 'cookie'.
alter table sessions add column transport text not null default 'body';
-- How often a change of the password has begun a new generation.
alter table sessions add column retirements bigint not null default 0;
-- The device of the sign-in, and whether it was known before.
alter table sessions add column device_id {uuid};
alter table sessions add column on_known_device boolean not null default false;
-- The last interactive verification of who the user is. Null: the sign-in.
alter table sessions add column auth_time {time};
alter table sessions add column amr text not null default 'pwd';
alter table sessions add column acr text not null default '1';
alter table sessions add column client text;

-- Each sign-in counts the live sessions of its user, beside any number that have ended.
create index sessions_live on sessions (user_id) where revoked_at is null;

-- A session whose generations up to this one are retired. In a row without session_id, because nodes of the release before
-- take every row with one for the end of that session.
alter table changes add column retired_session {uuid};
alter table changes add column retired_generation bigint;

-- When the owner was last told that sessions were ended because there were too many.
alter table users add column session_limit_mailed_at {time};
