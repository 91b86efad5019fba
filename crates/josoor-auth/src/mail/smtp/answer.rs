//! What a failed try means for the mail and for all others.

use crate::store::MailError;

/// A step of the conversation with a mail server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Finding it and connecting.
    Connection,
    /// Its greeting and the answer to ours.
    Hello,
    /// Going over to TLS.
    Tls,
    /// Signing in.
    SignIn,
    /// Naming the sender.
    Sender,
    /// Naming the recipient.
    Recipient,
    /// The mail itself.
    Text,
}

impl Stage {
    /// The command of SMTP that the stage consists of.
    const fn command(self) -> &'static str {
        match self {
            Self::Connection => "the connection",
            Self::Hello => "EHLO",
            Self::Tls => "STARTTLS",
            Self::SignIn => "AUTH",
            Self::Sender => "MAIL FROM",
            Self::Recipient => "RCPT TO",
            Self::Text => "DATA",
        }
    }

    /// Whether what a server says here is about us, so that it repeats neither a recipient, a password nor a link.
    const fn is_quotable(self) -> bool {
        matches!(self, Self::Hello | Self::Sender)
    }
}

/// What becomes of a mail that was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// No mail would be sent now: the server is away, or does not take mail from us at all.
    Away,
    /// The server wants another try of this mail later (SMTP 4xx).
    Later,
    /// The server refuses (SMTP 5xx) for a reason that need not be this mail's: a right, a quota, a rule. It waits for the
    /// repair.
    Refused,
    /// The server has the whole mail and has not said whether it takes it: another try may make a second copy.
    Unknown,
    /// This mail will never be taken: its recipient, or what it says, is refused.
    Never,
}

/// Why a mail was not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendError {
    /// Where the conversation ended.
    pub stage: Stage,
    /// What it means.
    pub effect: Effect,
    /// The reason, with the server's codes.
    pub reason: MailError,
}

impl std::error::Error for SendError {}

impl std::fmt::Display for SendError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.what(), self.reason.text)
    }
}

impl SendError {
    /// A failure that no server has answered with.
    pub fn new(stage: Stage, effect: Effect, text: &str) -> Self {
        Self {
            stage,
            effect,
            reason: MailError::from(text),
        }
    }

    /// No answer came: the connection failed, or the time was over.
    pub(super) fn without_answer(stage: Stage, text: &str) -> Self {
        Self::new(stage, Effect::Away, text)
    }

    /// The outcome of a mail is not known: its whole text has gone out.
    pub fn unknown(text: &str) -> Self {
        Self::new(Stage::Text, Effect::Unknown, text)
    }

    /// The failure of a command.
    pub(super) fn of(stage: Stage, error: &lettre::transport::smtp::Error) -> Self {
        let Some(code) = error.status().map(u16::from) else {
            return Self::without_answer(stage, &one_line(&causes(error)));
        };
        let said = std::error::Error::source(error).map(ToString::to_string);
        Self::answered(stage, code, &said.unwrap_or_default())
    }

    /// The server has answered with a code of failure and a text.
    pub(super) fn answered(stage: Stage, code: u16, said: &str) -> Self {
        let status = enhanced_code(code, said);
        let mut text = format!("SMTP {code}");
        if let Some(status) = &status {
            text = format!("{text} {status}");
        }
        if stage != Stage::Text {
            text = format!("{text} to {}", stage.command());
        }
        if stage.is_quotable() {
            let rest = status.as_deref().and_then(|status| said.strip_prefix(status));
            let rest = one_line(rest.unwrap_or(said));
            if !rest.trim().is_empty() {
                text = format!("{text}: {}", rest.trim());
            }
        }
        Self {
            stage,
            effect: effect_of(stage, code, status.as_deref()),
            reason: MailError {
                code: Some(code),
                status,
                text,
            },
        }
    }

    const fn what(&self) -> &'static str {
        match (self.effect, self.stage) {
            (Effect::Away, Stage::Connection) => "the mail server is not available",
            (Effect::Away, _) => "the mail server takes no mail from here",
            (Effect::Later, _) => "the mail server wants another try later",
            (Effect::Refused, _) => "the mail server refuses",
            (Effect::Unknown, _) => "the mail server has not said whether it takes the mail",
            (Effect::Never, _) => "the mail was refused",
        }
    }
}

/// What an answer of failure means. RFC 5321 has no more to say of a reply code than "for now" and "for good"; what it is
/// about follows from the stage and from the enhanced status code (RFC 3463).
fn effect_of(stage: Stage, code: u16, status: Option<&str>) -> Effect {
    if !matches!(stage, Stage::Recipient | Stage::Text) {
        return Effect::Away;
    }
    match code {
        // Shutting down; signing in wanted, weak or failed: nothing of it is about this mail.
        421 | 454 | 530 | 534 | 535 | 538 => Effect::Away,
        400..=499 => Effect::Later,
        _ if is_about_the_mail(code, status) => Effect::Never,
        // Many servers report what they refuse about us, such as our name, with the recipient.
        _ => Effect::Refused,
    }
}

/// Whether an answer of refusal is about the recipient or the content, not about us, our rights or the state of the server.
fn is_about_the_mail(code: u16, status: Option<&str>) -> bool {
    let mut parts = status.unwrap_or_default().split('.').skip(1);
    match (parts.next(), parts.next()) {
        // Bad sender's address; a quota of ours.
        (Some("1"), Some("7" | "8")) | (Some("4"), Some("5")) => false,
        // With 3.4 the message is too big, here or for its recipient.
        (Some("1" | "2" | "4" | "6"), _) | (Some("3"), Some("4")) => true,
        (Some("3" | "5" | "7"), _) => false,
        // No such mailbox, not here, too much, not allowed, and no mail at this domain (RFC 7504).
        _ => matches!(code, 550..=553 | 556),
    }
}

/// The enhanced status code that a reply begins with (RFC 2034, 4), if it agrees with the reply code.
fn enhanced_code(code: u16, said: &str) -> Option<String> {
    let word = said.split_whitespace().next()?;
    let parts: Vec<&str> = word.split('.').collect();
    let is_number =
        |part: &&str| (1..=3).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
    let agrees = parts
        .first()
        .is_some_and(|class| *class == (code / 100).to_string());
    (parts.len() == 3 && parts.iter().all(is_number) && agrees).then(|| word.to_owned())
}

/// An error with the causes that its own text does not name.
fn causes(error: &lettre::transport::smtp::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        source = inner.source();
    }
    text
}

/// On one line, and not longer than a line of a log should be.
fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(300)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d5_d6_what_an_answer_means_follows_from_its_stage() {
        use Effect::{Away, Later, Never, Refused};
        use Stage::{Hello, Recipient, Sender, SignIn, Text, Tls};
        for (stage, code, said, effect) in [
            (
                Hello,
                504,
                "5.5.2 <vm>: Helo command rejected: need fully-qualified hostname",
                Away,
            ),
            (Hello, 550, "Invalid HELO", Away),
            (Hello, 554, "5.7.1 You are listed", Away),
            (Tls, 454, "4.7.0 TLS not available", Away),
            (SignIn, 535, "5.7.8 Authentication failed", Away),
            (SignIn, 550, "5.2.1 Mailbox of the user disabled", Away),
            (
                Sender,
                550,
                "5.7.60 Client does not have permissions to send as this sender",
                Away,
            ),
            (Sender, 553, "5.1.8 Sender address rejected", Away),
            (Sender, 451, "4.3.0 Try again", Away),
            (Recipient, 550, "5.1.1 No such user", Never),
            (Recipient, 550, "No such user", Never),
            (Recipient, 552, "5.2.2 Mailbox full", Never),
            (Recipient, 556, "5.1.10 No mail here", Never),
            (Recipient, 450, "4.2.0 Greylisted", Later),
            (Recipient, 421, "4.3.2 Shutting down", Away),
            (Recipient, 530, "5.7.0 Authentication required", Away),
            // What Postfix says of our name and of our rights, it says here.
            (
                Recipient,
                504,
                "5.5.2 <vm>: Helo command rejected: need fully-qualified hostname",
                Refused,
            ),
            (Recipient, 554, "5.7.1 Relay access denied", Refused),
            (Recipient, 503, "Bad sequence of commands", Refused),
            (Recipient, 553, "5.1.8 Sender domain not found", Refused),
            (Text, 550, "not now", Never),
            (Text, 550, "5.6.0 Content refused", Never),
            (Text, 552, "5.3.4 Too big", Never),
            (Text, 550, "5.4.5 Daily sending quota exceeded", Refused),
            (
                Text,
                554,
                "5.7.1 Not authorised to send from this domain",
                Refused,
            ),
            (
                Text,
                554,
                "Message rejected: Email address is not verified.",
                Refused,
            ),
            (Text, 451, "4.7.1 Try again", Later),
        ] {
            let error = SendError::answered(stage, code, said);
            assert_eq!(error.effect, effect, "{stage:?} {code} {said}");
            assert_eq!(error.reason.code, Some(code));
        }
    }

    #[test]
    fn d6_the_reason_has_the_codes_and_no_text_that_may_be_secret() {
        let text = |stage, code, said| SendError::answered(stage, code, said).reason;
        let reason = text(
            Stage::Sender,
            550,
            "5.7.60 SMTP; Client does not have permissions",
        );
        assert_eq!(reason.status.as_deref(), Some("5.7.60"));
        assert_eq!(
            reason.text,
            "SMTP 550 5.7.60 to MAIL FROM: SMTP; Client does not have permissions"
        );
        let said = "5.5.2 <vm>: Helo command rejected\r\nneed a name";
        assert_eq!(
            text(Stage::Hello, 504, said).text,
            "SMTP 504 5.5.2 to EHLO: <vm>: Helo command rejected  need a name"
        );
        assert_eq!(
            text(Stage::SignIn, 535, "5.7.8 hunter2").text,
            "SMTP 535 5.7.8 to AUTH"
        );
        assert_eq!(
            text(Stage::Recipient, 550, "5.1.1 a@example.com").text,
            "SMTP 550 5.1.1 to RCPT TO"
        );
        assert_eq!(text(Stage::Text, 550, "spam: https://x#token=y").text, "SMTP 550");
        // Not one, or not of this reply.
        for said in ["", "4.1.1 x", "5.1 x", "5.1.1234 x", "5.a.1 x", "5.1.1.1 x"] {
            assert_eq!(text(Stage::Recipient, 550, said).status, None, "{said}");
        }
    }
}
