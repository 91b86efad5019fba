-- Failed sign-ins in a row, by the canonical address that was typed, whether it has an account or not. A sign-in removes the row of
-- its account; time alone removes only rows of addresses that have none.
create table failed_sign_ins (
    email_key text primary key,
    count bigint not null,
    last_at {time} not null
);

create index failed_sign_ins_last_at on failed_sign_ins (last_at);
