//! Addresses, networks, origins and URLs.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;
use url::{Host, Url};

use super::raw::{Parsed, Raw, refused, shown};
use super::values::text;

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
            format!("{:?} is not an address; host names are not resolved", shown(host)),
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

    /// The host: a name in ASCII, or an address.
    pub fn host(&self) -> Option<Host<&str>> {
        self.url.host()
    }

    /// The host as the part of a mail address after the `@`.
    pub fn mail_domain(&self) -> String {
        match self.url.host() {
            Some(Host::Domain(name)) => name.trim_end_matches('.').to_owned(),
            // Few servers take a literal address from a sender, and on this machine none checks it.
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

/// The public URL when none is given: the listener's own address, by the name `localhost` where that is this machine's. `None` for a
/// port that is not known yet.
pub(super) fn default_public_url(address: IpAddr, port: u16) -> Option<PublicUrl> {
    let is_localhost = address.is_unspecified()
        || address == IpAddr::V4(Ipv4Addr::LOCALHOST)
        || address == IpAddr::V6(Ipv6Addr::LOCALHOST);
    let host = match address {
        _ if is_localhost => "localhost".to_owned(),
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    };
    if port == 0 {
        return None;
    }
    public_url(&Raw::text(format!("http://{host}:{port}"))).ok()
}

/// The name of a request header (RFC 9110, 5.1), in lower case.
pub(super) fn header_name(given: &str) -> Parsed<String> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if given == "*" || !given.bytes().all(is_token) || given.len() > 100 {
        return refused(
            format!("{:?} is not the name of a header", shown(given)),
            "name each header, such as x-tenant",
        );
    }
    Ok(given.to_ascii_lowercase())
}

/// An origin with `localhost` for `127.0.0.1`: to developers they are one place.
pub fn loopback_alike(origin: &str) -> String {
    match origin.split_once("://127.0.0.1") {
        Some((scheme, port)) if port.is_empty() || port.starts_with(':') => {
            format!("{scheme}://localhost{port}")
        }
        _ => origin.to_owned(),
    }
}

/// A web origin (RFC 6454), as a browser writes it: `scheme://host[:port]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin(String);

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
pub(super) fn is_this_machine(host: &str) -> bool {
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

/// Whether a URL with a password in it can be read in one way only.
pub(super) fn check_server_url(given: &str) -> Parsed<()> {
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
