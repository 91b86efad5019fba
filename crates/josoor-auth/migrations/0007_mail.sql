-- One text for both engines; {id}, {time}, {uuid} and {bytes} are the engine's column types (store/migrate.rs).

-- How often an account whose address is not verified has asked for another one: a mistyped address can be corrected, and
-- addresses of strangers cannot be mailed without end.
create table email_corrections (
    user_id bigint primary key references users (id) on delete cascade,
    count bigint not null
);
