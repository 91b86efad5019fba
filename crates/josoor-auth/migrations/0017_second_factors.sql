-- Second factors. Nodes of the release before ask for none: enrol no factor while they run.

-- Since when the account has had a second factor without a break. Null: it has none. What was verified before counts as one factor.
alter table users add column mfa_at {time};

-- The enrolment that a session has begun.
create index flows_session on flows (session_id, kind);
