-- Constant defaults and dropped constraints touch no row. A statement of a node of the version before names none of the new columns:
-- the default that no time has tells the trigger so, which marks that node's invitations, and their acceptance.

alter table users
    alter column email drop not null,
    alter column email_key drop not null,
    drop constraint if exists users_locale_check,
    add column kind text not null default 'person',
    add column invited_at timestamptz,
    add column accepted_at timestamptz;
alter table users alter column invited_at set default '-infinity';
alter table registrations drop constraint if exists registrations_locale_check;
alter table outbox drop constraint if exists outbox_locale_check;

create function josoor_auth_note_invitation() returns trigger language plpgsql as
$$ begin
    if tg_op = 'INSERT' then
        if new.invited_at = '-infinity' then
            new.invited_at := case when new.password_hash is null and new.password_changed_at is null then new.created_at end;
        end if;
    elsif old.password_hash is null and new.password_hash is not null and new.invited_at is not null then
        new.accepted_at := coalesce(new.accepted_at, new.updated_at);
    end if;
    return new;
end $$;
create trigger users_invitation before insert or update of password_hash on users
    for each row execute function josoor_auth_note_invitation();
