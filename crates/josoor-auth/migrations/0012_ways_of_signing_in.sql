-- What other ways of signing in than a password stand on. One text for both engines, but for what changes the table of users
-- itself, which is the engine's own (store/migrate). Additive, with one exception: an address may be null from the next release
-- on, and a locale is any language tag. No null is written while nodes of the release before can be there.

{users_of_any_kind}

-- What a user verifies who it is with, besides the password: TOTP secrets, passkeys, recovery codes.
create table credentials (
    id {uuid} primary key,
    user_id bigint not null references users (id) on delete cascade,
    -- 'totp', 'passkey' or 'recovery_code'.
    kind text not null,
    -- What the owner calls it.
    label text,
    created_at {time} not null,
    -- When the owner first verified it. Null: its enrolment has not been finished, and it is no way to sign in yet.
    confirmed_at {time},
    last_used_at {time},
    -- TOTP: the secret, sealed under the master key.
    sealed {bytes},
    -- TOTP: the last time step that was accepted (RFC 6238, 5.2). Passkeys: the signature counter (WebAuthn level 3, 6.1.1).
    -- Both only grow, by one conditional update.
    counter bigint not null default 0,
    -- Recovery codes: HMAC under the server-only key. Each is redeemed by one conditional delete.
    code_mac {bytes},
    -- Passkeys (WebAuthn level 3, 6.1): the credential's id, unique over all users; the public key as COSE; the authenticator's
    -- model; how it is reached; whether it can be, and is, backed up; what it attested at registration.
    external_id {bytes},
    public_key {bytes},
    aaguid {uuid},
    transports text,
    is_backup_eligible boolean not null default false,
    is_backed_up boolean not null default false,
    attestation {bytes}
);

create index credentials_user on credentials (user_id, kind);
create unique index credentials_external_id on credentials (external_id);
-- A user has one TOTP secret in use, and at most one that waits for its confirmation.
create unique index credentials_totp on credentials (user_id) where kind = 'totp' and confirmed_at is not null;
create unique index credentials_totp_begun on credentials (user_id) where kind = 'totp' and confirmed_at is null;

-- Accounts at other providers that sign a user in.
create table identities (
    id {uuid} primary key,
    user_id bigint not null references users (id) on delete cascade,
    -- The provider's id in the settings, its issuer at the time, and the user's id there: only these identify.
    provider text not null,
    issuer text not null,
    subject text not null,
    -- As the provider reported them. An address that it has not verified is compared with no other.
    email text,
    email_verified boolean not null default false,
    -- JSON of bounded size: what else it reported.
    claims text,
    -- The provider's own tokens, sealed under the master key, where they are kept.
    sealed_tokens {bytes},
    created_at {time} not null,
    last_used_at {time}
);

create unique index identities_subject on identities (provider, issuer, subject);
create index identities_user on identities (user_id);

-- Anything half done in a browser or another client: a sign-in between two factors, a provider's callback that is awaited, a
-- challenge, a code on its way by mail. Any node serves the next step. Consumed once, by one conditional update.
create table flows (
    id {uuid} primary key,
    kind text not null,
    -- HMAC of the secret of the browser or client that began it (a cookie, or the flow's opaque id).
    client_mac {bytes},
    -- HMAC of the name by which another party comes back to it: `state` at a provider, the token of a link, a user code.
    handle_mac {bytes},
    -- HMAC of a code to be typed.
    code_mac {bytes},
    -- Null until it is known who it is. The version is the user's when the first factor was verified: a later one ends the flow.
    user_id bigint references users (id) on delete cascade,
    user_version bigint,
    -- The session that began it (step-up, enrolment, linking), or that it has led to.
    session_id {uuid},
    -- The canonical address that a mail went to.
    email_key text,
    -- What was verified so far, challenges, verifiers, where to return: JSON, sealed under the server-only key.
    sealed {bytes} not null,
    attempts bigint not null default 0,
    created_at {time} not null,
    expires_at {time} not null,
    consumed_at {time}
);

create unique index flows_handle on flows (handle_mac);
create index flows_user on flows (user_id, kind);
create index flows_email on flows (email_key, kind);
create index flows_expires_at on flows (expires_at);

-- Keys of programs. Of a key only its hash is kept.
create table service_keys (
    id {uuid} primary key,
    name text not null,
    -- 'service': a program of the platform. 'personal': a user's own, with at most the user's rights.
    kind text not null default 'service',
    -- The user of the kind 'service' that the key stands for, or its owner. Null: a service that has no user.
    user_id bigint references users (id) on delete cascade,
    -- SHA-256 of 256 random bits.
    key_hash {bytes} not null,
    -- The beginning of the key, to recognise it by.
    prefix text not null,
    -- Separated by spaces.
    scopes text not null default '',
    -- The networks it may be used from, separated by spaces. Empty: any.
    networks text not null default '',
    created_at {time} not null,
    created_by bigint,
    expires_at {time},
    last_used_at {time},
    revoked_at {time},
    -- The key that takes its place; both are valid until this one expires.
    replaced_by {uuid}
);

create unique index service_keys_hash on service_keys (key_hash);
create index service_keys_user on service_keys (user_id);

-- Until when a device spares its user the second factor. Null: it is known, not trusted.
alter table devices add column trusted_until {time};

-- How far the rows of `users` are that get their facts afterwards, in steps (store/migrate): the last id, or -1 once all have them.
insert into guards (name, passes) values ('backfill-users', 0);
