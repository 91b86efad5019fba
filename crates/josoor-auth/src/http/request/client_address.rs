//! The address that a request comes from, also behind trusted proxies.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use axum::extract::ConnectInfo;
use http::request::Parts;
use http::{HeaderMap, HeaderName};
use ipnet::IpNet;

use crate::config::ForwardedHeader;
use crate::domain::canonical_address;

/// The other end of the connection.
pub(super) fn peer_address(parts: &Parts) -> Option<IpAddr> {
    parts
        .extensions
        .get::<ConnectInfo<SocketAddr>>()
        .map(|peer| canonical_address(peer.0.ip()))
}

const FORWARDED: HeaderName = HeaderName::from_static("forwarded");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// The headers in which proxies name their clients.
pub(super) const FORWARDING: [HeaderName; 3] = [FORWARDED, X_FORWARDED_FOR, X_REAL_IP];

/// Whether a peer is one of the trusted proxies.
pub fn is_trusted(peer: IpAddr, trusted: &[IpNet]) -> bool {
    is_in(trusted, canonical_address(peer))
}

pub(super) fn is_in(networks: &[IpNet], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&address))
}

/// The client's address behind `trusted` proxies, which name it in `header`.
///
/// A peer that is not trusted is the client, whatever it claims. Otherwise the list in the header is walked from its right
/// end, where the nearest proxy wrote, to the first address that is not trusted. An entry that is no address ends the walk
/// at the last proxy that was. The other headers of this kind are ignored: a proxy that does not write them may pass on
/// those of a client. Addresses are given in their one form ([`canonical_address`]).
pub fn client_address(
    peer: IpAddr,
    headers: &HeaderMap,
    trusted: &[IpNet],
    header: ForwardedHeader,
) -> IpAddr {
    let peer = canonical_address(peer);
    if !is_in(trusted, peer) {
        return peer;
    }
    let entries = match header {
        ForwardedHeader::XForwardedFor => entries(headers, &X_FORWARDED_FOR, parse_x_forwarded_for),
        ForwardedHeader::Forwarded => entries(headers, &FORWARDED, parse_forwarded),
        ForwardedHeader::XRealIp => {
            let mut lines = entries(headers, &X_REAL_IP, |line| vec![parse_node(line.trim())]);
            // The proxy writes one; of several, it is not known which one is the proxy's.
            if lines.len() > 1 {
                lines.clear();
            }
            lines
        }
    };
    let mut nearest = peer;
    for entry in entries.into_iter().rev() {
        let Some(address) = entry else {
            return nearest;
        };
        nearest = canonical_address(address);
        if !is_in(trusted, nearest) {
            return nearest;
        }
    }
    nearest
}

/// All entries of a list header, lines joined in their order (RFC 9110, 5.3). A line that is not ASCII is one entry
/// that is no address.
fn entries(
    headers: &HeaderMap,
    name: &HeaderName,
    parse: fn(&str) -> Vec<Option<IpAddr>>,
) -> Vec<Option<IpAddr>> {
    headers
        .get_all(name)
        .iter()
        .flat_map(|line| line.to_str().map_or_else(|_| vec![None], parse))
        .collect()
}

fn parse_x_forwarded_for(line: &str) -> Vec<Option<IpAddr>> {
    line.split(',').map(|entry| parse_node(entry.trim())).collect()
}

/// The `for` of every element of a `Forwarded` line (RFC 7239, 4). Elements without a `for` count as unknown.
fn parse_forwarded(line: &str) -> Vec<Option<IpAddr>> {
    split_outside_quotes(line, ',')
        .into_iter()
        .map(|element| {
            let mut nodes = split_outside_quotes(element, ';')
                .into_iter()
                .filter_map(|pair| pair.split_once('='))
                .filter(|(name, _)| name.trim().eq_ignore_ascii_case("for"));
            match (nodes.next(), nodes.next()) {
                (Some((_, value)), None) => parse_node(&unquote(value.trim())?),
                _ => None,
            }
        })
        .collect()
}

/// Splits at `separator`, but not inside of quoted strings.
fn split_outside_quotes(text: &str, separator: char) -> Vec<&str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(|character| {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            other => return other == separator && !quoted,
        }
        false
    })
    .collect()
}

/// A token as it is, a quoted string (RFC 9110, 5.6.4) without its quotes and escapes.
fn unquote(value: &str) -> Option<Cow<'_, str>> {
    let Some(inner) = value.strip_prefix('"') else {
        return Some(Cow::Borrowed(value));
    };
    let inner = inner.strip_suffix('"')?;
    let mut text = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        text.push(if character == '\\' {
            characters.next()?
        } else {
            character
        });
    }
    Some(Cow::Owned(text))
}

/// An address with or without a port, IPv6 with or without brackets. Obfuscated names (`_hidden`, `unknown`) and
/// zones are no addresses.
fn parse_node(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address);
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let port_is_well_formed = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        return port_is_well_formed
            .then(|| address.parse::<std::net::Ipv6Addr>().ok().map(IpAddr::V6))
            .flatten();
    }
    let (address, port) = text.split_once(':')?;
    is_port(port)
        .then(|| address.parse::<std::net::Ipv4Addr>().ok().map(IpAddr::V4))
        .flatten()
}

/// A port, or an obfuscated one (RFC 7239, 6).
fn is_port(text: &str) -> bool {
    let obfuscated = text.strip_prefix('_').is_some_and(|name| !name.is_empty());
    obfuscated || text.parse::<u16>().is_ok()
}

/// Whether the request comes from this machine and through no proxy: what pages for the operator alone ask. Any
/// header that a proxy leaves speaks against it.
pub fn is_direct_loopback(parts: &Parts) -> bool {
    const TRACES: [&str; 5] = ["forwarded", "via", "x-real-ip", "x-client-ip", "true-client-ip"];
    let proxied = parts
        .headers
        .keys()
        .any(|name| name.as_str().starts_with("x-forwarded") || TRACES.contains(&name.as_str()));
    !proxied && peer_address(parts).is_some_and(|peer| peer.is_loopback())
}

#[cfg(test)]
mod tests;
