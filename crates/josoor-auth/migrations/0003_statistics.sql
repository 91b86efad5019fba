-- What the console counts by day, and by what the audit trail is looked through.

create index audit_action_at on audit (action, at);
create index audit_session on audit (session_id, id);
create index audit_ip on audit (ip, id);
create index audit_request on audit (request_id, id);
