-- One text for both engines; {id}, {time}, {uuid} and {bytes} are the engine's column types (store/migrate.rs).

-- Accounts that were deleted but can still be restored, and accounts that wait for their owner to recover them. Nodes of the
-- release before see both as inactive and without a password, so they sign neither in, send them no links, and find the
-- address taken.
alter table users add column deleted_at {time};
-- When a deleted account is removed for good.
alter table users add column purge_at {time};
-- What a restoration brings back.
alter table users add column kept_password_hash text;
alter table users add column kept_is_active boolean not null default false;
-- Since when the account waits for its owner to recover it.
alter table users add column frozen_at {time};
-- When the owner was last told of a sign-in from a new device.
alter table users add column new_device_mailed_at {time};

create index users_deleted_at on users (deleted_at) where deleted_at is not null;
create index users_purge_at on users (purge_at) where purge_at is not null;

-- What an account had until a moment: a password, the epoch of its devices, a verified address. Kept for as long as a change
-- of the address, or a deletion, can be undone.
create table past_credentials (
    id {id},
    user_id bigint not null references users (id) on delete cascade,
    kind text not null check (kind in ('password', 'epoch', 'address')),
    value text not null,
    until {time} not null,
    -- Whether it recovers the account, which is frozen.
    recovers boolean not null default false
);

create index past_credentials_user on past_credentials (user_id, until);
create index past_credentials_until on past_credentials (until);
