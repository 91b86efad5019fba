-- Who has no name comes last, whichever way the names run.
create index users_name_up on users ((case when name_key is null then 1 else 0 end), name_key, id{list_columns});
create index users_name_down on users ((case when name_key is null then 1 else 0 end), name_key desc, id desc{list_columns});

-- What was written without folding.
create index users_unfolded on users (id) where {last_of_search_text} <> {folded};
