-- Whatever order nodes and programs write changes in, and however wrong their clocks are, a change bears the time of the database.
-- At the end the engine's own way is put in (store/migrate.rs).

{stamp_changes}
