-- What a mail server answered to the last try of a mail, and what an operator needs to try a mail again. Additive: nodes of the
-- release before go on sending, and say nothing of it.

-- The reply code (RFC 5321, 4.2) and the enhanced status code (RFC 3463); null where no server answered.
alter table outbox add column error_code bigint;
alter table outbox add column error_status text;
-- Whether a node has taken the row up: until due_at it is that node's.
alter table outbox add column is_taken boolean not null default false;
-- When an operator last had it tried again: the day after which a mail is given up is counted from then.
alter table outbox add column retried_at {time};

create index outbox_dropped on outbox (id) where dropped_at is not null;
create index outbox_taken on outbox (due_at) where is_taken;
