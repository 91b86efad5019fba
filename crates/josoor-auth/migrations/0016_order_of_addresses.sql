-- Addresses are compared byte by byte, alike on both engines.
create index users_email_order on users (email_key{bytewise}, id{list_columns});
{more_orders}

-- What the overview counts and the list shows.
create index users_verified on users (email_verified_at, id);
create index users_invited on users (invited_at, accepted_at, id);
