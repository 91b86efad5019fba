-- What administrators look through and sort by, on a million users. At the end the engine's own way to find a text within others
-- is put in (store/migrate.rs).

create index users_updated_at on users (updated_at, id);
create index users_role_id on users (role, id);
-- Who has no name comes last, whichever way the names run.
create index users_full_name_up on users ((full_name is null), full_name, id);
create index users_full_name_down on users ((full_name is null), full_name desc, id desc);

{search}
