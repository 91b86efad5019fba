//! `[registration]`: who may register.

use super::raw::{Parsed, Raw, refused, shown};
use super::reader::Reader;
use super::values::{self};
use crate::domain::Email;

/// Who may register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum RegistrationMode {
    /// Everyone.
    Open,
    /// Everyone, after verifying the address. No answer reveals which addresses are registered.
    VerifyFirst,
    /// No one; administrators invite.
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

impl Reader<'_> {
    pub(super) fn registration(&mut self) -> Option<RegistrationConfig> {
        let mode = self.read("registration.mode", values::variant);
        let require_verified = self.read("registration.require_verified", values::truth);
        let domains = |raw: &Raw| values::list(raw, mail_domain);
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
}

/// A mail domain with its subdomains, in ASCII form.
fn mail_domain(item: &str) -> Parsed<String> {
    let email = Email::parse(&format!("a@{item}")).ok();
    match email.filter(|_| !item.contains('@')) {
        Some(email) => Ok(email.domain().to_owned()),
        None => refused(
            format!("{:?} is not a mail domain", shown(item)),
            "write domains such as example.org; their subdomains are included",
        ),
    }
}
