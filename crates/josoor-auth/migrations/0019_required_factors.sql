-- Roles whose users must have a second factor, since when: their grace begins then, whichever node was the first to be set so.
create table required_factors (
    role text primary key,
    since {time} not null
);
