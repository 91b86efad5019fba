-- One text for both engines; {id}, {time}, {uuid} and {bytes} are the engine's column types (store/migrate.rs).

-- The address that a token proves or restores, as typed and in its canonical form; null where it is about none.
alter table one_time_tokens add column email text;
alter table one_time_tokens add column email_key text;
-- The session that asked, where the answer concerns it.
alter table one_time_tokens add column session_id {uuid};
-- What the token was made for: a text that no longer fits once the account has changed in a way that ends the token.
alter table one_time_tokens add column bound_to text;

create index one_time_tokens_user on one_time_tokens (user_id, purpose);
create index one_time_tokens_email on one_time_tokens (email_key, purpose);

-- Refresh tokens of this generation and of earlier ones are dead, and who presents one raises no alarm.
alter table sessions add column retired_generation bigint not null default 0;

-- Accounts that will be there once their address is proved.
create table registrations (
    -- The token of the mail that asks for the proof; the registration ends with it.
    token_id {uuid} primary key references one_time_tokens (id) on delete cascade,
    email text not null,
    email_key text not null,
    password_hash text not null,
    full_name text,
    locale text not null check (locale in ('en', 'ar')),
    created_at {time} not null
);

create index registrations_email on registrations (email_key);

-- Locked by who decides what becomes of an address that has no account yet.
insert into guards (name, passes) values ('registrations', 0);

-- Mails to be sent, and requests for mails that wait to be looked into, in the order in which they were asked for. A link
-- is not in here: it is made from token_id when the mail is sent.
create table outbox (
    id {id},
    kind text not null,
    -- Where it goes: the address as stored with the account, or, in a request, as it was typed.
    recipient text not null,
    recipient_key text not null,
    locale text not null check (locale in ('en', 'ar')),
    -- No reference: a mail about a deletion outlives the account.
    user_id bigint,
    token_id {uuid},
    -- JSON, what the text of the mail names besides.
    details text not null,
    created_at {time} not null,
    attempts bigint not null,
    -- Not to be taken up before; moved ahead by whoever takes it up.
    due_at {time} not null,
    -- At most one of these two.
    sent_at {time},
    dropped_at {time},
    last_error text
);

create index outbox_due on outbox (due_at) where sent_at is null and dropped_at is null;
create index outbox_created_at on outbox (created_at);

-- The chain of the audit trail: the position of a row in it, and the code that seals the row and all before it. Null until
-- the sealer has come by.
alter table audit add column seq bigint;
alter table audit add column mac {bytes};

create unique index audit_seq on audit (seq);
create index audit_unsealed on audit (id) where seq is null;
create index audit_actor on audit (actor_id, id);
create index audit_action on audit (action, id);

-- The ends of the chain: 'head', its last row, and 'anchor', the last row that was removed after its time.
create table audit_chain (
    name text primary key check (name in ('head', 'anchor')),
    seq bigint not null,
    mac {bytes} not null,
    -- Proves that the service itself has set this end.
    tag {bytes} not null
);

-- Work that one node does for all.
create table leases (
    name text primary key,
    holder {uuid} not null,
    until {time} not null
);
