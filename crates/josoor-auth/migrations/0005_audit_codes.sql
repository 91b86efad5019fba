-- One text for both engines; {id}, {time}, {uuid} and {bytes} are the engine's column types, {no_uuid} and {no_end} values of
-- them (store/migrate.rs).

-- What a row of the audit trail is authenticated with from the moment it is written. Null in rows that nodes of the version
-- before wrote.
alter table audit add column nonce {uuid};
alter table audit add column row_mac {bytes};
-- Where row_mac comes from: 0 from the transaction of the act, 1 from the sealer, 2 from an erasure in a row that the version
-- before had sealed.
alter table audit add column mac_origin bigint not null default 0;
-- row_mac covers commitments to what is personal, not the values. A salt goes with its value; the commitment is stored once
-- they are gone.
alter table audit add column ip_salt {bytes};
alter table audit add column ip_commitment {bytes};
alter table audit add column user_agent_salt {bytes};
alter table audit add column user_agent_commitment {bytes};
-- Set by the sealer on rows that this service did not write.
alter table audit add column refused_at {time};

create unique index audit_nonce on audit (nonce);
create index audit_refused on audit (id) where refused_at is not null;

-- 0 until the trail has begun under this schema.
insert into guards (name, passes) values ('audit-begin', 0);

-- The lease of the version before, held for good: nodes of that version go on writing rows and seal none.
insert into leases (name, holder, until) values ('audit-sealer', {no_uuid}, {no_end})
on conflict (name) do update set holder = excluded.holder, until = excluded.until;
