//! `[passkeys]`: for which host or domain passkeys are, and on whose pages they may be used.

use url::Host;

use super::raw::{Parsed, Raw, refused};
use super::reader::Reader;
use super::urls::{self, Origin, PublicUrl};
use super::values::{self, optional, text};

/// `[passkeys]`
#[derive(Clone, Debug)]
pub struct PasskeysConfig {
    /// The host or domain that passkeys are for (the RP ID of WebAuthn level 3, 5.4.2).
    pub rp_id: String,
    /// The origins whose pages may use them, that of the public URL first.
    pub origins: Vec<String>,
    /// Whether browsers can have any: not for a host that is an address.
    pub is_offered: bool,
}

impl Reader<'_> {
    pub(super) fn passkeys(&mut self, public_url: Option<&PublicUrl>) -> Option<PasskeysConfig> {
        let rp_id = self.read("passkeys.rp_id", |raw| optional(raw, domain));
        let origins = self.read("passkeys.origins", |raw| values::list(raw, urls::origin));
        let public_url = public_url?;
        let (host, is_name) = match public_url.host()? {
            Host::Domain(name) => (name.to_owned(), true),
            address => (address.to_string(), false),
        };
        if let Some(Some(rp_id)) = &rp_id
            && !(is_name && is_at_or_above(rp_id, &host))
        {
            self.problem(
                "passkeys.rp_id",
                format!("this is neither the host of PUBLIC_URL, {host}, nor a domain that it is below"),
                "write the domain that all of your pages share, or leave it out",
            );
        }
        let own = public_url.origin();
        let others = origins?.into_iter().map(|origin: Origin| origin.to_string());
        let others = others.filter(|origin| *origin != own).collect::<Vec<_>>();
        Some(PasskeysConfig {
            rp_id: rp_id?.unwrap_or(host),
            origins: [vec![own], others].concat(),
            is_offered: is_name,
        })
    }
}

/// Whether a host is this domain or below it. A domain of one label is for itself alone.
fn is_at_or_above(domain: &str, host: &str) -> bool {
    let below = host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
    host == domain || (below && domain.contains('.'))
}

fn domain(raw: &Raw) -> Parsed<String> {
    let given = text(raw)?;
    match Host::parse(given) {
        Ok(Host::Domain(name)) if name == given => Ok(name),
        _ => refused(
            "this is no domain in lower-case ASCII",
            "write a domain like example.com, without a scheme and a port",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::is_at_or_above;

    #[test]
    fn a_domain_is_compared_by_whole_labels() {
        for (domain, host) in [
            ("example.com", "auth.example.com"),
            ("example.com", "example.com"),
            ("localhost", "localhost"),
        ] {
            assert!(is_at_or_above(domain, host), "{domain} {host}");
        }
        for (domain, host) in [
            ("example.com", "evilexample.com"),
            ("com", "example.com"),
            ("auth.example.com", "example.com"),
            ("example.org", "example.com"),
            ("localhost", "app.localhost"),
        ] {
            assert!(!is_at_or_above(domain, host), "{domain} {host}");
        }
    }
}
