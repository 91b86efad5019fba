-- One text for both engines; {id}, {time}, {uuid} and {bytes} are the engine's column types (store/migrate.rs).

-- How often an account whose address is not verified has asked for another one: a mistyped address can be corrected, and
-- addresses of strangers cannot be mailed without end.
create table email_corrections (
    user_id bigint primary key references users (id) on delete cascade,
    count bigint not null
);

-- Which rows go first, and from which share of the budget a mail is taken: 0 resets of a password, 1 notices, 2 everything else.
-- The version before says nothing of it.
alter table outbox add column class bigint not null default 2;
-- The network whose request without a session caused the row; null where its mails are not counted.
alter table outbox add column network text;
-- The budgets from which the row has been taken already, as bits: a mail is counted once, however often it is taken up.
alter table outbox add column granted bigint not null default 0;

update outbox set class = 0 where kind in ('reset_request', 'reset_password');
update outbox set class = 1
    where kind in ('password_changed', 'email_changed', 'email_change_done', 'email_restored', 'refresh_reuse', 'account_deleted');

create index outbox_turn on outbox (class, due_at, id) where sent_at is null and dropped_at is null;

-- True while the mail with the token's link waits: the links before it stay good, and its own life has not begun. The version
-- before knows nothing of it: its tokens are good at once.
alter table one_time_tokens add column is_pending boolean not null default false;
-- The row of the outbox that carried the link. Of two links the one of the later row stays.
alter table one_time_tokens add column mail_id bigint;

create index one_time_tokens_mail on one_time_tokens (mail_id);
