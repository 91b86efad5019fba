-- The host or domain that a passkey was registered for (WebAuthn level 3, 5.4.2): browsers present it nowhere else.
alter table credentials add column rp_id text;
