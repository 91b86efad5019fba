-- What the HTTP side keeps. Additive: nodes of the release before go on writing rows that lack these columns.

-- A user's identifier for other systems: random, never given twice, the same for the account's whole life. The engine fills it in
-- where a statement does not name it (store/migrate.rs).
{uid}

-- The id that the client gave its request, beside ours in request_id. Chosen by the client; null where it gave none.
alter table audit add column client_request_id text;
