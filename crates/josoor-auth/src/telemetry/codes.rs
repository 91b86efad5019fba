//! The codes of warnings and errors in the log, for alerts and searches. A message may be reworded; a code never changes.

/// One kind of warning or error.
#[cfg(test)]
#[derive(Debug)]
pub struct LogCode {
    /// The field `code` of the line.
    pub code: &'static str,
    /// `warn` or `error`.
    pub level: &'static str,
    /// What happened and what to do about it.
    pub meaning: &'static str,
}

macro_rules! codes {
    ($($name:ident $code:literal $level:ident $meaning:literal;)*) => {
        $(
            #[doc = concat!("`", $code, "`: ", $meaning)]
            pub const $name: &str = $code;
        )*

        /// All codes.
        #[cfg(test)]
        pub static CODES: &[LogCode] = &[
            $(LogCode { code: $code, level: stringify!($level), meaning: $meaning },)*
        ];
    };
}

codes! {
    CONFIGURATION_WARNING "configuration_warning" warn "a setting works and should not stay as it is; the message names it";
    NO_MAIL_SERVER "no_mail_server" warn "`SMTP_URL` is not set: mails wait in the outbox";
    DEVELOPMENT_MAILBOX "development_mailbox" warn "`serve --dev`: mails are shown on a page and sent to no one";
    CONNECTIONS_ABOVE_SYSTEM_LIMIT "connections_above_system_limit" warn "`server.max_connections` is more than the system allows, so fewer connections are accepted; raise `LimitNOFILE`";
    SETUP_LINK_NOT_WRITTEN "setup_link_not_written" warn "the file with the link for the first administrator cannot be written";
    STOPPED_AT_ONCE "stopped_at_once" warn "a second signal ended the process before it was drained";
    DATABASE_AWAITED "database_awaited" warn "at start the database cannot be reached yet (`cause`); it is tried for `database.start_timeout`";
    SECOND_SERVER "second_server" warn "another server runs on the same SQLite file; an embedded service has one";
    MIGRATION_WAITS "migration_waits" warn "at start a migration waits for a lock that another transaction holds; it is tried for a minute, then the start stops with the reason";
    STORE_UNAVAILABLE "store_unavailable" warn "a request was answered with 503; `cause` says which store failed and how";
    INTERNAL "internal" error "a request failed by a fault of the service: report it, with `cause`";
    HANDLER_PANICKED "handler_panicked" error "a request failed by a fault of the service: report it, with the line `panic` before it";
    PANIC "panic" error "a fault of the service: report it, with `place` and `message`";
    BACKGROUND_TASK_RESTARTED "background_task_restarted" error "a background task ended by a fault of the service and was started again: report it";
    ANSWER_TIMEOUT "answer_timeout" warn "a request took longer than `server.request_timeout` and was answered with 503";
    ACCEPT_FAILED "accept_failed" warn "a connection cannot be accepted, usually because no file descriptors are left; it is tried again";
    CONNECTIONS_SHORT "connections_short" warn "at most once a minute: `server.max_connections` are open, and those of `network`, which has the most, that are idle for longest are closed";
    PROXY_NOT_TRUSTED "proxy_not_trusted" warn "once for each `peer`, sixteen at most: a proxy that is not listed in `TRUSTED_PROXIES`, or a client that sends such a header";
    PROXY_USES_OTHER_HEADER "proxy_uses_other_header" warn "once for each `peer`, sixteen at most: a trusted proxy names its clients in `header`, and `server.forwarded_header` is `configured`";
    ORIGIN_NOT_LISTED "origin_not_listed" warn "once for each `origin`, sixteen at most: a page of an origin that is neither `PUBLIC_URL`'s nor in `CORS_ORIGINS` calls the service";
    FAILED_SIGN_INS_ALERT "failed_sign_ins_alert" warn "more sign-ins fail over the whole service than `limits.failed_sign_ins_alert` says; once per change on each node that sees it";
    FAILED_SIGN_INS_NORMAL "failed_sign_ins_normal" warn "the alert before is over";
    LIMITS_WITHOUT_REDIS "limits_without_redis" warn "Redis does not count; this node counts alone, with half of every quota";
    REFRESH_TOKEN_REUSED "refresh_token_reused" warn "an old refresh token was presented and its session revoked; `user_id`, `session_id`";
    PASSWORD_HASH_UNUSABLE "password_hash_unusable" warn "a stored password hash cannot be verified (`reason`); its owner needs a reset";
    BREACHED_FILE_UNREADABLE "breached_file_unreadable" warn "the file of breached passwords cannot be read; a password was set without it";
    HASHER_PRIORITY "hasher_priority" warn "the system does not let passwords be hashed at a lower priority than requests";
    REDIS_CONNECTION_LOST "redis_connection_lost" warn "the connection or the subscription to Redis was lost; `kind`, `reason`";
    REDIS_CONNECTION_FAILED "redis_connection_failed" warn "Redis cannot be reached; it is tried again";
    REDIS_COPIES_STALE "redis_copies_stale" warn "copies in Redis are not used until all changes have been applied to them";
    REDIS_WRITES_LOST "redis_writes_lost" warn "Redis has lost writes (a flush or a failover); its copies are not used until they are repaired";
    REDIS_WATERMARK_AHEAD "redis_watermark_ahead" warn "the watermark in Redis lies in the future because a node's clock is or was wrong; all changes are applied again";
    CHANGES_NOT_READ "changes_not_read" warn "the table of changes cannot be read: the database is away; it is tried each second";
    SESSION_USE_NOT_WRITTEN "session_use_not_written" warn "the times of use of sessions cannot be written; it is tried each second";
    CLOCK_SKEW "clock_skew" warn "this machine's clock is `seconds` away from the database's; let both follow a time server";
    PURGE_STOPPED "purge_stopped" warn "cleaning up stopped early; it goes on next time";
    SEARCH_NOT_FOLDED "search_not_folded" warn "rows that older nodes or other programs wrote cannot be prepared for the search and are found only as they are typed: the database is away; it is tried again";
    OUTBOX_NOT_READ "outbox_not_read" warn "the outbox cannot be read: the database is away; it is tried each second";
    OUTBOX_ROW_FAILED "outbox_row_failed" warn "a row of the outbox failed and is tried again; `mail`, `kind`, `error`";
    MAIL_NOT_SENT "mail_not_sent" warn "the mail server takes no mail; all wait. Once for each `reason` until one is taken; `smtp_code`, `enhanced_code`";
    MAIL_REFUSED "mail_refused" warn "the mail server refuses a mail for a reason that need not be the mail's, such as a right, a rule or a quota; it is tried for a day. Once for each `reason` until a mail is taken; `smtp_code`, `enhanced_code`";
    MAIL_DROPPED "mail_dropped" warn "a mail was given up; `mail`, `kind`, `reason`, `smtp_code`, `enhanced_code`";
    MAIL_BUDGET_SPENT "mail_budget_spent" warn "mails of a class wait because `limits.mail_total` is spent";
    AUDIT_STREAM_FAILING "audit_stream_failing" warn "a receiver of audit rows (`stream`) does not take them; nothing is lost, and they are sent again";
    AUDIT_NOT_SEALED "audit_not_sealed" warn "the audit trail cannot be sealed; it is tried again";
    AUDIT_SEALING_LATE "audit_sealing_late" error "rows of the audit trail have not been sealed for over a minute";
    AUDIT_ROWS_REFUSED "audit_rows_refused" error "rows of the audit trail were not written by this service, by id in `rows`; run `josoor-auth audit verify`";
    AUDIT_TAMPERED "audit_tampered" error "the audit trail was tampered with; run `josoor-auth audit verify`";
    BACKUP_FAILED "backup_failed" error "no backup could be made (`backup.every`); it is tried again after ten minutes";
    KEYS_NOT_READ "keys_not_read" warn "the signing keys cannot be read; those that were read before stay in use";
    KEY_NOT_DECRYPTED "key_not_decrypted" error "a signing key cannot be decrypted: the master key was replaced. Give this node the new one and restart it";
    KEY_NOT_ROTATED "key_not_rotated" error "the signing key is older than `keys.rotate_every` and cannot be replaced; it is tried again";
    TRACES_NOT_SENT "traces_not_sent" warn "traces cannot be sent to `url` (`tracing.endpoint`) and are lost, once until they can be again; `error`";
    IMPORT_BATCH_RETRIED "import_batch_retried" warn "the database is away during an import; the batch is tried again";
}

/// The table of the codes in Markdown, as `docs/reference/log-codes.md` has it.
#[cfg(test)]
pub fn table() -> String {
    let mut text = "| Code | Level | Meaning |\n|---|---|---|\n".to_owned();
    for LogCode { code, level, meaning } in CODES {
        text.push_str(&format!("| `{code}` | {level} | {meaning} |\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::sources::all_sources;

    #[test]
    fn every_warning_and_error_has_a_code() {
        let mut without = Vec::new();
        let mut count = 0;
        for (path, source) in all_sources() {
            for (at, name) in source
                .match_indices("warn!(")
                .chain(source.match_indices("error!("))
            {
                count += 1;
                let arguments = &source[at + name.len()..];
                let end = arguments.find(");").unwrap_or(arguments.len());
                if !arguments[..end].contains("code = ") {
                    let line = source[..at].rsplit('\n').next().unwrap_or_default().trim();
                    without.push(format!("{path}: {line}{name}{}", &arguments[..end.min(80)]));
                }
            }
        }
        assert!(count > 40, "only {count} lines were found");
        assert!(
            without.is_empty(),
            "give these a code of telemetry/codes.rs:\n{}",
            without.join("\n")
        );
    }

    /// `?` prints an error with the backtrace that it carries; as an error it is its causes, on one line.
    #[test]
    fn f7_no_line_prints_a_backtrace() {
        for (path, source) in all_sources() {
            for field in ["error = ?", "cause = ?", "reason = ?"] {
                assert!(!source.contains(field), "{path} logs {field}");
            }
        }
    }

    #[test]
    fn every_code_is_used_and_well_formed() {
        let sources = all_sources();
        let source = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/telemetry/codes.rs"));
        let source = source.expect("this file");
        let mut seen = std::collections::BTreeSet::new();
        for LogCode { code, level, .. } in CODES {
            assert!(seen.insert(code), "{code} stands twice");
            assert!(
                code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'),
                "{code}"
            );
            assert!(matches!(*level, "warn" | "error"), "{code}: {level}");
            let definition = format!(" \"{code}\" {level} ");
            let constant = source
                .lines()
                .find_map(|line| line.split_once(&definition).map(|(name, _)| name.trim()))
                .expect(code);
            let is_used = sources
                .iter()
                .any(|(_, text)| text.contains(&format!("codes::{constant}")));
            assert!(is_used, "{code} is in no line of the log");
        }
    }
}
