-- How far the sealed rows of the audit trail have been handed to other systems.
create table audit_streams (
    name text primary key,
    seq bigint not null,
    moved_at {time} not null
);
