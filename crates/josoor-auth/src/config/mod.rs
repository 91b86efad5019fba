//! The settings: three sources laid over each other, every value parsed once into its type, and every problem told at
//! once. `config.default.toml` is the list of the keys, their defaults and their documentation.

mod source;
mod values;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;

pub use self::source::{ConfigError, ConfigProblem, Source};
use self::source::{Layers, Raw};
pub use self::values::{Database, MasterKey, Origin, PublicUrl, Quota, RedisKind, RedisTarget};
use self::values::{Parsed, optional};
use crate::domain::{Email, Locale, Secret};

pub use josoor_auth_verify::Algorithm;

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_hours(24);
const TEN_MINUTES: Duration = Duration::from_mins(10);
const DELETION_GRACE_AT_MOST: Duration = Duration::from_hours(90 * 24);
/// Ten years: beyond this a duration is a typing error.
const TEN_YEARS: Duration = Duration::from_hours(3650 * 24);

/// The port when neither `server.bind` nor `server.port` names one.
const DEFAULT_PORT: u16 = 8000;

/// All settings, checked. Documented, with units and variables, in `config.default.toml`.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[server]`
    pub server: ServerConfig,
    /// `[auth]`
    pub auth: AuthConfig,
    /// `[keys]`
    pub keys: KeysConfig,
    /// `[registration]`
    pub registration: RegistrationConfig,
    /// `[password]`
    pub password: PasswordConfig,
    /// `[session]`
    pub session: SessionConfig,
    /// `[account]`
    pub account: AccountConfig,
    /// `[database]`
    pub database: DatabaseConfig,
    /// `[redis]`
    pub redis: RedisConfig,
    /// `[cache]`
    pub cache: CacheConfig,
    /// `[limits]`
    pub limits: LimitsConfig,
    /// `[hash]`
    pub hash: HashConfig,
    /// `[mail]`
    pub mail: MailConfig,
    /// `[audit]`
    pub audit: AuditConfig,
    /// `[metrics]`
    pub metrics: MetricsConfig,
    /// `[log]`
    pub log: LogConfig,
    /// What works but should not stay so, one sentence each, with the setting's name.
    pub warnings: Vec<String>,
    /// Whether this is `serve --dev`: a developer's own machine, with a mailbox and figures on the main listener.
    pub dev: bool,
    entries: Vec<Entry>,
}

/// `[server]`: the listener and what is in front of it.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// The address to listen on; port 0 takes a free one.
    pub bind: SocketAddr,
    /// Where users reach the service.
    pub public_url: PublicUrl,
    /// Web origins besides that of `public_url` whose pages may call.
    pub cors_origins: Vec<Origin>,
    /// Whose word about the client's address counts.
    pub trusted_proxies: Vec<IpNet>,
    /// The header in which they name it.
    pub forwarded_header: ForwardedHeader,
    /// Peers whose idle connections are never closed for others, besides the trusted proxies.
    pub connection_exempt: Vec<IpNet>,
    /// Open connections at once.
    pub max_connections: usize,
    /// For a request's head.
    pub header_timeout: Duration,
    /// For a request's body.
    pub body_timeout: Duration,
    /// For one request in all.
    pub request_timeout: Duration,
    /// Between "not ready" and the end of accepting; may be zero.
    pub drain_delay: Duration,
    /// For the requests that are under way when the service is told to stop; may be zero.
    pub drain_timeout: Duration,
}

impl ServerConfig {
    /// The largest request body in bytes. Part of the API, therefore no setting.
    pub const BODY_LIMIT: usize = 64 * 1024;
}

/// The header in which the proxies in front name the client's address. The others are what a client sent, and are ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`: a list of addresses.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
    /// `X-Real-IP`: one address.
    XRealIp,
}

/// The least length in bytes of the secret that RFC 7518, 3.2, asks for; 0 for key pairs.
const fn secret_bytes(algorithm: Algorithm) -> usize {
    match algorithm {
        Algorithm::HS256 => 32,
        Algorithm::HS384 => 48,
        Algorithm::HS512 => 64,
        Algorithm::EdDSA | Algorithm::ES256 | Algorithm::RS256 => 0,
    }
}

/// The answer to a request without a token where one is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingTokenStatus {
    /// 401.
    Unauthorized,
    /// 403.
    Forbidden,
}

impl MissingTokenStatus {
    /// The number.
    pub const fn as_u16(self) -> u16 {
        match self {
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
        }
    }
}

/// `[auth]`: the tokens.
#[derive(Clone, Debug)]
pub struct AuthConfig {
    /// The claim `iss`; the public URL unless set.
    pub issuer: String,
    /// The claim `aud`, if there is to be one.
    pub audience: Option<String>,
    /// The answer to a request without a token.
    pub missing_token_status: MissingTokenStatus,
    /// How access tokens are signed.
    pub algorithm: Algorithm,
    /// How long an access token is valid, in whole minutes.
    pub access_lifetime: Duration,
    /// Whether an access token alone may be renewed.
    pub bearer_renewal: bool,
    /// For how long after the sign-in.
    pub bearer_renewal_max: Duration,
    /// The secret of the HMAC algorithms. Without one, one is generated and kept. Given under another algorithm it
    /// signs nothing.
    pub jwt_secret: Option<Secret>,
}

/// `[keys]`: what protects the keys in the database.
#[derive(Clone, Debug)]
pub struct KeysConfig {
    /// With SQLite and `None`: a file beside the database. With PostgreSQL and `None`: `auth.jwt_secret` is there, and
    /// the key is derived from it.
    pub master_key: Option<MasterKey>,
}

/// Who may register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegistrationMode {
    /// Anybody.
    Open,
    /// Anybody, after proving the address. No answer tells who is registered.
    VerifyFirst,
    /// Nobody.
    Closed,
}

/// `[registration]`
#[derive(Clone, Debug)]
pub struct RegistrationConfig {
    /// Who may register.
    pub mode: RegistrationMode,
    /// Whether an account can be signed in to only once its address is verified.
    pub require_verified: bool,
    /// Whose addresses may be registered.
    pub domains: MailDomains,
}

/// Which mail domains may be registered and changed to.
#[derive(Clone, Debug, Default)]
pub struct MailDomains {
    /// In ASCII form; where there are any, only these and what is below them.
    pub allowed: Vec<String>,
    /// In ASCII form; not these, nor what is below them.
    pub denied: Vec<String>,
}

impl MailDomains {
    /// Whether the address may be registered. A denied domain counts before an allowed one.
    pub fn admit(&self, email: &Email) -> bool {
        let is_in = |domains: &[String]| domains.iter().any(|domain| email.is_at_or_below(domain));
        !is_in(&self.denied) && (self.allowed.is_empty() || is_in(&self.allowed))
    }
}

/// How new passwords are hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordScheme {
    /// bcrypt, with `bcrypt_cost`.
    Bcrypt,
    /// Argon2id (RFC 9106), with the three `argon2_` settings.
    Argon2id,
}

/// `[password]`
#[derive(Clone, Debug)]
pub struct PasswordConfig {
    /// How new passwords are hashed.
    pub scheme: PasswordScheme,
    /// 4 to 16; each step doubles the work.
    pub bcrypt_cost: u32,
    /// The least length of a new password, in characters.
    pub min_length: usize,
    /// Memory of one computation, in KiB.
    pub argon2_memory_kib: u32,
    /// Passes over the memory.
    pub argon2_iterations: u32,
    /// Lanes.
    pub argon2_parallelism: u32,
    /// A file of breached passwords that may not be set.
    pub breached_file: Option<PathBuf>,
}

/// `[session]`
#[derive(Clone, Copy, Debug)]
pub struct SessionConfig {
    /// A session ends this long after its last refresh; never more than `absolute`.
    pub idle: Duration,
    /// A session ends this long after the sign-in.
    pub absolute: Duration,
    /// How long a superseded refresh token still gets the current one; may be zero.
    pub refresh_grace: Duration,
    /// How many live sessions an account has at most.
    pub max_per_user: u32,
}

/// `[database]`
#[derive(Clone, Debug)]
pub struct DatabaseConfig {
    /// Where the data is.
    pub url: Database,
    /// The schema of the tables; PostgreSQL only. Needs no quoting in SQL.
    pub schema: String,
    /// Connections at most.
    pub max_connections: u32,
    /// How long to wait for a free one.
    pub acquire_timeout: Duration,
}

/// `[redis]`
#[derive(Clone, Debug)]
pub struct RedisConfig {
    /// Where Redis is; `None`: in process, one node only.
    pub url: Option<RedisTarget>,
    /// Put before every key and channel; may be empty.
    pub prefix: String,
    /// For one command.
    pub timeout: Duration,
}

/// `[account]`
#[derive(Clone, Copy, Debug)]
pub struct AccountConfig {
    /// How long a deleted account can be restored; zero: not at all.
    pub deletion_grace: Duration,
}

/// `[cache]`: this process's own copies of sessions and users.
#[derive(Clone, Copy, Debug)]
pub struct CacheConfig {
    /// How long a copy is believed; at most 5 seconds, may be zero.
    pub near_ttl: Duration,
    /// Memory for the copies, in bytes.
    pub near_bytes: u64,
}

/// `[limits]`: how often something may happen.
#[derive(Clone, Copy, Debug)]
pub struct LimitsConfig {
    /// Whether any of them holds.
    pub enabled: bool,
    /// Sign-ins, and checks of the password within a session, from one network address.
    pub login_address: Quota,
    /// Sign-ins to one account from one network address, on devices that the account does not know; unless it is set,
    /// that of `login_account`.
    pub login_pair: Quota,
    /// Sign-ins to one account from devices that it does not know.
    pub login_account: Quota,
    /// Sign-ins to one account from one device that it knows.
    pub login_device: Quota,
    /// Checks of one account's password within all of its sessions.
    pub password_account: Quota,
    /// Registrations from one network address.
    pub register_address: Quota,
    /// Requests for mail with a link from one network address.
    pub forgot_address: Quota,
    /// Requests to reset the password of one account.
    pub forgot_account: Quota,
    /// Requests to prove the address of one account.
    pub verify_account: Quota,
    /// Requests for another address from one network address.
    pub email_change_address: Quota,
    /// Requests for another address of one account.
    pub email_change_account: Quota,
    /// Refreshes of one session.
    pub refresh_session: Quota,
    /// Requests that change something, of signed-in users from one network address.
    pub write_address: Quota,
    /// Requests of one user that change something.
    pub write_account: Quota,
    /// Requests below `/admin` of one administrator that change something.
    pub admin_account: Quota,
    /// Mails of one kind to one recipient.
    pub mail_recipient: Quota,
    /// Mails caused by requests without a session from one network.
    pub mail_network: Quota,
    /// Mails in all.
    pub mail_total: Quota,
    /// Above how many failed sign-ins over the whole service the operator is told; `None`: never.
    pub failed_sign_ins_alert: Option<Quota>,
}

/// `[hash]`: the pool that computes password hashes.
#[derive(Clone, Copy, Debug)]
pub struct HashConfig {
    /// Threads; 0 means one for each core.
    pub threads: usize,
    /// Passwords that may wait for each thread.
    pub queue: usize,
}

/// `[mail]`
#[derive(Clone, Debug)]
pub struct MailConfig {
    /// The language of accounts that are created without one.
    pub locale: Locale,
    /// The mail server; `None`: mails wait in the outbox, and under `serve --dev` they can be read in the development mailbox.
    pub smtp_url: Option<Secret>,
    /// The sender; there is one whenever there is a mail server.
    pub from: Option<String>,
}

/// `[audit]`
#[derive(Clone, Copy, Debug)]
pub struct AuditConfig {
    /// How long audit rows are kept.
    pub retention: Duration,
    /// How long nothing may have been seen of nodes that write audit rows without a code, before such rows are refused;
    /// `None`: they are accepted until an operator says otherwise.
    pub mac_required_after: Option<Duration>,
}

/// `[metrics]`
#[derive(Clone, Copy, Debug)]
pub struct MetricsConfig {
    /// A listener of its own; `None`: there is none, and under `serve --dev` the figures are on the main one.
    pub bind: Option<SocketAddr>,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
    /// Text on a terminal, else JSON.
    Auto,
}

/// `[log]`
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// How lines are written.
    pub format: LogFormat,
    /// What is logged: directives that `tracing_subscriber::EnvFilter` has parsed once already.
    pub level: String,
}

/// One setting as `config show` prints it.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// `session.idle`
    pub key: String,
    /// A JSON value with the default's type; `null` when not set; the text `(set)` for a secret. The URLs of the
    /// database and of Redis are shown without user, password and parameters.
    pub value: serde_json::Value,
    /// Where it comes from.
    pub source: Source,
}

impl std::fmt::Display for Entry {
    /// `session.idle = "7d"  # default`: the value as in a TOML file, except that `(set)` and `(not set)` are bare.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let value = match &self.value {
            serde_json::Value::Null => "(not set)".to_owned(),
            serde_json::Value::String(text) if text == SET => SET.to_owned(),
            value => value.to_string(),
        };
        write!(f, "{} = {value}  # {}", self.key, self.source)
    }
}

const SET: &str = "(set)";

impl Config {
    /// Reads the built-in defaults, then `file`, then the variables in `env` (and the files that `…_FILE` variables
    /// name). Other programs' variables in `env` are ignored.
    ///
    /// # Errors
    /// All problems together: unreadable files, unknown names, bad values, values that do not go together.
    pub fn load(file: Option<&Path>, env: &BTreeMap<String, String>) -> Result<Self, ConfigError> {
        let Some(path) = file else {
            return Self::parse(None, env);
        };
        let text = source::read_config_file(path)?;
        Self::parse(Some((&path.to_string_lossy(), &text)), env)
    }

    /// As [`load`](Self::load), from a text: its name for messages, and the TOML. Reads no file but those of `…_FILE`
    /// variables.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn parse(file: Option<(&str, &str)>, env: &BTreeMap<String, String>) -> Result<Self, ConfigError> {
        let mut problems = Vec::new();
        let Some(layers) = source::layers(file, env, &mut problems) else {
            return Err(ConfigError { problems });
        };
        let mut reader = Reader::new(&layers, problems);
        match (reader.config(), reader.problems.is_empty()) {
            (Some(config), true) => Ok(config),
            _ => Err(ConfigError {
                problems: reader.problems,
            }),
        }
    }

    /// Makes this the configuration of `serve --dev`.
    ///
    /// # Errors
    /// When others could reach the service: the listener or the public URL is not of this machine alone.
    pub fn enable_dev(&mut self) -> Result<(), ConfigError> {
        let mut problems = Vec::new();
        let mut refuse = |key: &str, what: String, remedy: &str| {
            problems.push(ConfigProblem::of_key(key, Source::Default, what, remedy));
        };
        if !self.server.bind.ip().to_canonical().is_loopback() {
            refuse(
                "server.bind",
                format!(
                    "--dev is for this machine alone, and {} is open to others",
                    self.server.bind
                ),
                "listen on 127.0.0.1, or leave out --dev",
            );
        }
        if !self.server.public_url.is_loopback() {
            refuse(
                "server.public_url",
                format!(
                    "--dev is for this machine alone, and {} is not",
                    self.server.public_url
                ),
                "leave PUBLIC_URL at http://localhost:8000, or leave out --dev",
            );
        }
        if !problems.is_empty() {
            return Err(ConfigError { problems });
        }
        self.dev = true;
        Ok(())
    }

    /// Every setting by key, with its value (no secrets) and its source.
    pub fn sources(&self) -> &[Entry] {
        &self.entries
    }

    /// `{"settings": {key: {"value", "source"}}, "warnings": [text]}`; values as in [`Entry::value`].
    pub fn to_json(&self) -> serde_json::Value {
        let settings: serde_json::Map<String, serde_json::Value> = self
            .entries
            .iter()
            .map(|entry| {
                let shown = serde_json::json!({ "value": entry.value, "source": entry.source.to_string() });
                (entry.key.clone(), shown)
            })
            .collect();
        serde_json::json!({ "settings": settings, "warnings": self.warnings })
    }
}

/// Reads values out of the layers and remembers what was wrong with them, so that one run finds everything.
struct Reader<'a> {
    layers: &'a Layers,
    problems: Vec<ConfigProblem>,
    warnings: Vec<String>,
    keys_read: BTreeSet<&'static str>,
}

impl<'a> Reader<'a> {
    fn new(layers: &'a Layers, problems: Vec<ConfigProblem>) -> Self {
        Self {
            layers,
            problems,
            warnings: Vec::new(),
            keys_read: BTreeSet::new(),
        }
    }

    /// The value of a key, or a problem and nothing.
    fn read<T>(&mut self, key: &'static str, parse: impl FnOnce(&Raw) -> Parsed<T>) -> Option<T> {
        self.keys_read.insert(key);
        let Some(given) = self.layers.get(key) else {
            // Only if `config.default.toml` lacked a key, which a test rules out.
            self.problem(key, "this key has no default", "set it");
            return None;
        };
        match parse(&given.raw) {
            Ok(value) => Some(value),
            Err(refused) => {
                self.problem(key, refused.message, refused.remedy);
                None
            }
        }
    }

    fn duration(&mut self, key: &'static str, least: Duration, most: Duration) -> Option<Duration> {
        self.read(key, |raw| values::duration(raw, least..=most))
    }

    fn problem(&mut self, key: &str, message: impl Into<String>, remedy: impl Into<String>) {
        let problem = ConfigProblem::of_key(key, self.source(key), message, remedy);
        self.problems.push(problem);
    }

    fn has_problem(&self, key: &str) -> bool {
        self.problems.iter().any(|problem| problem.key == key)
    }

    fn warn(&mut self, key: &str, text: &str) {
        self.warnings
            .push(format!("{key} ({}): {text}", source::variable_of(key)));
    }

    fn source(&self, key: &str) -> Source {
        self.layers
            .get(key)
            .map_or(Source::Default, |given| given.source.clone())
    }

    fn is_given(&self, key: &str) -> bool {
        self.layers.get(key).is_some_and(|given| !given.raw.is_unset())
    }

    /// Every section is read before any is looked at, so that the first problem does not hide the others.
    fn config(&mut self) -> Option<Config> {
        let server = self.server();
        let auth = self.auth(server.as_ref().map(|server| &server.public_url));
        let keys = self.keys();
        let registration = self.registration();
        let password = self.password();
        let session = self.session();
        let account = self
            .duration("account.deletion_grace", Duration::ZERO, DELETION_GRACE_AT_MOST)
            .map(|deletion_grace| AccountConfig { deletion_grace });
        let database = self.database();
        let redis = self.redis();
        let cache = self.cache();
        let limits = self.limits();
        let hash = self.hash();
        let mail = self.mail(server.as_ref().map(|server| &server.public_url));
        let retention = self.duration("audit.retention", DAY, TEN_YEARS);
        let mac_required_after = self.read("audit.mac_required_after", |raw| {
            values::duration_or_never(raw, SECOND..=DAY)
        });
        let audit = retention
            .zip(mac_required_after)
            .map(|(retention, mac_required_after)| AuditConfig {
                retention,
                mac_required_after,
            });
        let metrics = self
            .read("metrics.bind", |raw| optional(raw, values::socket_address))
            .map(|bind| MetricsConfig { bind });
        let log = self.log();
        let is_postgres = database
            .as_ref()
            .is_some_and(|database| !database.url.is_sqlite());
        self.check_master_key(is_postgres);
        if let Some(auth) = &auth {
            self.check_jwt_secret(auth, is_postgres);
        }
        Some(Config {
            server: server?,
            auth: auth?,
            keys: keys?,
            registration: registration?,
            password: password?,
            session: session?,
            account: account?,
            database: database?,
            redis: redis?,
            cache: cache?,
            limits: limits?,
            hash: hash?,
            mail: mail?,
            audit: audit?,
            metrics: metrics?,
            log: log?,
            warnings: std::mem::take(&mut self.warnings),
            dev: false,
            entries: entries(self.layers),
        })
    }

    fn server(&mut self) -> Option<ServerConfig> {
        let bind = self.read("server.bind", values::bind);
        let port = self.read("server.port", |raw| {
            optional(raw, |raw| values::whole::<u16>(raw, 0..=65535))
        });
        let is_bind_later = self.source("server.bind").rank() > self.source("server.port").rank();
        let public_url = self.read("server.public_url", values::public_url);
        let cors_origins = self.read("server.cors_origins", |raw| values::list(raw, values::origin));
        let trusted_proxies = self.read("server.trusted_proxies", |raw| values::list(raw, values::network));
        let forwarded_header = self.read("server.forwarded_header", |raw| {
            values::choice(
                raw,
                &[
                    ("x-forwarded-for", ForwardedHeader::XForwardedFor),
                    ("forwarded", ForwardedHeader::Forwarded),
                    ("x-real-ip", ForwardedHeader::XRealIp),
                ],
            )
        });
        let connection_exempt = self.read("server.connection_exempt", |raw| {
            values::list(raw, values::network)
        });
        let max_connections = self.read("server.max_connections", |raw| values::whole(raw, 1..=1_000_000));
        let least = 100 * MILLI;
        let header_timeout = self.duration("server.header_timeout", least, TEN_MINUTES);
        let body_timeout = self.duration("server.body_timeout", least, TEN_MINUTES);
        let request_timeout = self.duration("server.request_timeout", least, TEN_MINUTES);
        let drain_delay = self.duration("server.drain_delay", Duration::ZERO, TEN_MINUTES);
        let drain_timeout = self.duration("server.drain_timeout", Duration::ZERO, TEN_MINUTES);
        if public_url
            .as_ref()
            .is_some_and(|url| !url.is_https() && !url.is_loopback())
        {
            self.warn(
                "server.public_url",
                "without https, passwords and tokens can be read on the way; give the https URL of the proxy in front",
            );
        }
        if trusted_proxies
            .as_deref()
            .is_some_and(values::hold_most_of_the_internet)
        {
            self.problem(
                "server.trusted_proxies",
                "these networks hold most of the internet: every client could claim any address in sessions, limits and the \
                 audit trail",
                "name the proxies alone, such as 10.0.0.7 or 10.0.0.0/24",
            );
        }
        let (address, bind_port) = bind?;
        let port = match (bind_port, port?) {
            (Some(bind_port), Some(_)) if is_bind_later => bind_port,
            (bind_port, port) => port.or(bind_port).unwrap_or(DEFAULT_PORT),
        };
        Some(ServerConfig {
            bind: SocketAddr::new(address, port),
            public_url: public_url?,
            cors_origins: cors_origins?,
            trusted_proxies: trusted_proxies?,
            forwarded_header: forwarded_header?,
            connection_exempt: connection_exempt?,
            max_connections: max_connections?,
            header_timeout: header_timeout?,
            body_timeout: body_timeout?,
            request_timeout: request_timeout?,
            drain_delay: drain_delay?,
            drain_timeout: drain_timeout?,
        })
    }

    fn auth(&mut self, public_url: Option<&PublicUrl>) -> Option<AuthConfig> {
        let issuer = self.read("auth.issuer", |raw| optional(raw, values::claim));
        let audience = self.read("auth.audience", |raw| optional(raw, values::claim));
        let missing_token_status = self.read("auth.missing_token_status", |raw| {
            values::choice(
                raw,
                &[
                    ("403", MissingTokenStatus::Forbidden),
                    ("401", MissingTokenStatus::Unauthorized),
                ],
            )
        });
        let algorithm = self.read("auth.jwt_algorithm", |raw| {
            values::choice(
                raw,
                &Algorithm::ALL.map(|algorithm| (algorithm.as_str(), algorithm)),
            )
        });
        let minutes = self.read("auth.jwt_expiration_minutes", |raw| {
            values::whole::<u64>(raw, 1..=525_600)
        });
        let bearer_renewal = self.read("auth.bearer_renewal", values::truth);
        let bearer_renewal_max = self.duration("auth.bearer_renewal_max", SECOND, TEN_YEARS);
        let jwt_secret = self.read("auth.jwt_secret", |raw| optional(raw, values::jwt_secret));
        Some(AuthConfig {
            issuer: match issuer? {
                Some(issuer) => issuer,
                None => public_url?.to_string(),
            },
            audience: audience?,
            missing_token_status: missing_token_status?,
            algorithm: algorithm?,
            access_lifetime: Duration::from_mins(minutes?),
            bearer_renewal: bearer_renewal?,
            bearer_renewal_max: bearer_renewal_max?,
            jwt_secret: jwt_secret?,
        })
    }

    fn keys(&mut self) -> Option<KeysConfig> {
        let master_key = self.read("keys.master_key", |raw| optional(raw, values::master_key))?;
        Some(KeysConfig { master_key })
    }

    fn registration(&mut self) -> Option<RegistrationConfig> {
        let mode = self.read("registration.mode", |raw| {
            values::choice(
                raw,
                &[
                    ("open", RegistrationMode::Open),
                    ("closed", RegistrationMode::Closed),
                    ("verify_first", RegistrationMode::VerifyFirst),
                ],
            )
        });
        let require_verified = self.read("registration.require_verified", values::truth);
        let domains = |raw: &Raw| values::list(raw, values::mail_domain);
        let allowed = self.read("registration.allowed_domains", domains);
        let denied = self.read("registration.denied_domains", domains);
        Some(RegistrationConfig {
            mode: mode?,
            require_verified: require_verified?,
            domains: MailDomains {
                allowed: allowed?,
                denied: denied?,
            },
        })
    }

    fn password(&mut self) -> Option<PasswordConfig> {
        let scheme = self.read("password.scheme", |raw| {
            values::choice(
                raw,
                &[
                    ("bcrypt", PasswordScheme::Bcrypt),
                    ("argon2id", PasswordScheme::Argon2id),
                ],
            )
        });
        let bcrypt_cost = self.read("password.bcrypt_cost", |raw| values::whole(raw, 4..=16));
        let min_length = self.read("password.min_length", |raw| values::whole(raw, 1..=128));
        let argon2_memory_kib = self.read("password.argon2_memory_kib", |raw| {
            values::whole(raw, 1024..=1_048_576)
        });
        let argon2_iterations = self.read("password.argon2_iterations", |raw| values::whole(raw, 1..=64));
        let argon2_parallelism = self.read("password.argon2_parallelism", |raw| values::whole(raw, 1..=16));
        if scheme == Some(PasswordScheme::Bcrypt) && bcrypt_cost.is_some_and(|cost: u32| cost < 10) {
            self.warn(
                "password.bcrypt_cost",
                "below 10, stolen hashes are cheap to guess; use 10 or more outside tests",
            );
        }
        if scheme == Some(PasswordScheme::Argon2id) && argon2_memory_kib.is_some_and(|kib: u32| kib < 7168) {
            self.warn(
                "password.argon2_memory_kib",
                "below 7168, stolen hashes are cheap to guess; use 7168 or more outside tests",
            );
        }
        if min_length.is_some_and(|length: usize| length < 8) {
            self.warn(
                "password.min_length",
                "passwords below 8 characters are easily guessed; use 8 or more",
            );
        }
        let breached_file = self.read("password.breached_file", |raw| optional(raw, values::path));
        Some(PasswordConfig {
            breached_file: breached_file?,
            scheme: scheme?,
            bcrypt_cost: bcrypt_cost?,
            min_length: min_length?,
            argon2_memory_kib: argon2_memory_kib?,
            argon2_iterations: argon2_iterations?,
            argon2_parallelism: argon2_parallelism?,
        })
    }

    fn session(&mut self) -> Option<SessionConfig> {
        let idle = self.duration("session.idle", SECOND, TEN_YEARS);
        let absolute = self.duration("session.absolute", SECOND, TEN_YEARS);
        let refresh_grace = self.duration("session.refresh_grace", Duration::ZERO, TEN_MINUTES);
        let max_per_user = self.read("session.max_per_user", |raw| values::whole(raw, 1..=100_000));
        let (idle, absolute) = (idle?, absolute?);
        if idle > absolute {
            self.problem(
                "session.idle",
                format!(
                    "{} is more than session.absolute, which is {}",
                    values::spoken(idle),
                    values::spoken(absolute)
                ),
                format!(
                    "lower this one or raise {}",
                    source::variable_of("session.absolute")
                ),
            );
            return None;
        }
        Some(SessionConfig {
            idle,
            absolute,
            refresh_grace: refresh_grace?,
            max_per_user: max_per_user?,
        })
    }

    fn database(&mut self) -> Option<DatabaseConfig> {
        let url = self.read("database.url", values::database);
        let schema = self.read("database.schema", values::schema);
        let max_connections = self.read("database.max_connections", |raw| values::whole(raw, 1..=1000));
        let acquire_timeout = self.duration("database.acquire_timeout", 10 * MILLI, 60 * SECOND);
        if url.as_ref().is_some_and(values::is_readable_on_the_way) {
            self.warn(
                "database.url",
                "addresses, password hashes and sessions cross the network readable; add ?sslmode=verify-full (or require, which \
                 does not check the server's name)",
            );
        }
        Some(DatabaseConfig {
            url: url?,
            schema: schema?,
            max_connections: max_connections?,
            acquire_timeout: acquire_timeout?,
        })
    }

    fn redis(&mut self) -> Option<RedisConfig> {
        let url = self.read("redis.url", |raw| optional(raw, values::redis));
        let prefix = self.read("redis.prefix", values::redis_prefix);
        if let Some(Some(target)) = &url
            && target.is_readable_on_the_way
        {
            self.warn(
                "redis.url",
                "sessions and the password cross the network readable, and can be changed on the way; use rediss://",
            );
        }
        let timeout = self.duration("redis.timeout", 10 * MILLI, 10 * SECOND);
        Some(RedisConfig {
            url: url?,
            prefix: prefix?,
            timeout: timeout?,
        })
    }

    fn cache(&mut self) -> Option<CacheConfig> {
        let near_ttl = self.duration("cache.near_ttl", Duration::ZERO, 5 * SECOND);
        let near_bytes = self.read("cache.near_bytes", |raw| values::size(raw, 1 << 20..=64 << 30));
        Some(CacheConfig {
            near_ttl: near_ttl?,
            near_bytes: near_bytes?,
        })
    }

    fn limits(&mut self) -> Option<LimitsConfig> {
        let enabled = self.read("limits.enabled", values::truth);
        let login_address = self.read("limits.login_address", values::quota);
        let login_pair = self.read("limits.login_pair", |raw| optional(raw, values::quota));
        let login_account = self.read("limits.login_account", values::quota);
        let login_device = self.read("limits.login_device", values::quota);
        let password_account = self.read("limits.password_account", values::quota);
        let register_address = self.read("limits.register_address", values::quota);
        let forgot_address = self.read("limits.forgot_address", values::quota);
        let forgot_account = self.read("limits.forgot_account", values::quota);
        let verify_account = self.read("limits.verify_account", values::quota);
        let email_change_address = self.read("limits.email_change_address", values::quota);
        let email_change_account = self.read("limits.email_change_account", values::quota);
        let refresh_session = self.read("limits.refresh_session", values::quota);
        let write_address = self.read("limits.write_address", values::quota);
        let write_account = self.read("limits.write_account", values::quota);
        let admin_account = self.read("limits.admin_account", values::quota);
        let mail_recipient = self.read("limits.mail_recipient", values::quota);
        let mail_network = self.read("limits.mail_network", values::quota);
        let mail_total = self.read("limits.mail_total", values::quota);
        let failed_sign_ins_alert = self.read("limits.failed_sign_ins_alert", values::quota_or_none);
        if enabled == Some(false) {
            self.warn(
                "limits.enabled",
                "passwords can be guessed as fast as they can be hashed; this is for tests, or behind a gateway that limits",
            );
        }
        Some(LimitsConfig {
            enabled: enabled?,
            login_address: login_address?,
            login_pair: login_pair?.or(login_account)?,
            login_account: login_account?,
            login_device: login_device?,
            password_account: password_account?,
            register_address: register_address?,
            forgot_address: forgot_address?,
            forgot_account: forgot_account?,
            verify_account: verify_account?,
            email_change_address: email_change_address?,
            email_change_account: email_change_account?,
            refresh_session: refresh_session?,
            write_address: write_address?,
            write_account: write_account?,
            admin_account: admin_account?,
            mail_recipient: mail_recipient?,
            mail_network: mail_network?,
            mail_total: mail_total?,
            failed_sign_ins_alert: failed_sign_ins_alert?,
        })
    }

    fn hash(&mut self) -> Option<HashConfig> {
        let threads = self.read("hash.threads", |raw| values::whole(raw, 0..=1024));
        let queue = self.read("hash.queue", |raw| values::whole(raw, 1..=10_000));
        Some(HashConfig {
            threads: threads?,
            queue: queue?,
        })
    }

    fn mail(&mut self, public_url: Option<&PublicUrl>) -> Option<MailConfig> {
        let locale = self.read("mail.locale", |raw| {
            values::choice(raw, &[("en", Locale::En), ("ar", Locale::Ar)])
        });
        let smtp_url = self.read("mail.smtp_url", |raw| optional(raw, values::smtp_url));
        let from = self.read("mail.from", |raw| optional(raw, values::mailbox));
        let (smtp_url, mut from) = (smtp_url?, from?);
        if smtp_url.is_some() && from.is_none() {
            self.warn(
                "mail.from",
                "not set; mails come from no-reply at the host of PUBLIC_URL, which many receivers take for spam",
            );
            from = public_url.map(|url| format!("no-reply@{}", url.mail_domain()));
        }
        Some(MailConfig {
            locale: locale?,
            smtp_url,
            from,
        })
    }

    fn log(&mut self) -> Option<LogConfig> {
        let format = self.read("log.format", |raw| {
            values::choice(
                raw,
                &[
                    ("text", LogFormat::Text),
                    ("json", LogFormat::Json),
                    ("auto", LogFormat::Auto),
                ],
            )
        });
        let level = self.read("log.level", values::log_level);
        Some(LogConfig {
            format: format?,
            level: level?,
        })
    }

    /// Several nodes over one PostgreSQL must agree on the key, so none of them can make one up. What was given but is
    /// bad, or could not be read, has its own problem already.
    fn check_master_key(&mut self, is_postgres: bool) {
        let key = "keys.master_key";
        if !is_postgres || self.is_given(key) || self.has_problem(key) {
            return;
        }
        if self.is_given("auth.jwt_secret") {
            self.warn(
                key,
                "derived from JWT_SECRET, which other services may hold; set it to what `josoor-auth key generate` prints",
            );
        } else if !self.has_problem("auth.jwt_secret") {
            self.problem(
                key,
                "PostgreSQL needs a master key, which encrypts the keys that are kept in the database",
                "set MASTER_KEY to what `josoor-auth key generate` prints, the same for every node",
            );
        }
    }

    fn check_jwt_secret(&mut self, auth: &AuthConfig, is_postgres: bool) {
        let key = "auth.jwt_secret";
        let Some(secret) = &auth.jwt_secret else {
            return;
        };
        if auth.algorithm.is_symmetric() {
            if secret.expose().len() < secret_bytes(auth.algorithm) {
                let text = format!(
                    "{} wants at least {} bytes (RFC 7518, 3.2)",
                    auth.algorithm,
                    secret_bytes(auth.algorithm)
                );
                self.warn(key, &text);
            }
        } else if !is_postgres || self.is_given("keys.master_key") {
            let text = format!("{} does not use it; leave it unset", auth.algorithm);
            self.warn(key, &text);
        } else {
            let text = format!(
                "{} does not sign with it; the master key is derived from it",
                auth.algorithm
            );
            self.warn(key, &text);
        }
    }
}

/// What `config show` prints of the layers.
fn entries(layers: &Layers) -> Vec<Entry> {
    use serde_json::Value;

    layers
        .iter()
        .map(|(key, given)| {
            let value = match &given.raw {
                _ if given.raw.is_unset() && !matches!(given.raw, Raw::List(_)) => Value::Null,
                Raw::Text(text) if matches!(key.as_str(), "database.url" | "redis.url") => {
                    values::without_userinfo(text.trim()).into()
                }
                _ if source::is_secret(key) => SET.into(),
                // The environment has texts only; the same setting has one JSON type, wherever it comes from.
                Raw::Text(text) => typed(key, text.trim()),
                Raw::Number(digits) => digits
                    .parse::<u64>()
                    .map_or_else(|_| values::shown(digits).into(), Value::from),
                Raw::Boolean(truth) => (*truth).into(),
                Raw::List(items) => items.iter().map(|item| values::shown(item)).collect(),
                Raw::Other(kind) => (*kind).into(),
            };
            Entry {
                key: key.clone(),
                value,
                source: given.source.clone(),
            }
        })
        .collect()
}

/// A text as the type that the setting has in `config.default.toml`.
fn typed(key: &str, text: &str) -> serde_json::Value {
    match key {
        "server.cors_origins"
        | "server.trusted_proxies"
        | "server.connection_exempt"
        | "registration.allowed_domains"
        | "registration.denied_domains" => text
            .split(|char: char| char == ',' || char.is_whitespace())
            .filter(|item| !item.is_empty())
            .map(values::shown)
            .collect(),
        "limits.enabled" | "auth.bearer_renewal" | "registration.require_verified" => (text == "true").into(),
        "server.port"
        | "server.max_connections"
        | "auth.missing_token_status"
        | "auth.jwt_expiration_minutes"
        | "session.max_per_user"
        | "password.bcrypt_cost"
        | "password.min_length"
        | "password.argon2_memory_kib"
        | "password.argon2_iterations"
        | "password.argon2_parallelism"
        | "database.max_connections"
        | "hash.threads"
        | "hash.queue" => text
            .parse::<u64>()
            .map_or_else(|_| values::shown(text).into(), serde_json::Value::from),
        _ => values::shown(text).into(),
    }
}
