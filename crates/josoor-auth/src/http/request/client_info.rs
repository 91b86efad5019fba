//! The client of a request, for limits and records.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};

use axum::extract::FromRequestParts;
use http::HeaderMap;
use http::request::Parts;

use crate::act::Client;
use crate::http::request::client_address::{FORWARDING, client_address, is_in, peer_address};
use crate::http::request::context::RequestContext;
use crate::http::request::user_agent::user_agent;
use crate::http::server::settings::HttpSettings;

/// The address, the user agent and the ids of the request; no actor.
#[derive(Clone, Debug)]
pub struct ClientInfo(pub Client);

impl<S: Send + Sync> FromRequestParts<S> for ClientInfo {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let context = RequestContext::of(&parts.extensions);
        let client_request_id = context.client_id.as_ref();
        Ok(Self(Client {
            ip: client_ip(parts).to_string(),
            user_agent: user_agent(&parts.headers),
            request_id: context.id.as_str().to_owned(),
            client_request_id: client_request_id.map_or_else(String::new, |id| id.as_str().to_owned()),
            actor: None,
        }))
    }
}

/// Warns about a proxy that is not listed, or that names its clients in another header than it should.
fn note_proxy(settings: &HttpSettings, peer: IpAddr, headers: &HeaderMap) {
    let Some(sent) = FORWARDING.into_iter().find(|name| headers.contains_key(name)) else {
        return;
    };
    let configured: &'static str = settings.forwarded_header.into();
    if !is_in(&settings.trusted_proxies, peer) {
        settings.warned.about_unlisted_proxy(peer, sent.as_str());
    } else if !headers.contains_key(configured) {
        settings
            .warned
            .about_other_header(peer, sent.as_str(), configured);
    }
}

/// The address of the client, as far as trusted proxies name it; see [`client_address`]. Without a connection (a request made
/// inside the process) it is the unspecified address.
pub(super) fn client_ip(parts: &Parts) -> IpAddr {
    let settings = RequestContext::settings_of(&parts.extensions);
    let Some(peer) = peer_address(parts) else {
        return IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    };
    note_proxy(&settings, peer, &parts.headers);
    let (trusted, header) = (&settings.trusted_proxies, settings.forwarded_header);
    client_address(peer, &parts.headers, trusted, header)
}
