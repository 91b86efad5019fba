use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;

use super::source::{self, DEFAULTS, Layers};
use super::*;
use crate::domain::Locale;
use crate::domain::limit::Limit;
use josoor_auth_verify::RedisKind;

const GOOD_SECRET: &str = "q7Vd0xK2mZ9sT4wB8nR1yL6cJ3hF5gPa";
const GOOD_KEY: &str = "3q2+796tvu/erb7v3q2+796tvu/erb7v3q2+796tvu8=";

fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn from_env(pairs: &[(&str, &str)]) -> Config {
    Config::parse(None, &env(pairs)).unwrap_or_else(|error| panic!("{error}"))
}

fn from_file(text: &str) -> Config {
    Config::parse(Some(("josoor.toml", text)), &BTreeMap::new()).unwrap_or_else(|error| panic!("{error}"))
}

fn error_of(file: Option<&str>, pairs: &[(&str, &str)]) -> ConfigError {
    Config::parse(file.map(|text| ("josoor.toml", text)), &env(pairs))
        .expect_err("this configuration is to be refused")
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn quota(count: u32, window: u64) -> Quota {
    Quota {
        count,
        window: seconds(window),
    }
}

fn layers_of_defaults() -> Layers {
    let mut problems = Vec::new();
    let layers = source::layers(None, None, &BTreeMap::new(), &mut problems).unwrap();
    assert_eq!(problems, []);
    layers
}

#[test]
fn defaults_are_the_contract() {
    let config = from_env(&[]);
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    assert!(
        matches!(&config.database.url, Database::Sqlite { path } if path.to_str() == Some("data/josoor-auth.db"))
    );
    assert_eq!(config.database.schema, "public");
    assert_eq!(config.database.max_connections, 10);
    assert_eq!(config.database.acquire_timeout, seconds(1));
    assert!(config.redis.url.is_none());
    assert_eq!(config.redis.prefix, "");
    assert_eq!(config.redis.timeout, Duration::from_millis(200));
    assert!(config.keys.master_key.is_none());
    assert!(config.auth.jwt_secret.is_none());
    assert_eq!(config.auth.algorithm, Algorithm::HS256);
    assert_eq!(config.auth.access_lifetime, seconds(1440 * 60));
    assert_eq!(config.auth.issuer, "http://localhost:8000");
    assert_eq!(config.auth.audience, None);
    assert_eq!(config.auth.missing_token_status.as_u16(), 403);
    assert_eq!(config.server.bind.to_string(), "127.0.0.1:8000");
    assert_eq!(config.server.public_url.as_str(), "http://localhost:8000");
    assert!(config.server.cors_origins.is_empty());
    assert!(config.server.trusted_proxies.is_empty());
    assert_eq!(config.server.max_connections, 4096);
    assert_eq!(config.server.header_timeout, seconds(10));
    assert_eq!(config.server.body_timeout, seconds(15));
    assert_eq!(config.server.request_timeout, seconds(30));
    assert_eq!(config.server.drain_delay, seconds(0));
    assert_eq!(config.server.drain_timeout, seconds(20));
    assert_eq!(config.registration.mode, RegistrationMode::Open);
    assert_eq!(config.password.scheme, PasswordScheme::Bcrypt);
    assert_eq!(config.password.bcrypt_cost, 12);
    assert_eq!(config.password.min_length, 8);
    assert_eq!(config.password.argon2_memory_kib, 19456);
    assert_eq!(config.password.argon2_iterations, 2);
    assert_eq!(config.password.argon2_parallelism, 1);
    assert_eq!(config.session.idle, seconds(7 * 86400));
    assert_eq!(config.session.absolute, seconds(30 * 86400));
    assert_eq!(config.session.refresh_grace, seconds(30));
    assert_eq!(config.session.max_per_user, 100);
    assert!(config.auth.bearer_renewal);
    assert_eq!(config.auth.bearer_renewal_max, seconds(7 * 86400));
    assert_eq!(config.account.deletion_grace, seconds(72 * 3600));
    assert_eq!(config.cache.near_ttl, seconds(5));
    assert_eq!(config.cache.near_bytes, 64 * 1024 * 1024);
    assert!(config.limits.enabled);
    assert_eq!(config.limits.quota(Limit::LoginAccount), quota(10, 60));
    assert_eq!(config.limits.quota(Limit::LoginPair), quota(10, 60));
    assert_eq!(config.limits.quota(Limit::LoginAddress), quota(100, 60));
    assert_eq!(config.hash.threads, 0);
    assert_eq!(config.hash.queue, 16);
    assert_eq!(config.mail.locale, Locale::En);
    assert!(config.mail.smtp_url.is_none());
    assert!(config.mail.from.is_none());
    assert_eq!(config.audit.retention, seconds(400 * 86400));
    assert_eq!(config.audit.mac_required_after, Some(seconds(600)));
    assert!(config.metrics.bind.is_none());
    assert!(config.tracing.collector.is_none());
    assert_eq!(config.log.format, LogFormat::Auto);
    assert_eq!(config.log.level, "info");
}

#[test]
fn the_default_file_and_the_code_have_the_same_keys() {
    let layers = layers_of_defaults();
    let mut reader = Reader::new(&layers, Vec::new());
    assert!(reader.config().is_some());
    let in_file: BTreeSet<&str> = layers.keys().map(String::as_str).collect();
    assert_eq!(reader.keys_read, in_file);
    for (variable, key) in variables::PLATFORM_VARIABLES {
        assert!(
            in_file.contains(key),
            "{variable} sets {key}, which does not exist"
        );
    }
}

#[test]
fn the_default_file_explains_every_key_and_names_its_variable() {
    let mut section = "";
    let mut comment = String::new();
    let mut seen = 0;
    for line in DEFAULTS.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name;
        } else if line.starts_with('#') {
            comment.push_str(line);
        } else if let Some((key, _)) = line.split_once(" = ") {
            let key = format!("{section}.{key}");
            for name in [variables::variable_of(&key), variables::long_variable_of(&key)] {
                let is_named = comment.split([' ', '(', ')', '#']).any(|word| word == name);
                assert!(is_named, "{key}: its comment does not name {name}");
            }
            assert_eq!(
                comment.contains(&format!("{}_FILE", variables::variable_of(&key))),
                variables::is_secret(&key),
                "{key}: _FILE"
            );
            seen += 1;
        } else {
            comment.clear();
        }
        if line.contains(" = ") && !line.starts_with('#') {
            comment.clear();
        }
    }
    assert_eq!(seen, layers_of_defaults().len());
}

#[test]
fn the_default_file_as_configuration_file_changes_nothing() {
    let (built_in, given) = (from_env(&[]), from_file(DEFAULTS));
    for (left, right) in built_in.sources().iter().zip(given.sources()) {
        assert_eq!((&left.key, &left.value), (&right.key, &right.value));
        assert_eq!(left.source, Source::Default);
        assert!(matches!(right.source, Source::File { line: Some(_), .. }));
    }
}

#[test]
fn every_platform_variable_is_read() {
    let config = from_env(&[
        (
            "DATABASE_URL",
            "postgres://josoor:hidden@db:5432/auth?sslmode=require",
        ),
        ("REDIS_URL", "rediss://:hidden@cache:6380/2"),
        ("MASTER_KEY", GOOD_KEY),
        ("JWT_SECRET", GOOD_SECRET),
        ("JWT_ALGORITHM", "HS256"),
        ("JWT_EXPIRATION_MINUTES", "15"),
        ("BIND", "0.0.0.0"),
        ("PORT", "9000"),
        ("PUBLIC_URL", "https://Example.org/auth/"),
        ("SMTP_URL", "smtps://u:hidden@mail.example.org"),
        ("MAIL_FROM", "JOSOOR <no-reply@example.org>"),
        ("CORS_ORIGINS", "https://a.example, https://b.example:8443"),
        ("TRUSTED_PROXIES", "10.1.2.3/8 ::1"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector.example:4318"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20hidden"),
        ("PATH", "/bin"),
        ("KUBERNETES_PORT", "tcp://10.0.0.1:443"),
        ("JOSOOR_AUTH_PORT", "tcp://10.0.0.2:8000"),
    ]);
    assert!(
        matches!(&config.database.url, Database::Postgres { url, .. } if url.expose() == "postgres://josoor:hidden@db:5432/auth?sslmode=require")
    );
    let redis = config.redis.url.as_ref().unwrap();
    assert_eq!(
        (redis.kind, redis.url.expose()),
        (RedisKind::Single, "rediss://:hidden@cache:6380/2")
    );
    assert_eq!(
        config.keys.master_key.as_ref().unwrap().expose()[..4],
        [0xde, 0xad, 0xbe, 0xef]
    );
    assert_eq!(config.auth.jwt_secret.as_ref().unwrap().expose(), GOOD_SECRET);
    assert_eq!(config.auth.access_lifetime, seconds(900));
    assert_eq!(config.server.bind.to_string(), "0.0.0.0:9000");
    let public_url = &config.server.public_url;
    assert_eq!(public_url.as_str(), "https://example.org/auth");
    assert_eq!(public_url.origin(), "https://example.org");
    assert_eq!(public_url.path(), "/auth");
    assert_eq!(public_url.join("/login"), "https://example.org/auth/login");
    assert_eq!(public_url.join("login"), "https://example.org/auth/login");
    assert!(public_url.is_https() && !public_url.is_loopback());
    assert_eq!(config.auth.issuer, "https://example.org/auth");
    let origins: Vec<String> = config
        .server
        .cors_origins
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(origins, ["https://a.example", "https://b.example:8443"]);
    let proxies: Vec<String> = config
        .server
        .trusted_proxies
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(proxies, ["10.0.0.0/8", "::1/128"]);
    assert_eq!(
        config.mail.from.as_ref().map(ToString::to_string).as_deref(),
        Some("JOSOOR <no-reply@example.org>")
    );
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    let debug = format!("{config:?}");
    let shown: String = config.sources().iter().map(ToString::to_string).collect();
    for text in [&debug, &shown, &config.to_json().to_string()] {
        for secret in ["hidden", GOOD_SECRET, GOOD_KEY] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}

#[test]
fn every_setting_of_the_contract_is_read_by_name() {
    let config = from_env(&[
        ("JOSOOR_AUTH__AUTH__ISSUER", "josoor"),
        ("JOSOOR_AUTH__AUTH__AUDIENCE", "platform"),
        ("JOSOOR_AUTH__AUTH__MISSING_TOKEN_STATUS", "401"),
        ("JOSOOR_AUTH__REGISTRATION__MODE", "closed"),
        ("JOSOOR_AUTH__PASSWORD__SCHEME", "argon2id"),
        ("JOSOOR_AUTH__PASSWORD__BCRYPT_COST", "4"),
        ("JOSOOR_AUTH__PASSWORD__MIN_LENGTH", "12"),
        ("JOSOOR_AUTH__SESSION__IDLE", "2s"),
        ("JOSOOR_AUTH__SESSION__ABSOLUTE", "1w"),
        ("JOSOOR_AUTH__SESSION__REFRESH_GRACE", "0s"),
        ("JOSOOR_AUTH__DATABASE__SCHEMA", "auth_2"),
        ("JOSOOR_AUTH__CACHE__NEAR_TTL", "500ms"),
        ("JOSOOR_AUTH__CACHE__NEAR_BYTES", "2097152"),
        ("JOSOOR_AUTH__LIMITS__ENABLED", "false"),
        ("JOSOOR_AUTH__LIMITS__LOGIN_ADDRESS", "1/1s"),
        ("JOSOOR_AUTH__LIMITS__LOGIN_ACCOUNT", "2/1m"),
        ("JOSOOR_AUTH__LIMITS__LOGIN_DEVICE", "3/1h"),
        ("JOSOOR_AUTH__LIMITS__REGISTER_ADDRESS", "4/1d"),
        ("JOSOOR_AUTH__LIMITS__FORGOT_ADDRESS", "5/1w"),
        ("JOSOOR_AUTH__LIMITS__FORGOT_ACCOUNT", "6/1m"),
        ("JOSOOR_AUTH__LIMITS__VERIFY_ACCOUNT", "7/1m"),
        ("JOSOOR_AUTH__LIMITS__EMAIL_CHANGE_ADDRESS", "11/1m"),
        ("JOSOOR_AUTH__LIMITS__EMAIL_CHANGE_ACCOUNT", "12/1m"),
        ("JOSOOR_AUTH__LIMITS__REFRESH_SESSION", "8/1m"),
        ("JOSOOR_AUTH__LIMITS__MAIL_RECIPIENT", "9/1m"),
        ("JOSOOR_AUTH__LIMITS__MAIL_NETWORK", "13/1m"),
        ("JOSOOR_AUTH__LIMITS__MAIL_TOTAL", "10/1m"),
        ("JOSOOR_AUTH__HASH__THREADS", "3"),
        ("JOSOOR_AUTH__HASH__QUEUE", "4"),
        ("JOSOOR_AUTH__mail__Locale", "ar"),
        ("JOSOOR_AUTH__AUDIT__RETENTION", "30d"),
        ("JOSOOR_AUTH__METRICS__BIND", "[::1]:9100"),
        ("JOSOOR_AUTH__LOG__FORMAT", "json"),
        ("JOSOOR_AUTH__LOG__LEVEL", "warn,josoor_auth=debug"),
        ("JOSOOR_AUTH__REDIS__PREFIX", "josoor:"),
    ]);
    assert_eq!(config.auth.issuer, "josoor");
    assert_eq!(config.auth.audience.as_deref(), Some("platform"));
    assert_eq!(config.auth.missing_token_status.as_u16(), 401);
    assert_eq!(config.registration.mode, RegistrationMode::Closed);
    assert_eq!(config.password.scheme, PasswordScheme::Argon2id);
    assert_eq!(config.password.bcrypt_cost, 4);
    assert_eq!(config.password.min_length, 12);
    assert_eq!(config.session.idle, seconds(2));
    assert_eq!(config.session.absolute, seconds(7 * 86400));
    assert_eq!(config.session.refresh_grace, Duration::ZERO);
    assert_eq!(config.database.schema, "auth_2");
    assert_eq!(config.cache.near_ttl, Duration::from_millis(500));
    assert_eq!(config.cache.near_bytes, 2 << 20);
    let limits = &config.limits;
    assert!(!limits.enabled);
    assert_eq!(limits.quota(Limit::LoginAddress), quota(1, 1));
    assert_eq!(limits.quota(Limit::LoginAccount), quota(2, 60));
    assert_eq!(
        limits.quota(Limit::LoginPair),
        quota(2, 60),
        "as login_account, unless it is set"
    );
    assert_eq!(limits.quota(Limit::LoginDevice), quota(3, 3600));
    assert_eq!(limits.quota(Limit::RegisterAddress), quota(4, 86400));
    assert_eq!(limits.quota(Limit::ForgotAddress), quota(5, 7 * 86400));
    assert_eq!(limits.quota(Limit::ForgotAccount), quota(6, 60));
    assert_eq!(limits.quota(Limit::VerifyAccount), quota(7, 60));
    assert_eq!(limits.quota(Limit::EmailChangeAddress), quota(11, 60));
    assert_eq!(limits.quota(Limit::EmailChangeAccount), quota(12, 60));
    assert_eq!(limits.quota(Limit::RefreshSession), quota(8, 60));
    assert_eq!(limits.quota(Limit::MailRecipient), quota(9, 60));
    assert_eq!(limits.quota(Limit::MailNetwork), quota(13, 60));
    assert_eq!(limits.quota(Limit::MailTotal), quota(10, 60));
    assert_eq!((config.hash.threads, config.hash.queue), (3, 4));
    assert_eq!(config.mail.locale, Locale::Ar);
    assert_eq!(config.audit.retention, seconds(30 * 86400));
    assert_eq!(config.metrics.bind.unwrap().to_string(), "[::1]:9100");
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(config.log.level, "warn,josoor_auth=debug");
    assert_eq!(config.redis.prefix, "josoor:");
}

#[test]
fn later_sources_win_and_are_named() {
    let file =
        "[session]\nidle = \"3d\"\nabsolute = \"4d\"\n[server]\ncors_origins = [\"https://a.example\"]\n";
    let variables = env(&[("JOSOOR_AUTH__SESSION__IDLE", "1d"), ("JWT_ALGORITHM", "")]);
    let config = Config::parse(Some(("josoor.toml", file)), &variables).unwrap();
    assert_eq!(config.session.idle, seconds(86400));
    assert_eq!(config.session.absolute, seconds(4 * 86400));
    let json = config.to_json();
    assert_eq!(
        json["settings"]["session.idle"],
        json!({"value": "1d", "source": "JOSOOR_AUTH__SESSION__IDLE"})
    );
    assert_eq!(
        json["settings"]["session.absolute"],
        json!({"value": "4d", "source": "josoor.toml:3"})
    );
    assert_eq!(
        json["settings"]["server.cors_origins"],
        json!({"value": ["https://a.example"], "source": "josoor.toml:5"})
    );
    assert_eq!(
        json["settings"]["auth.jwt_algorithm"],
        json!({"value": "HS256", "source": "default"})
    );
    assert_eq!(json["settings"]["auth.jwt_secret"]["value"], json!(null));
}

#[test]
fn a_setting_has_one_json_type_wherever_it_comes_from() {
    for entry in from_env(&[]).sources() {
        let text = match &entry.value {
            serde_json::Value::Number(number) => number.to_string(),
            serde_json::Value::Bool(truth) => truth.to_string(),
            _ => continue,
        };
        let config = from_env(&[(&variables::variable_of(&entry.key), &text)]);
        let again = config
            .sources()
            .iter()
            .find(|other| other.key == entry.key)
            .unwrap();
        assert_eq!(again.value, entry.value, "{}", entry.key);
    }
    let config = from_env(&[("CORS_ORIGINS", "https://a.example https://b.example")]);
    assert_eq!(
        config.to_json()["settings"]["server.cors_origins"]["value"],
        json!(["https://a.example", "https://b.example"])
    );
}

#[test]
fn addresses_to_listen_on() {
    let file = "[server]\nbind = \"0.0.0.0:1111\"\nport = 2222\n";
    for (file, pairs, expected) in [
        ("", &[("BIND", "[::1]:9000")][..], "[::1]:9000"),
        ("", &[("BIND", "[::]")], "[::]:8000"),
        ("", &[("BIND", "localhost")], "127.0.0.1:8000"),
        ("", &[("BIND", "localhost:0")], "127.0.0.1:0"),
        ("", &[("PORT", "0")], "127.0.0.1:0"),
        ("", &[("BIND", "10.0.0.1:1"), ("PORT", "2")], "10.0.0.1:2"),
        (file, &[], "0.0.0.0:2222"),
        (file, &[("BIND", "127.0.0.1:3333")], "127.0.0.1:3333"),
        (file, &[("BIND", "127.0.0.1")], "127.0.0.1:2222"),
        (file, &[("PORT", "4444")], "0.0.0.0:4444"),
    ] {
        let config = Config::parse(Some(("josoor.toml", file)), &env(pairs)).unwrap();
        assert_eq!(config.server.bind.to_string(), expected, "{file} {pairs:?}");
    }
}

#[test]
fn databases() {
    for (url, expected) in [
        ("sqlite://data/auth.db", "data/auth.db"),
        ("sqlite:///var/lib/auth.db", "/var/lib/auth.db"),
        ("sqlite:auth.db", "auth.db"),
        ("sqlite://my%20data/auth.db", "my data/auth.db"),
    ] {
        let config = from_env(&[("DATABASE_URL", url)]);
        assert!(
            matches!(&config.database.url, Database::Sqlite { path } if path.to_str() == Some(expected)),
            "{url}"
        );
    }
    let error = error_of(
        None,
        &[(
            "DATABASE_URL",
            "postgresql+asyncpg://josoor:hidden@db:5432/auth?ssl=1",
        )],
    )
    .to_string();
    assert!(error.contains("write postgresql://…@db:5432/auth"), "{error}");
    let error = error_of(None, &[("DATABASE_URL", "sqlite+aiosqlite:////var/auth.db")]).to_string();
    assert!(error.contains("write sqlite:///var/auth.db"), "{error}");
}

#[test]
fn redis_urls() {
    for (url, kind) in [
        ("redis://localhost", RedisKind::Single),
        ("redis://[::1]:6379/3", RedisKind::Single),
        ("redis+cluster://:p%40ss@a:1,b:2,c", RedisKind::Cluster),
        ("rediss+cluster://a:7000", RedisKind::Cluster),
        (
            "redis+sentinel://u:p@a:26379,b:26379/mymaster/0",
            RedisKind::Sentinel,
        ),
        ("redis+sentinel://a/mymaster", RedisKind::Sentinel),
        ("rediss+sentinel://a/mymaster", RedisKind::Sentinel),
        ("redis+sentinel://a:26379/1?service=mymaster", RedisKind::Sentinel),
    ] {
        let config = from_env(&[("REDIS_URL", url)]);
        let target = config.redis.url.unwrap();
        assert_eq!((target.url.expose(), target.kind), (url, kind));
    }
    // What the program could not use is refused here, and not when it starts.
    let error = error_of(None, &[("REDIS_URL", "redis://a?protocol=resp3")]).to_string();
    assert!(
        error.contains("REDIS_URL") && error.contains("behind `?`"),
        "{error}"
    );
}

#[test]
fn urls_are_shown_without_what_may_be_a_password() {
    for (url, expected) in [
        (
            "postgres://u:pw@db:5432/auth?sslmode=require",
            "postgres://…@db:5432/auth",
        ),
        ("postgres://db/auth", "postgres://db/auth"),
        ("postgres://u:p@w@db/auth", "postgres://…"),
        ("postgres://u:12/pw@db/auth", "postgres://…"),
        ("postgres://u:12?pw@db/auth", "postgres://…"),
        ("postgres://u:12#pw@db/auth", "postgres://…"),
        (
            "redis+sentinel://:pw@a:1,b:2/main/0",
            "redis+sentinel://…@a:1,b:2/main/0",
        ),
        ("sqlite:x.db", "sqlite:x.db"),
        ("pw", "(set)"),
    ] {
        assert_eq!(urls::without_userinfo(url), expected);
    }
}

#[test]
fn secrets_come_from_files() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("jwt");
    let name = path.to_str().unwrap();
    for (content, expected) in [
        (format!("{GOOD_SECRET}\n"), GOOD_SECRET.to_owned()),
        (format!("{GOOD_SECRET}\r\n"), GOOD_SECRET.to_owned()),
        (GOOD_SECRET.to_owned(), GOOD_SECRET.to_owned()),
    ] {
        std::fs::write(&path, content).unwrap();
        for variable in ["JWT_SECRET_FILE", "JOSOOR_AUTH__AUTH__JWT_SECRET_FILE"] {
            let config = from_env(&[(variable, name)]);
            assert_eq!(config.auth.jwt_secret.as_ref().unwrap().expose(), expected);
            let source = &config.to_json()["settings"]["auth.jwt_secret"]["source"];
            assert_eq!(source, &json!(format!("{variable}={name}")));
        }
    }
    let error = error_of(None, &[("JWT_SECRET_FILE", name), ("JWT_SECRET", GOOD_SECRET)]).to_string();
    assert!(error.contains("both JWT_SECRET and JWT_SECRET_FILE"), "{error}");
    std::fs::write(&path, "\n").unwrap();
    let error = error_of(None, &[("JWT_SECRET_FILE", name)]).to_string();
    assert!(
        error.contains("JWT_SECRET_FILE=") && error.contains(name) && error.contains("it is empty"),
        "{error}"
    );
    // One problem, not a second one that says the key is missing.
    let missing = directory.path().join("missing");
    let error = error_of(
        None,
        &[
            ("DATABASE_URL", "postgres://db/auth"),
            ("MASTER_KEY_FILE", missing.to_str().unwrap()),
        ],
    );
    assert_eq!(error.problems.len(), 1, "{error}");
    assert!(error.to_string().contains(missing.to_str().unwrap()), "{error}");
}

#[test]
fn a_long_and_a_short_variable_must_agree() {
    let (short, long) = ("PUBLIC_URL", "JOSOOR_AUTH__SERVER__PUBLIC_URL");
    from_env(&[(short, "https://a.example"), (long, "https://a.example")]);
    let error = error_of(None, &[(short, "https://a.example"), (long, "https://b.example")]).to_string();
    assert!(
        error.contains(&format!("{long} and {short} are both given and differ")),
        "{error}"
    );
}

#[test]
fn postgresql_needs_a_master_key() {
    let postgres = ("DATABASE_URL", "postgres://josoor:hidden@127.0.0.1/auth");
    let error = error_of(None, &[postgres]);
    assert_eq!(error.problems.len(), 1);
    assert_eq!(error.problems[0].key, "keys.master_key");
    let text = error.to_string();
    assert!(
        text.contains("MASTER_KEY") && text.contains("`josoor-auth key generate`"),
        "{text}"
    );
    let config = from_env(&[postgres, ("JWT_SECRET", GOOD_SECRET)]);
    assert_eq!(config.warnings.len(), 1);
    assert!(
        config.warnings[0].contains("MASTER_KEY") && config.warnings[0].contains("derived from JWT_SECRET")
    );
    assert!(
        from_env(&[postgres, ("MASTER_KEY", GOOD_KEY)])
            .warnings
            .is_empty()
    );
    // A bad secret is one problem; it was given, so nothing is missing.
    assert_eq!(
        error_of(None, &[postgres, ("JWT_SECRET", "short")])
            .problems
            .len(),
        1
    );
}

#[test]
fn master_keys_are_any_base64_of_32_bytes() {
    for key in [
        GOOD_KEY.to_owned(),
        GOOD_KEY.trim_end_matches('=').to_owned(),
        GOOD_KEY.replace('+', "-").replace('/', "_"),
    ] {
        let config = from_env(&[("MASTER_KEY", &key)]);
        let key = config.keys.master_key.unwrap();
        assert_eq!(key.expose()[28..], [0xde, 0xad, 0xbe, 0xef]);
        assert_eq!(format!("{key:?}"), "MasterKey(…)");
    }
}

#[test]
fn warnings_name_the_setting() {
    for (pairs, expected) in [
        (
            &[("JOSOOR_AUTH__PASSWORD__BCRYPT_COST", "9")][..],
            "password.bcrypt_cost",
        ),
        (
            &[("JOSOOR_AUTH__PASSWORD__MIN_LENGTH", "7")],
            "password.min_length",
        ),
        (
            &[
                ("JOSOOR_AUTH__PASSWORD__SCHEME", "argon2id"),
                ("JOSOOR_AUTH__PASSWORD__ARGON2_MEMORY_KIB", "1024"),
            ],
            "password.argon2_memory_kib",
        ),
        (
            &[("JWT_SECRET", GOOD_SECRET), ("JWT_ALGORITHM", "EdDSA")],
            "JWT_SECRET",
        ),
        (
            &[("JWT_SECRET", GOOD_SECRET), ("JWT_ALGORITHM", "HS512")],
            "64 bytes",
        ),
        (&[("SMTP_URL", "smtp://mail")], "MAIL_FROM"),
        (&[("PUBLIC_URL", "http://auth.example")], "PUBLIC_URL"),
        (
            &[
                ("DATABASE_URL", "postgres://josoor@db.example/josoor"),
                ("MASTER_KEY", "Zr1wJ5mVt9xYc3Qh7Ls0Nd8Fk2Bg6Pa4Ue1Xi5To9Rw="),
            ],
            "sslmode",
        ),
        (
            &[
                (
                    "DATABASE_URL",
                    "postgres://josoor@127.0.0.1/josoor?host=10.0.0.1&sslmode=prefer",
                ),
                ("MASTER_KEY", "Zr1wJ5mVt9xYc3Qh7Ls0Nd8Fk2Bg6Pa4Ue1Xi5To9Rw="),
            ],
            "sslmode",
        ),
        (&[("REDIS_URL", "redis://cache.example")], "rediss://"),
        (
            &[("REDIS_URL", "redis+cluster://127.0.0.1:1,10.0.0.2:1")],
            "rediss://",
        ),
        (&[("JOSOOR_AUTH__LIMITS__ENABLED", "false")], "limits.enabled"),
    ] {
        let warnings = from_env(pairs).warnings;
        assert_eq!(warnings.len(), 1, "{pairs:?}: {warnings:?}");
        assert!(warnings[0].contains(expected), "{warnings:?}");
    }
}

#[test]
fn unknown_names_are_refused_with_the_nearest_known_one() {
    for (file, expected) in [
        (
            "\n[session]\nidel = \"1d\"",
            "session.idel (josoor.toml:3): there is no such key; did you mean session.idle?",
        ),
        (
            "[sesion]\nidle = \"1d\"",
            "sesion.idle (josoor.toml:2): there is no such key; did you mean session.idle?",
        ),
        ("[auth]\nmaster_key = \"x\"", "did you mean keys.master_key?"),
        (
            "[server]\nlog.level = \"x\"",
            "server.log (josoor.toml:2): there is no such key",
        ),
        (
            "\"server.bind\" = \"x\"",
            "server.bind (josoor.toml:1): there is no such key",
        ),
        (
            "[zebra]",
            "zebra (josoor.toml:1): there is no such key; see config.default.toml",
        ),
        (
            "server = 5",
            "server (josoor.toml:1): this is a section, not a value; write [server]",
        ),
        ("[[server]]\nbind = 1", "this is a section"),
        ("\"a\\nb\" = 1", "a\\u{a}b (josoor.toml:1)"),
    ] {
        let error = error_of(Some(file), &[]);
        assert_eq!(error.problems.len(), 1, "{error}");
        assert!(error.to_string().contains(expected), "{file}: {error}");
        assert_eq!(error.to_string().lines().count(), 1);
    }
    for (variable, expected) in [
        (
            "JOSOOR_AUTH__SESSION__IDEL",
            "did you mean JOSOOR_AUTH__SESSION__IDLE?",
        ),
        (
            "JOSOOR_AUTH__SESSIONS__IDLE",
            "did you mean JOSOOR_AUTH__SESSION__IDLE?",
        ),
        (
            "JOSOOR_AUTH__NONSENSE",
            "JOSOOR_AUTH__NONSENSE: there is no such setting",
        ),
        ("JOSOOR_AUTH__", "there is no such setting"),
        (
            "JOSOOR_AUTH__AUTH__ISSUER_FILE",
            "only secrets can come from a file",
        ),
    ] {
        let error = error_of(None, &[(variable, "hidden")]).to_string();
        assert!(error.contains(variable) && error.contains(expected), "{error}");
        assert!(!error.contains("hidden"));
    }
}

#[test]
fn a_file_that_is_no_toml_is_one_problem_with_its_line_and_without_its_text() {
    for text in [
        "[auth]\njwt_secret = hidden",
        "[auth]\njwt_secret = \"hidden",
        "[auth]\njwt_secret = \"a\"\njwt_secret = \"hidden\"",
        "[auth]\njwt_secret = 1979-05-27T07:32:00hidden",
    ] {
        let error = error_of(Some(text), &[]);
        assert_eq!(error.problems.len(), 1, "{error}");
        let error = error.to_string();
        assert!(
            error.contains("josoor.toml:") && !error.contains("hidden"),
            "{error}"
        );
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn files_are_loaded() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("josoor.toml");
    let none = BTreeMap::new();
    std::fs::write(&path, "[hash]\nqueue = 0x20\n").unwrap();
    assert_eq!(Config::load(Some(&path), None, &none).unwrap().hash.queue, 32);
    std::fs::write(&path, [0xff, 0xfe]).unwrap();
    Config::load(Some(&path), None, &none).unwrap_err();
    std::fs::write(&path, "#".repeat(1024 * 1024 + 1)).unwrap();
    let error = Config::load(Some(&path), None, &none).unwrap_err().to_string();
    assert!(error.contains("larger than 1 MiB"), "{error}");
    let missing = directory.path().join("missing.toml");
    let error = Config::load(Some(&missing), None, &none).unwrap_err().to_string();
    assert!(error.contains("missing.toml"), "{error}");
    Config::load(None, None, &none).unwrap();
}

/// `(variable, value)`, each to be refused with the variable's name and its key, without the text `hidden`.
const BROKEN: &[(&str, &str)] = &[
    ("DATABASE_URL", "hidden"),
    ("DATABASE_URL", "mysql://u:hidden@db/auth"),
    ("DATABASE_URL", "sqlite::memory:"),
    ("DATABASE_URL", "sqlite://x.db?mode=memory"),
    ("DATABASE_URL", "sqlite://x.db?mode=rwc"),
    ("DATABASE_URL", "sqlite:"),
    ("DATABASE_URL", "sqlite:///data/"),
    ("DATABASE_URL", "sqlite://%00"),
    ("DATABASE_URL", "postgresql+asyncpg://u:hidden@db/auth"),
    ("DATABASE_URL", "postgresql+psycopg2://u:hidden@w@db/auth"),
    ("DATABASE_URL", "postgresql+asyncpg:hidden"),
    ("DATABASE_URL", "postgres://"),
    ("DATABASE_URL", "postgres://u:12/hidden@db/auth"),
    ("DATABASE_URL", "postgres://u:hidden#x@db/auth"),
    ("DATABASE_URL", "postgres://u:hidden@db:port/auth"),
    ("REDIS_URL", "hidden"),
    ("REDIS_URL", "http://:hidden@redis"),
    ("REDIS_URL", "redis://:hidden@"),
    ("REDIS_URL", "redis://:hidden@a,b"),
    ("REDIS_URL", "redis://:hidden@a/one"),
    ("REDIS_URL", "redis://:hid@hidden@a"),
    ("REDIS_URL", "rediss://:hidden@a/#insecure"),
    ("REDIS_URL", "redis+cluster://:hidden@a/3"),
    ("REDIS_URL", "redis+cluster://:hidden@a:99999"),
    ("REDIS_URL", "redis+sentinel://:hidden@a"),
    ("REDIS_URL", "redis+sentinel://:hidden@a/main/x"),
    ("MASTER_KEY", "hidden"),
    ("MASTER_KEY", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
    ("MASTER_KEY", "aGlkZGVuaGlkZGVu"),
    ("JWT_SECRET", "hidden"),
    ("JWT_SECRET", "your-secret-key-change-this-in-production"),
    ("JWT_SECRET", "hidden-CHANGEME-hidden-hidden-hidden-hidden"),
    ("JWT_SECRET", "hidden/please/change_me/hidden/before/production"),
    ("JWT_SECRET", "my-example-secret-that-is-hidden-and-long-enough"),
    ("JWT_SECRET", "replace-me-replace-me-with-something-hidden"),
    ("JWT_SECRET", "hiddenhiddenhiddenhiddenhiddenhiddenhidden"),
    ("JWT_SECRET", "secretsecretsecretsecretsecretsecretse"),
    ("JWT_SECRET", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
    ("JWT_SECRET", "12345678901234567890123456789012"),
    ("JWT_ALGORITHM", "none"),
    ("JWT_ALGORITHM", "hs256"),
    ("JWT_ALGORITHM", "PS256"),
    ("JWT_EXPIRATION_MINUTES", "0"),
    ("JWT_EXPIRATION_MINUTES", "525601"),
    ("JWT_EXPIRATION_MINUTES", "99999999999999999999999"),
    ("JWT_EXPIRATION_MINUTES", "60m"),
    ("JWT_EXPIRATION_MINUTES", "-5"),
    ("BIND", "auth.example.org"),
    ("BIND", "::1"),
    ("BIND", ":8000"),
    ("BIND", "127.0.0.1:65536"),
    ("BIND", "256.0.0.1"),
    ("PORT", "65536"),
    ("PORT", "http"),
    ("PUBLIC_URL", "auth.example.org"),
    ("PUBLIC_URL", "ftp://auth.example.org"),
    ("PUBLIC_URL", "https://u:hidden@auth.example.org"),
    ("PUBLIC_URL", "https://auth.example.org/?hidden"),
    ("PUBLIC_URL", "https://auth.example.org/#hidden"),
    ("PUBLIC_URL", "https://"),
    ("SMTP_URL", "http://u:hidden@mail"),
    ("SMTP_URL", "smtp://"),
    ("SMTP_URL", "smtp://u:12/hidden@mail"),
    ("SMTP_URL", "smtp://u:hidden@mail.example.org:465"),
    ("SMTP_URL", "smtp://mail.example.org:465?tls=none"),
    ("SMTP_URL", "smtp://mail?tls=maybe"),
    ("SMTP_URL", "smtp://mail?starttls=none"),
    ("SMTP_URL", "smtp://u:hidden@mail.example.org?tls=none"),
    ("MAIL_FROM", "no-address"),
    ("MAIL_FROM", "Name <a@b"),
    ("MAIL_FROM", "\"Name <a@b.example>\""),
    ("MAIL_FROM", "Name <a b@example.org>"),
    ("MAIL_FROM", "a@b.example, c@d.example"),
    ("MAIL_FROM", "سارة@example.org"),
    ("MAIL_FROM", "a@-b.example"),
    ("MAIL_FROM", "a@[192.0.2.7]"),
    ("JOSOOR_AUTH__MAIL__HELO", "vm"),
    ("JOSOOR_AUTH__MAIL__HELO", "192.0.2.7"),
    ("JOSOOR_AUTH__MAIL__HELO", "[vm]"),
    ("JOSOOR_AUTH__MAIL__HELO", "a b.example"),
    ("MAIL_FROM", "a@b\r\nBcc: x@y"),
    ("CORS_ORIGINS", "*"),
    ("CORS_ORIGINS", "https://*.example.org"),
    ("CORS_ORIGINS", "null"),
    ("CORS_ORIGINS", "https://a.example/"),
    ("CORS_ORIGINS", "https://a.example,https://b.example/path"),
    ("CORS_ORIGINS", "https://u:hidden@a.example"),
    ("TRUSTED_PROXIES", "proxy.example"),
    ("TRUSTED_PROXIES", "10.0.0.0/33"),
    ("TRUSTED_PROXIES", "0.0.0.0/0"),
    ("TRUSTED_PROXIES", "::/0"),
    ("TRUSTED_PROXIES", "10.0.0.1,0.0.0.0/1,128.0.0.0/1"),
    ("TRUSTED_PROXIES", "0.0.0.0/2 64.0.0.0/2 192.0.0.0/3"),
    ("TRUSTED_PROXIES", "2000::/3"),
    ("TRUSTED_PROXIES", "2000::/4 3000::/4"),
    ("JOSOOR_AUTH__SERVER__FORWARDED_HEADER", "x-forwarded"),
    ("JOSOOR_AUTH__SERVER__CONNECTION_EXEMPT", "everybody"),
    ("JOSOOR_AUTH__SERVER__MAX_CONNECTIONS", "0"),
    ("JOSOOR_AUTH__SERVER__HEADER_TIMEOUT", "0s"),
    ("JOSOOR_AUTH__SERVER__BODY_TIMEOUT", "15"),
    ("JOSOOR_AUTH__SERVER__REQUEST_TIMEOUT", "1h"),
    ("JOSOOR_AUTH__SERVER__DRAIN_TIMEOUT", "s"),
    ("JOSOOR_AUTH__AUTH__MISSING_TOKEN_STATUS", "200"),
    ("JOSOOR_AUTH__AUTH__ISSUER", "a\nb"),
    ("JOSOOR_AUTH__AUTH__AUDIENCE", "   "),
    ("JOSOOR_AUTH__REGISTRATION__MODE", "verify-first"),
    ("JOSOOR_AUTH__REGISTRATION__MODE", "Open"),
    ("JOSOOR_AUTH__PASSWORD__SCHEME", "md5"),
    ("JOSOOR_AUTH__PASSWORD__BCRYPT_COST", "3"),
    ("JOSOOR_AUTH__PASSWORD__BCRYPT_COST", "17"),
    ("JOSOOR_AUTH__PASSWORD__MIN_LENGTH", "0"),
    ("JOSOOR_AUTH__PASSWORD__MIN_LENGTH", "129"),
    ("JOSOOR_AUTH__PASSWORD__ARGON2_MEMORY_KIB", "8"),
    ("JOSOOR_AUTH__PASSWORD__ARGON2_ITERATIONS", "0"),
    ("JOSOOR_AUTH__PASSWORD__ARGON2_PARALLELISM", "17"),
    ("JOSOOR_AUTH__SESSION__IDLE", "30"),
    ("JOSOOR_AUTH__SESSION__IDLE", "31d"),
    ("JOSOOR_AUTH__SESSION__IDLE", "1.5h"),
    ("JOSOOR_AUTH__SESSION__IDLE", "18446744073709551615w"),
    ("JOSOOR_AUTH__SESSION__ABSOLUTE", "99999999999999999999s"),
    ("JOSOOR_AUTH__SESSION__REFRESH_GRACE", "-1s"),
    ("JOSOOR_AUTH__DATABASE__SCHEMA", "Public"),
    ("JOSOOR_AUTH__DATABASE__SCHEMA", "a; drop table users"),
    ("JOSOOR_AUTH__DATABASE__SCHEMA", "pg_auth"),
    ("JOSOOR_AUTH__DATABASE__MAX_CONNECTIONS", "0"),
    ("JOSOOR_AUTH__DATABASE__ACQUIRE_TIMEOUT", "0s"),
    ("JOSOOR_AUTH__REDIS__PREFIX", "a b"),
    ("JOSOOR_AUTH__REDIS__PREFIX", "{slot}"),
    ("JOSOOR_AUTH__REDIS__TIMEOUT", "200"),
    ("JOSOOR_AUTH__CACHE__NEAR_TTL", "6s"),
    ("JOSOOR_AUTH__CACHE__NEAR_BYTES", "64MB"),
    ("JOSOOR_AUTH__CACHE__NEAR_BYTES", "1"),
    ("JOSOOR_AUTH__CACHE__NEAR_BYTES", "99999999999999999999GiB"),
    ("JOSOOR_AUTH__LIMITS__ENABLED", "yes"),
    ("JOSOOR_AUTH__LIMITS__LOGIN_ADDRESS", "10"),
    ("JOSOOR_AUTH__LIMITS__LOGIN_ACCOUNT", "0/1m"),
    ("JOSOOR_AUTH__LIMITS__LOGIN_DEVICE", "10/60"),
    ("JOSOOR_AUTH__LIMITS__MAIL_TOTAL", "10/500ms"),
    ("JOSOOR_AUTH__HASH__THREADS", "1025"),
    ("JOSOOR_AUTH__HASH__QUEUE", "0"),
    ("JOSOOR_AUTH__MAIL__LOCALE", "fr"),
    ("JOSOOR_AUTH__AUDIT__RETENTION", "1h"),
    ("JOSOOR_AUTH__METRICS__BIND", "127.0.0.1"),
    ("JOSOOR_AUTH__METRICS__BIND", "localhost:metrics"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "grpc://collector:4317"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://u:hidden@collector:4318"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector:4318/?hidden"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector:4318/v1/traces"),
    ("OTEL_EXPORTER_OTLP_HEADERS", "hidden"),
    ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=hidden%0d%0ax"),
    ("OTEL_EXPORTER_OTLP_HEADERS", "x-key="),
    ("OTEL_EXPORTER_OTLP_HEADERS", "content-type=hidden"),
    ("OTEL_EXPORTER_OTLP_HEADERS", "a b=hidden"),
    ("OTEL_TRACES_SAMPLER_ARG", "1.1"),
    ("OTEL_TRACES_SAMPLER_ARG", "-0.1"),
    ("OTEL_TRACES_SAMPLER_ARG", "nan"),
    ("OTEL_TRACES_SAMPLER_ARG", "10%"),
    ("JOSOOR_AUTH__TRACING__SAMPLE_CHECKS", "true"),
    ("OTEL_SERVICE_NAME", "a\nb"),
    ("OTEL_RESOURCE_ATTRIBUTES", "production"),
    ("OTEL_RESOURCE_ATTRIBUTES", "=production"),
    ("JOSOOR_AUTH__LOG__FORMAT", "xml"),
    ("JOSOOR_AUTH__LOG__LEVEL", "verbose"),
    ("JOSOOR_AUTH__LOG__LEVEL", "josoor_auth=loud"),
];

#[test]
fn every_broken_setting_is_refused_by_name() {
    for (variable, value) in BROKEN {
        let error = error_of(None, &[(variable, value)]);
        assert_eq!(error.problems.len(), 1, "{variable}={value}: {error}");
        let problem = &error.problems[0];
        let text = error.to_string();
        assert!(
            text.starts_with(&format!("{} ({variable}): ", problem.key)),
            "{text}"
        );
        assert_eq!(problem.variable.as_deref(), Some(*variable), "{text}");
        assert!(!problem.message.is_empty() && !problem.remedy.is_empty());
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(!text.contains("hidden"), "{variable}={value}: {text}");
        if variables::is_secret(&problem.key) && !value.contains(':') {
            assert!(!text.contains(value), "{text}");
        }
    }
}

#[test]
fn values_of_the_wrong_type_are_refused_with_their_line() {
    for (line, key) in [
        ("[auth]\naudience = 5", "auth.audience"),
        (
            "[auth]\njwt_secret = 12345678901234567890123456789012",
            "auth.jwt_secret",
        ),
        ("[auth]\njwt_secret = [\"a\"]", "auth.jwt_secret"),
        ("[session]\nidle = 30", "session.idle"),
        ("[session]\nidle = \"\"", "session.idle"),
        ("[session]\nidle = {}", "session.idle"),
        ("[session]\nidle = 07:32:00", "session.idle"),
        ("[hash]\nqueue = 1.5", "hash.queue"),
        ("[hash]\nqueue = true", "hash.queue"),
        ("[hash]\nqueue = 99999999999999999999999999", "hash.queue"),
        ("[limits]\nenabled = 1", "limits.enabled"),
        ("[server]\ncors_origins = [1]", "server.cors_origins"),
        ("[server]\ncors_origins = 1", "server.cors_origins"),
        ("[server]\nbind = false", "server.bind"),
        ("[server]\nbind = 1.5", "server.bind"),
        ("[tracing]\nsample = true", "tracing.sample"),
        ("[tracing]\nsample = 2", "tracing.sample"),
        ("[tracing]\nsample = nan", "tracing.sample"),
    ] {
        let error = error_of(Some(line), &[]);
        assert_eq!(error.problems.len(), 1, "{line}: {error}");
        let text = error.to_string();
        let start = format!("{key} ({}, josoor.toml:2): ", variables::variable_of(key));
        assert!(text.starts_with(&start), "{line}: {text}");
    }
}

#[test]
fn all_problems_are_reported_at_once() {
    let error = error_of(
        Some("[session]\nidle = 5\nabsolute = \"x\"\nnope = 1\n[server]\nport = 70000\n"),
        &[("JWT_SECRET", "short"), ("JOSOOR_AUTH__LOG__LEVL", "info")],
    );
    let keys: BTreeSet<&str> = error
        .problems
        .iter()
        .map(|problem| problem.key.as_str())
        .collect();
    assert_eq!(
        keys,
        BTreeSet::from([
            "JOSOOR_AUTH__LOG__LEVL",
            "auth.jwt_secret",
            "server.port",
            "session.absolute",
            "session.idle",
            "session.nope",
        ])
    );
    let error = error_of(
        None,
        &[
            ("JOSOOR_AUTH__SESSION__IDLE", "2d"),
            ("JOSOOR_AUTH__SESSION__ABSOLUTE", "1d"),
        ],
    );
    let text = error.to_string();
    assert!(
        text.contains("session.idle") && text.contains("session.absolute"),
        "{text}"
    );
}

/// Values that are near to meaning something.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        ".{0,40}",
        "[0-9]{0,25}(ms|s|m|h|d|w|KiB|MiB|/1m)?",
        "(sqlite|postgres|redis|redis\\+sentinel|smtp|https)(:|://)[a-z0-9:@/?#%,\\[\\]. ]{0,30}",
        "[a-z0-9:\\[\\].,=*@<>-]{0,30}",
        prop::sample::select(
            BROKEN
                .iter()
                .map(|(_, value)| (*value).to_owned())
                .collect::<Vec<_>>()
        ),
    ]
}

fn variable() -> impl Strategy<Value = String> {
    let known: Vec<String> = from_env(&[])
        .sources()
        .iter()
        .flat_map(|entry| {
            [
                variables::variable_of(&entry.key),
                variables::long_variable_of(&entry.key),
            ]
        })
        .collect();
    prop_oneof![
        4 => prop::sample::select(known),
        1 => "JOSOOR_AUTH__[A-Za-z_.é]{0,20}",
        1 => ".{0,10}",
    ]
    // A random text as a path could name a real file; those are tested by hand.
    .prop_filter("no files", |name| !name.to_ascii_uppercase().ends_with("_FILE"))
}

fn toml_text() -> impl Strategy<Value = String> {
    let known: Vec<String> = from_env(&[])
        .sources()
        .iter()
        .map(|entry| entry.key.clone())
        .collect();
    let line = (prop::sample::select(known), value(), 0..4).prop_map(|(key, value, kind)| match kind {
        0 => format!("{key} = {value:?}"),
        1 => format!("{key} = [{value:?}]"),
        2 => format!("{key} = {value}"),
        _ => format!("{key}.x = {value:?}"),
    });
    prop_oneof![
        "\\PC{0,80}",
        "[\\[\\]a-z.=\"' \n{}0-9#-]{0,80}",
        prop::collection::vec(line, 0..4).prop_map(|lines| lines.join("\n")),
    ]
}

proptest! {
    #[test]
    fn nothing_panics_and_every_refusal_says_something(
        file in proptest::option::of(toml_text()),
        env in prop::collection::btree_map(variable(), value(), 0..5),
    ) {
        match Config::parse(file.as_deref().map(|text| ("josoor.toml", text)), &env) {
            Ok(config) => {
                prop_assert!(config.session.idle <= config.session.absolute);
                let shown = format!("{config:?}{}", config.to_json());
                prop_assert!(!shown.is_empty());
            }
            Err(error) => {
                prop_assert!(!error.problems.is_empty());
                prop_assert_eq!(error.to_string().lines().count(), error.problems.len());
            }
        }
    }
}

#[test]
fn what_stays_on_this_machine_or_is_encrypted_earns_no_warning() {
    const KEY: (&str, &str) = ("MASTER_KEY", "Zr1wJ5mVt9xYc3Qh7Ls0Nd8Fk2Bg6Pa4Ue1Xi5To9Rw=");
    for url in [
        "postgres://josoor@127.0.0.1/josoor",
        "postgres://josoor@[::1]/josoor",
        "postgres://josoor@localhost:5433/josoor",
        "postgres://josoor@localhost/josoor?host=/run/postgresql",
        "postgres://josoor@db.example/josoor?sslmode=require",
        "postgres://josoor@db.example/josoor?sslmode=verify-full",
    ] {
        let warnings = from_env(&[("DATABASE_URL", url), KEY]).warnings;
        assert!(warnings.is_empty(), "{url}: {warnings:?}");
    }
    for url in [
        "redis://127.0.0.1",
        "redis://[::1]:6380",
        "rediss://cache.example",
        "rediss+cluster://10.0.0.2:1",
    ] {
        let warnings = from_env(&[("REDIS_URL", url)]).warnings;
        assert!(warnings.is_empty(), "{url}: {warnings:?}");
    }
}

#[test]
fn c10_private_networks_and_single_addresses_may_be_trusted() {
    for networks in [
        "10.0.0.0/8",
        "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 fd00::/8",
        "127.0.0.1",
        "2001:db8::/32",
    ] {
        assert!(
            from_env(&[("TRUSTED_PROXIES", networks)]).warnings.is_empty(),
            "{networks}"
        );
    }
}

#[test]
fn b11_dev_is_for_this_machine_alone() {
    for (pairs, expected) in [
        (&[("BIND", "0.0.0.0")][..], "server.bind"),
        (&[("BIND", "192.0.2.1:8000")], "server.bind"),
        (&[("PUBLIC_URL", "https://auth.example.org")], "server.public_url"),
        (&[("PUBLIC_URL", "http://192.0.2.1:8000")], "server.public_url"),
    ] {
        let mut config = from_env(pairs);
        let error = config.enable_dev().expect_err("refused");
        assert!(!config.dev);
        assert!(
            error.problems.iter().any(|problem| problem.key == expected),
            "{error}"
        );
    }
    for pairs in [
        &[][..],
        &[("BIND", "[::1]:8000")],
        &[("BIND", "127.0.0.2"), ("PUBLIC_URL", "http://127.0.0.2:8000")],
    ] {
        let mut config = from_env(pairs);
        config.enable_dev().expect("this machine");
        assert!(config.dev);
    }
}

#[test]
fn only_the_whole_loopback_host_is_alike() {
    assert_eq!(
        super::loopback_alike("http://127.0.0.1:8000"),
        "http://localhost:8000"
    );
    assert_eq!(
        super::loopback_alike("http://127.0.0.1.evil.com"),
        "http://127.0.0.1.evil.com"
    );
}
