//! One parser for each kind of value. None of them repeats a value that could be, or could hold, a secret.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use ipnet::IpNet;
pub use josoor_auth_verify::RedisKind;
use josoor_auth_verify::{RedisUrl, RedisUrlError};
use url::{Host, Url};
use zeroize::Zeroizing;

use super::source::Raw;
use crate::domain::{Email, Secret};

/// What is wrong with a value, and what would be right.
pub(super) struct Refused {
    pub(super) message: String,
    pub(super) remedy: String,
}

pub(super) type Parsed<T> = Result<T, Refused>;

fn refused<T>(message: impl Into<String>, remedy: impl Into<String>) -> Parsed<T> {
    Err(Refused {
        message: message.into(),
        remedy: remedy.into(),
    })
}

/// Foreign text on one line and of bounded length, for errors and listings.
pub(super) fn shown(text: &str) -> String {
    const LONGEST: usize = 200;
    let mut out = String::new();
    for (index, char) in text.chars().enumerate() {
        if index == LONGEST {
            out.push('…');
            break;
        }
        if char.is_control()
            || matches!(char, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        {
            out.extend(char.escape_unicode());
        } else {
            out.push(char);
        }
    }
    out
}

/// Text as it stands, also the empty one.
pub(super) fn any_text(raw: &Raw) -> Parsed<&str> {
    match raw {
        Raw::Text(text) => Ok(text),
        Raw::Number(_) | Raw::Boolean(_) => refused("this takes a text", "put the value in quotes"),
        Raw::List(_) => refused("this takes one text, not a list", "give one text in quotes"),
        Raw::Other(kind) => refused(format!("this takes a text, not {kind}"), "give a text in quotes"),
    }
}

/// Text that is not blank.
fn text(raw: &Raw) -> Parsed<&str> {
    match any_text(raw)?.trim() {
        "" => refused("this cannot be left empty", "give a value, or leave the key out"),
        text => Ok(text),
    }
}

/// Nothing when the value is `""`.
pub(super) fn optional<T>(raw: &Raw, parse: impl FnOnce(&Raw) -> Parsed<T>) -> Parsed<Option<T>> {
    if raw.is_unset() {
        Ok(None)
    } else {
        parse(raw).map(Some)
    }
}

/// Each item of a list; in one text they are separated by commas or white space.
pub(super) fn list<T>(raw: &Raw, parse: impl Fn(&str) -> Parsed<T>) -> Parsed<Vec<T>> {
    match raw {
        Raw::List(items) => items.iter().map(|item| parse(item.trim())).collect(),
        Raw::Text(text) => text
            .split(|char: char| char == ',' || char.is_whitespace())
            .filter(|item| !item.is_empty())
            .map(parse)
            .collect(),
        _ => refused("this takes a list of texts", "write [\"one\", \"two\"]"),
    }
}

/// A mail domain with its subdomains, in ASCII form.
pub(super) fn mail_domain(item: &str) -> Parsed<String> {
    let email = Email::parse(&format!("a@{item}")).ok();
    match email.filter(|_| !item.contains('@')) {
        Some(email) => Ok(email.domain().to_owned()),
        None => refused(
            format!("{:?} is not a mail domain", shown(item)),
            "write domains such as example.org; their subdomains are included",
        ),
    }
}

/// A path of a file.
pub(super) fn path(raw: &Raw) -> Parsed<PathBuf> {
    Ok(PathBuf::from(text(raw)?))
}

pub(super) fn truth(raw: &Raw) -> Parsed<bool> {
    match raw {
        Raw::Boolean(truth) => Ok(*truth),
        Raw::Text(text) if text.trim() == "true" => Ok(true),
        Raw::Text(text) if text.trim() == "false" => Ok(false),
        _ => refused("this is neither true nor false", "write true or false"),
    }
}

/// One of a few words.
pub(super) fn choice<T: Copy>(raw: &Raw, words: &[(&str, T)]) -> Parsed<T> {
    let given = match raw {
        Raw::Number(digits) => digits.as_str(),
        _ => text(raw)?,
    };
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == given) {
        return Ok(*value);
    }
    let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    refused(
        format!("{:?} is not one of the possible values", shown(given)),
        format!("write one of {}", words.join(", ")),
    )
}

/// A whole number within `range`.
pub(super) fn whole<T: TryFrom<u64>>(raw: &Raw, range: RangeInclusive<u64>) -> Parsed<T> {
    let digits = match raw {
        Raw::Number(digits) => digits.as_str(),
        Raw::Text(text) => text.trim(),
        _ => "",
    };
    digits
        .parse::<u64>()
        .ok()
        .filter(|number| range.contains(number))
        .and_then(|number| T::try_from(number).ok())
        .map_or_else(
            || {
                refused(
                    format!(
                        "this is not a whole number from {} to {}",
                        range.start(),
                        range.end()
                    ),
                    "write a number within that range",
                )
            },
            Ok,
        )
}

const UNITS: [(&str, u64); 6] = [
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

/// A duration within `range`; numbers without a unit are refused, because `30` has meant seconds, minutes and
/// milliseconds to different programs.
pub(super) fn duration(raw: &Raw, range: RangeInclusive<Duration>) -> Parsed<Duration> {
    let given = match raw {
        Raw::Number(digits) => digits.as_str(),
        _ => text(raw)?,
    };
    let duration = duration_of(given)?;
    if range.contains(&duration) {
        return Ok(duration);
    }
    refused(
        format!("{} is out of range", spoken(duration)),
        format!(
            "write a duration from {} to {}",
            spoken(*range.start()),
            spoken(*range.end())
        ),
    )
}

/// A duration within `range`, or `never`.
pub(super) fn duration_or_never(raw: &Raw, range: RangeInclusive<Duration>) -> Parsed<Option<Duration>> {
    match raw {
        Raw::Text(text) if text.trim() == "never" => Ok(None),
        _ => duration(raw, range).map(Some),
    }
}

fn duration_of(given: &str) -> Parsed<Duration> {
    let digits_end = given
        .find(|char: char| !char.is_ascii_digit())
        .unwrap_or(given.len());
    let (digits, unit) = given.split_at(digits_end);
    if !digits.is_empty() && unit.is_empty() {
        return refused(
            format!("{} has no unit", shown(digits)),
            format!("write {}s if seconds are meant", shown(digits)),
        );
    }
    let unit = unit.trim();
    let millis = UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .and_then(|(_, millis)| Some((digits.parse::<u64>().ok()?, millis)));
    match millis.map(|(count, unit)| count.checked_mul(*unit)) {
        Some(Some(millis)) => Ok(Duration::from_millis(millis)),
        Some(None) => refused("this duration is too long", "write a shorter one"),
        None => refused(
            format!("{:?} is not a duration", shown(given)),
            "write a whole number and one of ms, s, m, h, d, w, such as 30s",
        ),
    }
}

/// A duration in the largest unit that holds it whole.
pub(super) fn spoken(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if millis == 0 {
        return "0s".to_owned();
    }
    let days = |unit: &&(&str, u64)| unit.0 != "w";
    UNITS
        .iter()
        .filter(days)
        .find(|(_, unit)| millis.is_multiple_of(*unit))
        .map_or_else(
            || format!("{millis}ms"),
            |(name, unit)| format!("{}{name}", millis / unit),
        )
}

/// A number of bytes: an integer, or one with KiB, MiB or GiB.
pub(super) fn size(raw: &Raw, range: RangeInclusive<u64>) -> Parsed<u64> {
    let given = match raw {
        Raw::Number(digits) => digits.as_str(),
        _ => text(raw)?,
    };
    let digits_end = given
        .find(|char: char| !char.is_ascii_digit())
        .unwrap_or(given.len());
    let (digits, unit) = given.split_at(digits_end);
    let unit: Option<u64> = match unit.trim() {
        "" => Some(1),
        "KiB" => Some(1 << 10),
        "MiB" => Some(1 << 20),
        "GiB" => Some(1 << 30),
        _ => None,
    };
    let bytes = unit.and_then(|unit| digits.parse::<u64>().ok()?.checked_mul(unit));
    match bytes {
        Some(bytes) if range.contains(&bytes) => Ok(bytes),
        Some(_) => refused(
            "this size is out of range",
            format!("write a size from {} to {} bytes", range.start(), range.end()),
        ),
        None => refused(
            format!("{:?} is not a size", shown(given)),
            "write a number of bytes, or one with KiB, MiB or GiB, such as 64MiB",
        ),
    }
}

/// How often something may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Times per window, at least 1.
    pub count: u32,
    /// The window, 1 second to 30 days.
    pub window: Duration,
}

impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, spoken(self.window))
    }
}

/// A quota, or 0 for none.
pub(super) fn quota_or_none(raw: &Raw) -> Parsed<Option<Quota>> {
    match raw {
        Raw::Number(digits) if digits == "0" => Ok(None),
        Raw::Text(text) if text.trim() == "0" => Ok(None),
        _ => quota(raw).map(Some),
    }
}

pub(super) fn quota(raw: &Raw) -> Parsed<Quota> {
    const LONGEST: Duration = Duration::from_hours(30 * 24);
    let given = match raw {
        Raw::Number(digits) => digits.as_str(),
        _ => text(raw)?,
    };
    let remedy = "write count/window, such as 10/1m: a count from 1 to 1000000, a window from 1s to 30d";
    let Some((count, window)) = given.split_once('/') else {
        return refused(format!("{:?} is not a limit", shown(given)), remedy);
    };
    let count = count.trim().parse::<u32>().ok();
    let window = duration_of(window.trim()).ok();
    match (count, window) {
        (Some(count @ 1..=1_000_000), Some(window))
            if (Duration::from_secs(1)..=LONGEST).contains(&window) =>
        {
            Ok(Quota { count, window })
        }
        _ => refused(format!("{:?} is not a limit", shown(given)), remedy),
    }
}

/// An address to listen on, and the port if it names one.
pub(super) fn bind(raw: &Raw) -> Parsed<(IpAddr, Option<u16>)> {
    let given = text(raw)?;
    if let Ok(address) = given.parse::<SocketAddr>() {
        return Ok((address.ip(), Some(address.port())));
    }
    if given.parse::<Ipv6Addr>().is_ok() {
        return refused(
            "an IPv6 address needs brackets here",
            format!("write [{given}] or [{given}]:8000"),
        );
    }
    let (host, port) = match given.rsplit_once(':') {
        Some((host, port)) if !given.ends_with(']') => (host, Some(port)),
        _ => (given, None),
    };
    let in_brackets = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let address = match in_brackets {
        Some(host) => host.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None if host.eq_ignore_ascii_case("localhost") => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        None => host.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    };
    let Some(address) = address else {
        return refused(
            format!(
                "{:?} is not an address; host names are not looked up",
                shown(host)
            ),
            "give an address, such as 127.0.0.1 or [::1], or 0.0.0.0 for every interface",
        );
    };
    match port.map(str::parse::<u16>) {
        None => Ok((address, None)),
        Some(Ok(port)) => Ok((address, Some(port))),
        Some(Err(_)) => refused("the port is not a number from 0 to 65535", "write address:port"),
    }
}

/// An address and a port.
pub(super) fn socket_address(raw: &Raw) -> Parsed<SocketAddr> {
    match bind(raw)? {
        (address, Some(port)) => Ok(SocketAddr::new(address, port)),
        (address, None) => refused(
            "this needs a port",
            format!("write {}", SocketAddr::new(address, 9100)),
        ),
    }
}

/// Where users reach the service: `http` or `https`, a host, perhaps a port and a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl {
    url: Url,
    /// Without a slash at its end.
    text: String,
}

impl PublicUrl {
    /// `scheme://host[:port]` as a browser writes it in `Origin` (RFC 6454, 6.2).
    pub fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    /// Whether browsers reach the service over TLS.
    pub fn is_https(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// Whether the host is this machine: `localhost`, a name below it (RFC 6761, 6.3), or a loopback address.
    pub fn is_loopback(&self) -> bool {
        match self.url.host() {
            Some(Host::Domain(name)) => {
                let name = name.strip_suffix('.').unwrap_or(name);
                name == "localhost" || name.ends_with(".localhost")
            }
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.to_canonical().is_loopback(),
            None => false,
        }
    }

    /// The host as the part of a mail address after the `@`.
    pub fn mail_domain(&self) -> String {
        match self.url.host() {
            Some(Host::Domain(name)) => name.trim_end_matches('.').to_owned(),
            // Few servers take a literal address from a sender, and on this machine nobody looks.
            Some(Host::Ipv4(address)) if !address.is_loopback() => format!("[{address}]"),
            _ => "localhost".to_owned(),
        }
    }

    /// The path, without a slash at its end: `""` or `/auth`.
    pub fn path(&self) -> &str {
        self.url.path().trim_end_matches('/')
    }

    /// The whole URL, without a slash at its end.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The URL of a path of the service; a missing slash between the two is added.
    pub fn join(&self, path: &str) -> String {
        format!("{}/{}", self.text, path.strip_prefix('/').unwrap_or(path))
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A URL of the web. Userinfo is refused in all of them, so nothing of the text is repeated.
fn web_url(given: &str, remedy: &str) -> Parsed<Url> {
    let Ok(url) = Url::parse(given) else {
        return refused("this is not a URL", remedy);
    };
    if !matches!(url.scheme(), "http" | "https") {
        return refused("the URL must begin with http:// or https://", remedy);
    }
    if !url.username().is_empty() || url.password().is_some() || given.contains('@') {
        return refused("the URL must not hold a user or a password", remedy);
    }
    if url.query().is_some() || url.fragment().is_some() {
        return refused("the URL must not have a query or a fragment", remedy);
    }
    Ok(url)
}

pub(super) fn public_url(raw: &Raw) -> Parsed<PublicUrl> {
    let mut url = web_url(text(raw)?, "write it like https://auth.example.org")?;
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    let text = format!("{}{path}", url.origin().ascii_serialization());
    Ok(PublicUrl { url, text })
}

/// A web origin (RFC 6454), as a browser writes it: `scheme://host[:port]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin(String);

impl Origin {
    /// As it stands in the `Origin` header.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub(super) fn origin(given: &str) -> Parsed<Origin> {
    const REMEDY: &str = "write each origin like https://app.example.org";
    if given.contains('*') {
        return refused(
            "\"*\" would let pages of any site call with a signed-in user's credentials",
            "list the exact origins of your own pages",
        );
    }
    let url = web_url(given, REMEDY)?;
    let origin = url.origin().ascii_serialization();
    // `Url` adds a path of its own; the text must end where the host and port do.
    let rest = given.split_once("://").map_or("", |(_, rest)| rest);
    if rest.is_empty() || rest.contains(['/', '\\']) {
        return refused(
            "an origin has no path, not even a slash at its end",
            format!("write {origin}"),
        );
    }
    Ok(Origin(origin))
}

/// A network; an address alone is the network of that address.
pub(super) fn network(given: &str) -> Parsed<IpNet> {
    if let Ok(address) = given.parse::<IpAddr>() {
        return Ok(IpNet::from(address.to_canonical()));
    }
    given
        .parse::<IpNet>()
        .map(|network| network.trunc())
        .or_else(|_| {
            refused(
                format!("{:?} is neither an address nor a network", shown(given)),
                "write addresses or networks, such as 10.0.0.7 or 10.0.0.0/8",
            )
        })
}

/// Whether these networks together hold at least half of the addresses that clients on the internet have: those of IPv4, or
/// those of IPv6 that are given out (2000::/3, RFC 4291, 2.4).
pub(super) fn hold_most_of_the_internet(networks: &[IpNet]) -> bool {
    const HALF_OF_IPV6: u128 = 1 << 124;
    const HALF_OF_IPV4: u128 = 1 << 31;
    let (mut ipv4, mut ipv6) = (0_u128, 0_u128);
    // Networks that overlap or lie side by side become one.
    for network in IpNet::aggregate(&networks.to_vec()) {
        let size = |bits: u8| {
            1_u128
                .checked_shl(u32::from(bits - network.prefix_len()))
                .unwrap_or(u128::MAX)
        };
        match network {
            IpNet::V4(_) => ipv4 = ipv4.saturating_add(size(32)),
            IpNet::V6(_) => ipv6 = ipv6.saturating_add(size(128)),
        }
    }
    ipv4 >= HALF_OF_IPV4 || ipv6 >= HALF_OF_IPV6
}

/// Whether a host of a URL is this machine: a loopback address, `localhost`, or the folder of a socket.
fn is_this_machine(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']);
    host.is_empty()
        || host.starts_with('/')
        || host.starts_with("%2F")
        || host.starts_with("%2f")
        || host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.to_canonical().is_loopback())
}

/// Whether what goes to this database can be read by who is on the way: another machine, and TLS is not required.
pub(super) fn is_readable_on_the_way(database: &Database) -> bool {
    let Database::Postgres { url } = database else {
        return false;
    };
    let Ok(url) = Url::parse(url.expose()) else {
        return false;
    };
    let parameter = |names: &[&str]| {
        url.query_pairs()
            .filter(|(name, _)| names.contains(&name.as_ref()))
            .last()
            .map(|(_, value)| value.into_owned())
    };
    let host =
        parameter(&["host", "hostaddr"]).unwrap_or_else(|| url.host_str().unwrap_or_default().to_owned());
    let mode = parameter(&["sslmode", "ssl-mode"]).unwrap_or_default();
    !is_this_machine(&host) && !matches!(mode.as_str(), "require" | "verify-ca" | "verify-full")
}

/// 32 random bytes that encrypt the keys which the database holds. Wiped when dropped, never printed.
#[derive(Clone)]
pub struct MasterKey(Zeroizing<[u8; 32]>);

impl MasterKey {
    /// From its bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// From base64 (RFC 4648), standard or URL-safe, with padding or without; `None` unless it is 32 bytes and not one
    /// byte repeated.
    pub fn from_base64(text: &str) -> Option<Self> {
        let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
        let alphabet = if text.contains(['-', '_']) {
            &alphabet::URL_SAFE
        } else {
            &alphabet::STANDARD
        };
        let decoded = Zeroizing::new(GeneralPurpose::new(alphabet, config).decode(text).ok()?);
        let bytes: [u8; 32] = decoded.as_slice().try_into().ok()?;
        let key = Self::new(bytes);
        let first = key.0[0];
        if key.0.iter().all(|byte| *byte == first) {
            None
        } else {
            Some(key)
        }
    }

    /// The bytes.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

pub(super) fn master_key(raw: &Raw) -> Parsed<MasterKey> {
    MasterKey::from_base64(text(raw)?).map_or_else(
        || {
            refused(
                "this is not 32 random bytes in base64",
                "`josoor-auth key generate` prints a good one",
            )
        },
        Ok,
    )
}

/// A shared secret worth its name: long enough (RFC 7518, 3.2, asks for the hash's length) and no placeholder.
pub(super) fn jwt_secret(raw: &Raw) -> Parsed<Secret> {
    const REMEDY: &str = "set JWT_SECRET to the output of `openssl rand -base64 48`, or leave it unset: one is \
                          generated and kept";
    let given = any_text(raw)?;
    if let Some(reason) = placeholder(given) {
        return refused(reason, REMEDY);
    }
    if given.len() < 32 {
        return refused("this secret is shorter than 32 bytes", REMEDY);
    }
    Ok(Secret::new(given))
}

/// Why a text is no secret, whatever its length.
fn placeholder(given: &str) -> Option<&'static str> {
    const WORDS: [&str; 22] = [
        "change-this",
        "change_this",
        "changethis",
        "change-me",
        "change_me",
        "changeme",
        "your-secret",
        "your_secret",
        "yoursecret",
        "your-256-bit",
        "replace-me",
        "replace_me",
        "replaceme",
        "replace-this",
        "replace_this",
        "example-secret",
        "example_secret",
        "placeholder",
        "super-secret",
        "supersecret",
        "abcdefghijklmnop",
        "0123456789",
    ];
    let lower = Zeroizing::new(given.to_ascii_lowercase());
    if WORDS.iter().any(|word| lower.contains(word)) {
        return Some("this is a placeholder that anybody can guess");
    }
    let bytes = given.as_bytes();
    let repeats = |period: usize| bytes.iter().zip(bytes.iter().skip(period)).all(|(a, b)| a == b);
    // The longest piece that is looked for keeps this short for texts of any length.
    if (1..=(bytes.len() / 2).min(256)).any(repeats) {
        return Some("this repeats one piece of text");
    }
    None
}

/// Where the data is.
#[derive(Clone, Debug)]
pub enum Database {
    /// A file of this machine.
    Sqlite {
        /// The file; a relative path starts at the working directory.
        path: PathBuf,
    },
    /// A PostgreSQL server, or what speaks its protocol.
    Postgres {
        /// `postgres://…` or `postgresql://…`.
        url: Secret,
    },
}

impl Database {
    /// Whether it is a file of this machine.
    pub const fn is_sqlite(&self) -> bool {
        matches!(self, Self::Sqlite { .. })
    }
}

pub(super) fn database(raw: &Raw) -> Parsed<Database> {
    const SUPPORTED: &str =
        "write sqlite://path, sqlite:///absolute/path or postgres://user:password@host:port/name";
    let given = text(raw)?;
    let Some((scheme, rest)) = given.split_once(':') else {
        return refused("this is not a database URL", SUPPORTED);
    };
    match scheme {
        "sqlite" => sqlite(rest),
        "postgres" | "postgresql" => {
            check_server_url(given)?;
            Ok(Database::Postgres {
                url: Secret::new(given),
            })
        }
        _ => match scheme.split_once('+') {
            // The forms of SQLAlchemy name a Python driver.
            Some(("postgres" | "postgresql", driver)) if rest.starts_with("//") => refused(
                format!("\"+{}\" names a driver of another program", shown(driver)),
                format!("write {}", without_userinfo(&format!("postgresql:{rest}"))),
            ),
            Some(("sqlite", driver)) => refused(
                format!("\"+{}\" names a driver of another program", shown(driver)),
                // There, three slashes begin a relative path and four an absolute one.
                format!(
                    "write sqlite://{}",
                    shown(rest.strip_prefix("///").unwrap_or("path"))
                ),
            ),
            _ => refused("only SQLite and PostgreSQL are supported", SUPPORTED),
        },
    }
}

fn sqlite(rest: &str) -> Parsed<Database> {
    let path = rest.strip_prefix("//").unwrap_or(rest);
    if path.contains(":memory:") || path.contains("mode=memory") {
        return refused(
            "a database in memory would lose every account when the process ends, and each connection would see its own",
            "write sqlite://path/to/file.db",
        );
    }
    if path.contains('?') {
        return refused(
            "parameters are not supported",
            "leave out what follows the question mark; the file is created when it is missing",
        );
    }
    let Ok(path) = percent_encoding::percent_decode_str(path).decode_utf8() else {
        return refused("the path is not UTF-8", "write sqlite://path/to/file.db");
    };
    if path.is_empty() || path.ends_with('/') || path.contains('\0') || path == "." || path == ".." {
        return refused("the path names no file", "write sqlite://path/to/file.db");
    }
    Ok(Database::Sqlite {
        path: PathBuf::from(path.as_ref()),
    })
}

/// Whether a URL with a password in it can be read in one way only.
fn check_server_url(given: &str) -> Parsed<()> {
    let encoded =
        "percent-encode special characters of the user and password (@ is %40, / is %2F, : is %3A, # is %23)";
    let Ok(url) = Url::parse(given) else {
        return refused("this is not a URL", encoded);
    };
    if !given.contains("://") || (url.host_str().unwrap_or("").is_empty() && url.query().is_none()) {
        return refused(
            "the URL names no host",
            "write scheme://user:password@host:port/name",
        );
    }
    if url.fragment().is_some()
        || url.path().contains('@')
        || url.query().is_some_and(|query| query.contains('@'))
    {
        return refused("the URL can be read in two ways", encoded);
    }
    Ok(())
}

/// A URL without its user, password and parameters; only its scheme, when it is not certain which part is which.
pub(super) fn without_userinfo(given: &str) -> String {
    let Some((scheme, rest)) = given.split_once("://") else {
        // `sqlite:path`
        return if given.starts_with("sqlite:") {
            shown(given)
        } else {
            "(set)".to_owned()
        };
    };
    if scheme == "sqlite" {
        return shown(given);
    }
    let (before_query, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = before_query
        .split_once('/')
        .map_or((before_query, String::new()), |(authority, path)| {
            (authority, format!("/{path}"))
        });
    let (userinfo, hosts) = match authority.rsplit_once('@') {
        Some((userinfo, hosts)) => (Some(userinfo), hosts),
        None => (None, authority),
    };
    let is_ambiguous = rest.contains('#')
        || path.contains('@')
        || query.contains('@')
        || userinfo.is_some_and(|userinfo| userinfo.contains('@'));
    let scheme = shown(scheme);
    if is_ambiguous {
        return format!("{scheme}://…");
    }
    let userinfo = if userinfo.is_some() { "…@" } else { "" };
    shown(&format!("{scheme}://{userinfo}{hosts}{path}"))
}

/// Where Redis is. The URL has been read.
#[derive(Clone, Debug)]
pub struct RedisTarget {
    /// As it was given, in one of the forms of [`RedisUrl`].
    pub url: Secret,
    /// What it leads to.
    pub kind: RedisKind,
    /// Whether what goes there can be read by who is on the way: another machine, and no TLS.
    pub is_readable_on_the_way: bool,
}

pub(super) fn redis(raw: &Raw) -> Parsed<RedisTarget> {
    let given = text(raw)?;
    match RedisUrl::parse(given) {
        Ok(url) => Ok(RedisTarget {
            url: Secret::new(given),
            kind: url.kind(),
            is_readable_on_the_way: !url.is_tls()
                && url.hosts().iter().any(|(host, _)| !is_this_machine(host)),
        }),
        Err(RedisUrlError(reason)) => refused(
            format!("this is not a URL of Redis that can be used: {reason}"),
            "write redis://[user:password@]host[:port][/database], or another of the forms in config.default.toml",
        ),
    }
}

pub(super) fn redis_prefix(raw: &Raw) -> Parsed<String> {
    let given = any_text(raw)?;
    let is_good = given.len() <= 64
        && given
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'_' | b'.' | b'-'));
    if is_good {
        Ok(given.to_owned())
    } else {
        refused(
            "this is not a prefix for keys",
            "use at most 64 of the letters a to z and A to Z, digits, `:`, `_`, `.`, `-`",
        )
    }
}

/// A schema's name that needs no quoting in SQL and is not PostgreSQL's own.
pub(super) fn schema(raw: &Raw) -> Parsed<String> {
    let given = text(raw)?;
    let mut bytes = given.bytes();
    let is_good = bytes
        .next()
        .is_some_and(|byte| byte.is_ascii_lowercase() || byte == b'_')
        && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        && given.len() <= 63;
    if !is_good {
        return refused(
            format!("{:?} is not a schema's name", shown(given)),
            "use lower-case letters, digits and _, at most 63, not beginning with a digit",
        );
    }
    if given.starts_with("pg_") || given == "information_schema" {
        return refused(
            format!("{given} belongs to PostgreSQL itself"),
            "choose another schema",
        );
    }
    Ok(given.to_owned())
}

/// A claim's text (`iss`, `aud`): RFC 7519 lets it be any string.
pub(super) fn claim(raw: &Raw) -> Parsed<String> {
    let given = text(raw)?;
    if given.len() > 255 || given.chars().any(char::is_control) {
        return refused(
            "this is longer than 255 bytes or has control characters",
            "write a short name or URL",
        );
    }
    Ok(given.to_owned())
}

pub(super) fn smtp_url(raw: &Raw) -> Parsed<Secret> {
    let given = text(raw)?;
    if !given.starts_with("smtp://") && !given.starts_with("smtps://") {
        return refused(
            "this is not a URL of a mail server",
            "begin it with smtp:// or smtps://",
        );
    }
    check_server_url(given)?;
    let Ok(url) = Url::parse(given) else {
        return refused("this is not a URL", "write smtp://user:password@host:port");
    };
    let mut tls = None;
    for (name, value) in url.query_pairs() {
        if name != "tls" || !matches!(value.as_ref(), "none" | "opportunistic" | "required") {
            return refused(
                "the URL has a parameter that is not known",
                "the only one is tls, which is none, opportunistic or required",
            );
        }
        tls = Some(value.into_owned());
    }
    let host = url.host_str().unwrap_or_default();
    let is_here = host == "localhost"
        || host
            .trim_matches(['[', ']'])
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    let unsafe_tls = given.starts_with("smtp://") && matches!(tls.as_deref(), Some("none" | "opportunistic"));
    if unsafe_tls && !url.username().is_empty() && !is_here {
        return refused(
            "the password would cross the network readable",
            "use smtps://, or leave tls out, so that STARTTLS is required",
        );
    }
    Ok(Secret::new(given))
}

/// A sender: `address` or `Name <address>` (RFC 5322, 3.4), on one line.
pub(super) fn mailbox(raw: &Raw) -> Parsed<String> {
    let given = text(raw)?;
    let address = match given.split_once('<') {
        Some((_, rest)) => rest.strip_suffix('>').unwrap_or(""),
        None => given,
    };
    let is_address = address
        .split_once('@')
        .is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty() && !domain.contains('@'));
    if !is_address
        || given.len() > 320
        || given.chars().any(char::is_control)
        || address.contains([' ', '<', '>', ','])
    {
        return refused(
            "this is not a sender's address",
            "write address@example.org, or Name <address@example.org>",
        );
    }
    Ok(given.to_owned())
}

/// The directives of what is logged.
pub(super) fn log_level(raw: &Raw) -> Parsed<String> {
    const REMEDY: &str =
        "write error, warn, info, debug, trace or off, also by module, such as info,josoor_auth=debug";
    const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
    let given = text(raw)?;
    if given.len() > 4096 {
        return refused("this is too long", REMEDY);
    }
    // A lone word that is no level counts as a module's name, and would silence everything else unnoticed.
    let stray = given
        .split(',')
        .map(str::trim)
        .find(|word| !word.contains('=') && !LEVELS.iter().any(|level| word.eq_ignore_ascii_case(level)));
    let is_stray = !given.contains(['[', '{']) && stray.is_some();
    if is_stray || tracing_subscriber::EnvFilter::builder().parse(given).is_err() {
        return refused(format!("{:?} does not say what to log", shown(given)), REMEDY);
    }
    Ok(given.to_owned())
}
