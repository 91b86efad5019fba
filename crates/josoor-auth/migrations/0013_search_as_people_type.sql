-- Users are found by folded text and sorted by a key that the service writes (domain/fold.rs). `search_text` still begins with the
-- lines that nodes of the release before search in, and what they write is folded afterwards (store/users/refold.rs). The indexes
-- come in migrations of their own, so that no lock is held while they are built.

-- The place of the name in a list, compared byte by byte, alike on both engines. Null without a name.
alter table users add column name_key {bytes};

{unfold}
