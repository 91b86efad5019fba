use super::*;
use crate::domain::Locale;

fn mail(to: &str, subject: &str) -> Mail {
    Mail {
        to: to.to_owned(),
        locale: Locale::En,
        message_id: "<1.x@localhost>".to_owned(),
        subject: subject.to_owned(),
        text: "text".to_owned(),
        html: "<p>html</p>".to_owned(),
        link: None,
        logo: None,
    }
}

fn write(mail: &Mail, from: &str) -> Result<String, SendError> {
    let sender = Sender::parse(from).expect("a sender");
    let address = Address::new(sender.local(), sender.domain()).expect("an address");
    let from = Mailbox::new(sender.name().map(str::to_owned), address);
    let to = message::address(&mail.to)?;
    let bytes = message::message(mail, &from, &to)?;
    Ok(String::from_utf8(bytes).expect("UTF-8"))
}

const FROM: &str = "JOSOOR <no-reply@example.org>";

#[test]
fn the_url_says_how_much_tls_is_asked_for() {
    for (url, expected) in [
        ("smtps://mail.example.org", Safety::Implicit),
        ("smtp://mail.example.org", Safety::Required),
        (
            "smtp://mail.example.org:25?tls=opportunistic",
            Safety::Opportunistic,
        ),
        ("smtp://mail.example.org?tls=none", Safety::Plain),
        ("smtp://localhost:1025", Safety::Opportunistic),
        ("smtp://localhost:1025?tls=required", Safety::Required),
    ] {
        assert_eq!(safety(&Url::parse(url).expect("a URL")), expected, "{url}");
    }
}

#[test]
fn t80_no_text_begins_a_header_field_of_its_own() {
    for subject in [
        "a\r\nBcc: evil@example.com",
        "a\nBcc: evil@example.com",
        "x\r\n.\r\nMAIL FROM:<a>",
    ] {
        let text = write(&mail("a@example.com", subject), FROM).expect("a mail");
        let head = text.split("\r\n\r\n").next().expect("a head");
        assert!(!head.lines().any(|line| line.starts_with("Bcc")), "{head}");
        assert!(!text.contains("\r\n.\r\n"), "{text}");
    }
    for to in [
        "a@example.com\r\nBcc: b@example.com",
        "a@example.com, b@example.com",
        "a@x@y",
        "",
    ] {
        assert!(
            matches!(write(&mail(to, "x"), FROM), Err(error) if error.effect == Effect::Never),
            "{to:?}"
        );
    }
}

#[test]
fn d7_domains_are_written_in_ascii() {
    for (to, written) in [
        ("a@bücher.example", "a@xn--bcher-kva.example"),
        ("info@مثال.إختبار", "info@xn--mgbh0fb.xn--kgbechtv"),
        ("Sara.A+x@EXAMPLE.com", "Sara.A+x@example.com"),
        ("سارة@مثال.إختبار", "سارة@xn--mgbh0fb.xn--kgbechtv"),
    ] {
        let address = message::address(to).expect(to);
        assert_eq!(AsRef::<str>::as_ref(&address), written);
    }
    let text = write(&mail("a@bücher.example", "x"), "JOSOOR <no-reply@bücher.example>").expect("a mail");
    assert!(text.is_ascii(), "{text}");
    for line in [
        "To: a@xn--bcher-kva.example\r\n",
        "From: JOSOOR <no-reply@xn--bcher-kva.example>\r\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
}

/// Whatever the configuration accepts as a sender can be written into a mail, on one line.
#[test]
fn d21_every_sender_that_is_accepted_can_be_written() {
    for (given, header) in [
        ("no-reply@example.org", "no-reply@example.org"),
        ("<no-reply@example.org>", "no-reply@example.org"),
        ("JOSOOR <no-reply@example.org>", "JOSOOR <no-reply@example.org>"),
        (
            "\"JOSOOR\" <no-reply@example.org>",
            "JOSOOR <no-reply@example.org>",
        ),
        // With other characters than letters the name is an encoded word (RFC 2047).
        ("JOSOOR, Inc. <x@example.org>", "=?utf-8?b?"),
        ("\"JOSOOR, Inc.\" <x@example.org>", "=?utf-8?b?"),
        ("a:b;c@d (e) [f] <g> <x@example.org>", "=?utf-8?b?"),
        (
            "JOSOOR \"Auth\" <x@example.org>",
            "\"JOSOOR \\\"Auth\\\"\" <x@example.org>",
        ),
        ("منصة <x@مثال.إختبار>", "=?utf-8?b?"),
        ("no-reply@localhost", "no-reply@localhost"),
        ("o'neil+a=b@sub.example.org", "o'neil+a=b@sub.example.org"),
    ] {
        let text = write(&mail("a@example.com", "x"), given).expect(given);
        let from = text.lines().find_map(|line| line.strip_prefix("From: "));
        let from = from.unwrap_or_else(|| panic!("{given}: {text}"));
        assert!(from.starts_with(header), "{given}: {from}");
        let sender = Sender::parse(given).expect("a sender");
        assert_eq!(Sender::parse(&sender.to_string()), Ok(sender), "{given}");
    }
}
