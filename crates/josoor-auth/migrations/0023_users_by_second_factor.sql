-- What the list of users selects by.
create index users_mfa on users (mfa_at, id);
