-- What happened on days that are over, in UTC: counted once, and kept when the audit trail's rows go.
create table counted_days (
    day bigint primary key,
    sign_ins bigint not null,
    failures bigint not null,
    active_users bigint not null
);
