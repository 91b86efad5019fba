-- When a key begins to sign; null: with its creation.
alter table keys add column signs_from {time};
-- When what it has signed is no longer accepted; null: that is not known yet.
alter table keys add column verifies_until {time};

-- Locked by each change of keys; its number tells running nodes that something has changed.
insert into guards (name, passes) values ('keys', 0);
