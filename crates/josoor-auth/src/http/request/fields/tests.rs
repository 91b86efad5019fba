use http::StatusCode;
use proptest::prelude::*;

use super::*;

#[expect(clippy::unnecessary_wraps, reason = "it has the form of a parser")]
fn text(text: &str) -> Result<String, Invalid> {
    Ok(text.to_owned())
}

fn refused(body: &[u8]) -> (&'static str, StatusCode) {
    let problem = Fields::from_json(body).expect_err("accepted");
    (problem.code.code, problem.status)
}

#[test]
fn json_is_read_strictly() {
    for bad in [
        &b""[..],
        b"{",
        b"{\"a\":1,}",
        b"{} x",
        b"{}{}",
        b"\xef\xbb\xbf{}",
        b"{\"a\":\"\xff\"}",
        b"{\"a\":1,\"a\":2}",
        br#"{"email":"a","\u0065mail":"b"}"#,
        br#"{"a":{"b":1,"b":2}}"#,
        br#"{"a":"\ud800"}"#,
        br#"{"a":"\udc00\ud800"}"#,
        br#"{"a":1e999}"#,
        b"{'a':1}",
        b"{\"a\":NaN}",
        b"{\"a\":\"\n\"}",
    ] {
        let what = String::from_utf8_lossy(bad).into_owned();
        assert_eq!(
            refused(bad),
            ("malformed_json", StatusCode::BAD_REQUEST),
            "{what}"
        );
    }
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(5000), "]".repeat(5000));
    assert_eq!(refused(deep.as_bytes()).0, "malformed_json");
    for other in ["[]", "null", "1", "\"text\"", "true"] {
        let problem = Fields::from_json(other.as_bytes()).expect_err("accepted");
        assert_eq!(problem.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(problem.errors[0].field, "");
        assert_eq!(problem.errors[0].code, "invalid_type");
    }
}

#[test]
fn a_complaint_about_json_never_quotes_it() {
    let problem = Fields::from_json(br#"{"password":"hunter2" oops}"#).expect_err("accepted");
    assert!(!problem.detail.contains("hunter2"), "{}", problem.detail);
    assert!(problem.detail.contains("line 1"), "{}", problem.detail);
    assert!(!format!("{:?}", Fields::from_json(br#"{"password":"hunter2"}"#)).contains("hunter2"));
}

#[test]
fn every_complaint_is_collected() {
    let mut fields = Fields::from_json(br#"{"email":5,"role":"king","is_active":"yes","name":null}"#)
        .expect("well-formed");
    assert_eq!(fields.required("email", text), None);
    assert_eq!(fields.required("password", text), None);
    assert_eq!(
        fields.optional("role", |_| Err::<(), _>(Invalid::new(
            "unknown_role",
            "No such role."
        ))),
        None
    );
    assert_eq!(fields.bool("is_active"), None);
    assert_eq!(fields.optional("name", text), None);
    let Err(Error::Invalid(errors)) = fields.finish() else {
        panic!("accepted");
    };
    let reported: Vec<_> = errors
        .iter()
        .map(|error| (error.field.as_str(), error.code))
        .collect();
    assert_eq!(
        reported,
        [
            ("email", "invalid_type"),
            ("password", "required"),
            ("role", "unknown_role"),
            ("is_active", "invalid_type")
        ]
    );
}

#[test]
fn trials_a11_unknown_fields_are_reported_before_anything_else_and_not_alone() {
    let mut fields = Fields::from_json(br#"{"username":"ada"}"#).expect("well-formed");
    assert_eq!(fields.required("email", text), None);
    let Err(Error::UnknownFields(errors)) = fields.finish() else {
        panic!("accepted");
    };
    let reported: Vec<_> = errors
        .iter()
        .map(|error| (error.field.as_str(), error.code))
        .collect();
    assert_eq!(reported, [("username", "unknown_field"), ("email", "required")]);
    let many: Vec<_> = (0..5000).map(|number| format!("\"f{number}\":0")).collect();
    let fields = Fields::from_json(format!("{{{}}}", many.join(",")).as_bytes()).expect("well-formed");
    let Err(Error::UnknownFields(errors)) = fields.finish() else {
        panic!("accepted");
    };
    assert_eq!(errors.len(), MAX_COMPLAINTS);
}

#[test]
fn a_patch_tells_absent_from_null() {
    let read = |body: &[u8]| {
        let mut fields = Fields::from_json(body).expect("well-formed");
        let change = fields.optional_nullable("full_name", text);
        fields.finish().map(|()| change).expect("acceptable")
    };
    assert_eq!(read(b"{}"), Change::Keep);
    assert_eq!(read(br#"{"full_name":null}"#), Change::Clear);
    assert_eq!(read(br#"{"full_name":"x"}"#), Change::Set("x".to_owned()));
}

#[test]
fn query_strings_are_read_strictly() {
    let mut fields = Fields::from_query("q=a+b%20%D8%B3&is_active=true&&empty=").expect("decodes");
    assert_eq!(fields.optional("q", text).as_deref(), Some("a b س"));
    assert_eq!(fields.bool("is_active"), Some(true));
    assert_eq!(fields.optional("empty", text).as_deref(), Some(""));
    assert!(fields.finish().is_ok());

    for bad in ["q=%", "q=%4", "q=%zz", "q=%ff", "%c0%80=1", "q=%ED%A0%80"] {
        let problem = Fields::from_query(bad).expect_err(bad);
        assert_eq!(problem.status, StatusCode::BAD_REQUEST, "{bad}");
    }
    for (bad, code) in [
        ("q=a%00b", "invalid_characters"),
        ("q=1&q=2", "duplicate"),
        ("q=1&%71=2", "duplicate"),
    ] {
        let mut fields = Fields::from_query(bad).expect("decodes");
        let _ = fields.optional("q", text);
        let Err(Error::Invalid(errors)) = fields.finish() else {
            panic!("{bad} accepted");
        };
        assert_eq!(errors[0].code, code);
    }
    let fields = Fields::from_query("surprise=1").expect("decodes");
    assert!(matches!(fields.finish(), Err(Error::UnknownFields(_))));
}

proptest! {
    #[test]
    fn reading_never_panics(bytes: Vec<u8>, query in "\\PC{0,80}") {
        let _ = Fields::from_json(&bytes);
        let _ = Fields::from_query(&query);
    }
}
