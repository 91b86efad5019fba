use std::io::ErrorKind;
use std::net::TcpListener;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair,
    RsaPublicKeyComponents,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use josoor_auth_verify::{
    Algorithm, KeyError, MAX_TOKEN_BYTES, Refusal, Role, TokenVerifier, VerificationKey, bearer_token,
};
use jsonwebtoken::EncodingKey;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{ISSUER, NOW, SECRET, SESSION, claims, header, sign, sign_texts, token, verifier, with};

fn refused(token: &str) {
    assert_eq!(
        verifier().verify(token, NOW),
        Err(Refusal::TokenInvalid),
        "{token}"
    );
}

#[test]
fn a_right_token_gives_its_claims() {
    let claims = verifier().verify(&token(), NOW).unwrap();
    assert_eq!(claims.iss, ISSUER);
    assert_eq!(claims.sub, 42);
    assert_eq!(claims.email, "layla@example.org");
    assert_eq!(claims.role, Role::Analyst);
    assert_eq!(claims.sid.to_string(), SESSION);
    assert_eq!(claims.generation, 3);
    assert_eq!((claims.iat, claims.exp), (NOW - 10, NOW + 300));
    assert_eq!(claims.aud, None);
    for typ in ["at+jwt", "application/at+jwt", "AT+JWT"] {
        let token = sign(&with(header(), json!({"typ": typ})), &self::claims());
        assert!(verifier().verify(&token, NOW).is_ok(), "{typ}");
    }
}

#[test]
fn expiry_has_no_leeway_and_is_said_of_genuine_tokens_only() {
    let expires_at = |exp: i64| sign(&header(), &with(claims(), json!({"exp": exp})));
    assert!(verifier().verify(&expires_at(NOW + 1), NOW).is_ok());
    assert_eq!(
        verifier().verify(&expires_at(NOW), NOW),
        Err(Refusal::TokenExpired)
    );
    assert_eq!(verifier().verify(&expires_at(0), NOW), Err(Refusal::TokenExpired));
    let expired = json!({"exp": NOW - 1});
    for wrong in [
        json!({"iss": "https://evil.example"}),
        json!({"type": "refresh"}),
        json!({"sid": null}),
    ] {
        refused(&sign(&header(), &with(with(claims(), expired.clone()), wrong)));
    }
    let mut forged = expires_at(NOW - 1);
    forged.replace_range(forged.len() - 8.., "AAAAAAAA");
    refused(&forged);
}

#[test]
fn issued_and_not_before_may_lie_a_minute_ahead() {
    let at = |name: &str, time: i64| sign(&header(), &with(claims(), json!({name: time, "exp": NOW + 999})));
    for name in ["iat", "nbf"] {
        assert!(verifier().verify(&at(name, NOW + 60), NOW).is_ok(), "{name}");
        refused(&at(name, NOW + 61));
    }
    assert_eq!(verifier().verify(&token(), i64::MIN), Err(Refusal::TokenInvalid));
    assert_eq!(verifier().verify(&token(), i64::MAX), Err(Refusal::TokenExpired));
}

#[test]
fn the_key_id_chooses_the_key() {
    let other_secret = [7; 32];
    let key = |kid: Option<&str>, secret: &[u8]| {
        VerificationKey::hmac(kid.map(str::to_owned), Algorithm::HS256, secret).unwrap()
    };
    let two = TokenVerifier::new(ISSUER, None)
        .with_key(key(Some("k0"), &other_secret))
        .with_key(key(Some("k1"), SECRET));
    assert!(two.verify(&token(), NOW).is_ok());
    let named = |kid: Value| sign(&with(header(), json!({"kid": kid})), &claims());
    assert_eq!(two.verify(&named(json!("k0")), NOW), Err(Refusal::TokenInvalid));
    assert_eq!(two.verify(&named(json!("k2")), NOW), Err(Refusal::TokenInvalid));
    assert_eq!(two.verify(&named(Value::Null), NOW), Err(Refusal::TokenInvalid));
    assert!(two.lacks_key_for(&named(json!("k2"))));
    assert!(!two.lacks_key_for(&named(json!("k0"))));
    assert!(!two.lacks_key_for("x.y.z"));

    let only = TokenVerifier::new(ISSUER, None).with_key(key(None, SECRET));
    assert!(only.verify(&named(Value::Null), NOW).is_ok());
    assert!(
        only.verify(&token(), NOW).is_ok(),
        "one nameless key fits every key id"
    );
    let no_longer_alone = only.with_key(key(Some("k0"), &other_secret));
    assert_eq!(
        no_longer_alone.verify(&named(Value::Null), NOW),
        Err(Refusal::TokenInvalid)
    );

    let replaced = two.with_key(key(Some("k1"), &other_secret));
    assert_eq!(replaced.keys().len(), 2);
    assert_eq!(replaced.verify(&token(), NOW), Err(Refusal::TokenInvalid));
    assert_eq!(
        TokenVerifier::new(ISSUER, None).verify(&token(), NOW),
        Err(Refusal::TokenInvalid)
    );
}

#[test]
fn every_algorithm_verifies_its_own_signatures_and_no_others() {
    for pair in key_pairs() {
        let verifier = TokenVerifier::new(ISSUER, None).with_key(pair.public.clone());
        let named = |alg: &str| with(header(), json!({"alg": alg})).to_string();
        let claims = claims().to_string();
        let token = sign_texts(
            &named(pair.algorithm.as_str()),
            &claims,
            &pair.private,
            pair.algorithm,
        );
        assert!(verifier.verify(&token, NOW).is_ok(), "{}", pair.algorithm);
        for other in Algorithm::ALL
            .into_iter()
            .filter(|other| *other != pair.algorithm)
        {
            let token = sign_texts(&named(other.as_str()), &claims, &pair.private, pair.algorithm);
            assert_eq!(
                verifier.verify(&token, NOW),
                Err(Refusal::TokenInvalid),
                "{other} for {}",
                pair.algorithm
            );
        }
        let from_jwk = VerificationKey::from_jwk(&pair.jwk).unwrap();
        assert_eq!(
            (from_jwk.kid(), from_jwk.algorithm()),
            (Some("k1"), pair.algorithm)
        );
        let verifier = TokenVerifier::new(ISSUER, None).with_key(from_jwk);
        assert!(
            verifier.verify(&token, NOW).is_ok(),
            "{} from a JWK",
            pair.algorithm
        );
    }
    for algorithm in [Algorithm::HS384, Algorithm::HS512] {
        let key = VerificationKey::hmac(Some("k1".to_owned()), algorithm, SECRET).unwrap();
        let header = with(header(), json!({"alg": algorithm.as_str()})).to_string();
        let token = sign_texts(
            &header,
            &claims().to_string(),
            &EncodingKey::from_secret(SECRET),
            algorithm,
        );
        assert!(
            TokenVerifier::new(ISSUER, None)
                .with_key(key)
                .verify(&token, NOW)
                .is_ok()
        );
    }
}

#[test]
fn keys_that_are_not_what_they_should_be_are_refused() {
    let hmac = |algorithm, secret: &[u8]| VerificationKey::hmac(None, algorithm, secret).unwrap_err();
    assert_eq!(hmac(Algorithm::HS256, &[1; 31]), KeyError::WeakSecret);
    assert_eq!(hmac(Algorithm::EdDSA, SECRET), KeyError::WrongAlgorithm);
    for kid in ["", "a b", "\u{e9}", &"k".repeat(129)] {
        let error = VerificationKey::hmac(Some(kid.to_owned()), Algorithm::HS256, SECRET).unwrap_err();
        assert_eq!(error, KeyError::KeyId, "{kid:?}");
    }
    for algorithm in Algorithm::ALL {
        assert!(VerificationKey::from_public(None, algorithm, SECRET.get(..31).unwrap()).is_err());
        assert!(VerificationKey::from_public(None, algorithm, b"").is_err());
    }
    for pair in key_pairs() {
        let error = |changes| VerificationKey::from_jwk(&with(pair.jwk.clone(), changes)).unwrap_err();
        assert_eq!(error(json!({"d": "AAAA"})), KeyError::PrivateKey);
        assert_eq!(error(json!({"alg": "HS256"})), KeyError::WrongAlgorithm);
        assert_eq!(error(json!({"use": "enc"})), KeyError::WrongAlgorithm);
        assert_eq!(
            error(json!({"kty": "oct", "k": "AAAA"})),
            KeyError::WrongAlgorithm
        );
        assert_eq!(error(json!({"kty": "none"})), KeyError::Malformed);
        assert_eq!(error(json!({"kid": 1})), KeyError::Malformed);
        assert_eq!(error(json!({"x": "AA", "n": "AA"})), KeyError::Malformed);
    }
    assert!(VerificationKey::from_jwk(&json!([])).is_err());
}

#[test]
fn debug_shows_no_secret() {
    let shown = format!("{:?}", verifier());
    assert!(shown.contains("k1") && shown.contains("HS256"), "{shown}");
    let bytes = format!("{SECRET:?}");
    assert!(
        !shown.contains("nyfIT") && !shown.contains(bytes.trim_matches(['[', ']'])),
        "{shown}"
    );
}

#[test]
fn doubled_members_are_refused() {
    let key = EncodingKey::from_secret(SECRET);
    let signed = |header: &str, claims: &str| sign_texts(header, claims, &key, Algorithm::HS256);
    let doubled = |base: &Value, more: &str| base.to_string().replacen('{', &format!("{{{more},"), 1);
    for more in [
        r#""sub":"1""#,
        r#""\u0073ub":"1""#,
        r#""role":"admin""#,
        r#""x":1,"x":1"#,
    ] {
        refused(&signed(&header().to_string(), &doubled(&claims(), more)));
    }
    for more in [r#""alg":"HS256""#, r#""kid":"k1""#, r#""x":{"y":1,"y":1}"#] {
        refused(&signed(&doubled(&header(), more), &claims().to_string()));
    }
    // The same by way of contrast: one unknown member more is nothing.
    let token = signed(&doubled(&header(), r#""x":1"#), &doubled(&claims(), r#""x":1"#));
    assert!(verifier().verify(&token, NOW).is_ok());
}

#[test]
fn t46_a_token_that_was_cut_flipped_or_spelt_otherwise_is_refused() {
    let token = token();
    for length in 0..token.len() {
        refused(&token[..length]);
        refused(&token[token.len() - length..]);
    }
    for index in 0..token.len() {
        for bit in 0..7 {
            let mut bytes = token.clone().into_bytes();
            bytes[index] ^= 1 << bit;
            refused(std::str::from_utf8(&bytes).unwrap());
        }
    }
    let parts: Vec<&str> = token.split('.').collect();
    for (index, part) in parts.iter().enumerate() {
        let respelt = |part: String| {
            let mut parts: Vec<String> = parts.iter().map(|part| (*part).to_owned()).collect();
            parts[index] = part;
            parts.join(".")
        };
        for padding in ["=", "==", "A", "AAAA", " ", "\n", "%3D", "."] {
            refused(&respelt(format!("{part}{padding}")));
            refused(&respelt(format!("{padding}{part}")));
        }
        refused(&respelt(String::new()));
        let standard = STANDARD.encode(URL_SAFE_NO_PAD.decode(part).unwrap());
        if standard != *part {
            refused(&respelt(standard));
        }
    }
    // 32 bytes take 43 characters, the last of which has two bits to spare; both spellings stand for the same bytes.
    let alias = respell_last(&token);
    assert_ne!(alias, token);
    refused(&alias);
    // A signature with the characters that differ between base64 and base64url.
    let with_dashes = (0..1000)
        .map(|number| sign(&header(), &with(claims(), json!({"jti": format!("n{number}")}))))
        .find(|token| token.rsplit('.').next().unwrap().contains(['-', '_']))
        .unwrap();
    assert!(verifier().verify(&with_dashes, NOW).is_ok());
    let (signed, signature) = with_dashes.rsplit_once('.').unwrap();
    refused(&format!(
        "{signed}.{}",
        signature.replace('-', "+").replace('_', "/")
    ));
}

/// The token with its last character replaced by the next one, which differs in bits that carry nothing.
fn respell_last(token: &str) -> String {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (rest, last) = token.split_at(token.len() - 1);
    let index = ALPHABET.find(last).unwrap();
    assert_eq!(index % 4, 0);
    format!("{rest}{}", &ALPHABET[index + 1..index + 2])
}

#[test]
fn t49_times_and_other_claims_of_a_wrong_type_are_refused() {
    let key = EncodingKey::from_secret(SECRET);
    let wrong_numbers = [
        "\"1790000300\"",
        "1e308",
        "1.790000300e9",
        "1790000300.5",
        "1790000300.0",
        "-1",
        "-1790000300",
        "null",
        "[1790000300]",
        "{}",
        "true",
        "false",
        "\"\"",
        "99999999999999999999",
        "9223372036854775807",
        "253402300800",
    ];
    for name in ["exp", "iat", "nbf", "gen"] {
        for wrong in wrong_numbers {
            // `gen` is a count, not a time; only these two are too large for a time and not for a count.
            if name == "gen" && ["9223372036854775807", "253402300800"].contains(&wrong) {
                continue;
            }
            let claims = with(claims(), json!({name: "HERE"}))
                .to_string()
                .replace("\"HERE\"", wrong);
            refused(&sign_texts(
                &header().to_string(),
                &claims,
                &key,
                Algorithm::HS256,
            ));
        }
    }
    let wrong_texts = [
        json!(42),
        json!(""),
        json!(["42"]),
        json!({"a": 1}),
        json!(true),
        json!("\u{0}"),
    ];
    for name in ["sub", "sid", "role", "type", "iss"] {
        for wrong in &wrong_texts {
            refused(&sign(&header(), &with(claims(), json!({name: wrong}))));
        }
    }
    for name in ["email", "jti"] {
        for wrong in [json!(42), json!(["x"]), json!(false)] {
            refused(&sign(&header(), &with(claims(), json!({name: wrong}))));
        }
    }
    refused(&sign(&header(), &with(claims(), json!({"jti": ""}))));
    for sub in [
        "0",
        "-1",
        "+42",
        "042",
        " 42",
        "42 ",
        "4_2",
        "42.0",
        "9223372036854775808",
        "\u{664}\u{662}",
    ] {
        refused(&sign(&header(), &with(claims(), json!({"sub": sub}))));
    }
    let bare = SESSION.replace('-', "");
    for sid in [
        bare.as_str(),
        &SESSION.to_uppercase(),
        &format!("{{{SESSION}}}"),
        &format!("urn:uuid:{SESSION}"),
    ] {
        refused(&sign(&header(), &with(claims(), json!({"sid": sid}))));
    }
    refused(&sign(&header(), &with(claims(), json!({"role": "Admin"}))));
    for whole in ["[]", "null", "\"x\"", "1", "", "{", "{}", "[{}]"] {
        refused(&sign_texts(&header().to_string(), whole, &key, Algorithm::HS256));
    }
}

#[test]
fn claims_about_the_sign_in_are_read_where_they_are_there() {
    let read = |changes: Value| verifier().verify(&sign(&header(), &with(claims(), changes)), NOW);
    let without = read(json!({})).unwrap();
    assert_eq!((without.auth_time, without.acr), (None, None));
    assert!(without.amr.is_empty());
    // Methods and levels that this release does not know are accepted.
    let given = read(json!({"auth_time": NOW - 60, "amr": ["pwd", "hwk", "new"], "acr": "3"})).unwrap();
    assert_eq!(
        (given.auth_time, given.acr.as_deref()),
        (Some(NOW - 60), Some("3"))
    );
    assert_eq!(given.amr, ["pwd", "hwk", "new"]);
    for wrong in [
        json!({"auth_time": "now"}),
        json!({"auth_time": 1.5}),
        json!({"amr": "pwd"}),
        json!({"amr": [1]}),
        json!({"acr": 1}),
    ] {
        assert_eq!(read(wrong).unwrap_err(), Refusal::TokenInvalid);
    }
}

#[test]
fn t50_a_well_signed_token_without_a_claim_that_we_rely_on_is_refused() {
    for name in [
        "iss", "sub", "email", "role", "type", "sid", "gen", "jti", "iat", "exp",
    ] {
        refused(&sign(&header(), &with(claims(), json!({name: null}))));
    }
    for name in ["typ", "alg", "kid"] {
        refused(&sign(&with(header(), json!({name: null})), &claims()));
    }
    for typ in [
        json!("JWT"),
        json!("rt+jwt"),
        json!("jwt"),
        json!(""),
        json!("at+jwt "),
        json!("application/jwt"),
        json!("application/application/at+jwt"),
        json!(1),
        json!(["at+jwt"]),
    ] {
        refused(&sign(&with(header(), json!({"typ": typ})), &claims()));
    }
    for kind in ["refresh", "id", "ACCESS", "access "] {
        refused(&sign(&header(), &with(claims(), json!({"type": kind}))));
    }
}

#[test]
fn t51_only_the_very_issuer_and_the_very_audience_will_do() {
    for iss in [
        "",
        "https://auth.example.or",
        "https://auth.example.org/",
        "https://auth.example.org.evil.example",
        "HTTPS://auth.example.org",
        " https://auth.example.org",
        "auth.example.org",
    ] {
        refused(&sign(&header(), &with(claims(), json!({"iss": iss}))));
    }
    refused(&sign(&header(), &with(claims(), json!({"iss": [ISSUER]}))));
    let with_audience = |aud: Value| sign(&header(), &with(claims(), json!({"aud": aud})));
    refused(&with_audience(json!("reports")));
    refused(&with_audience(json!("")));
    refused(&with_audience(json!([])));
    let null = claims().to_string().replacen('{', r#"{"aud":null,"#, 1);
    refused(&sign_texts(
        &header().to_string(),
        &null,
        &EncodingKey::from_secret(SECRET),
        Algorithm::HS256,
    ));

    let key = VerificationKey::hmac(Some("k1".to_owned()), Algorithm::HS256, SECRET).unwrap();
    let reports = TokenVerifier::new(ISSUER, Some("reports".to_owned())).with_key(key);
    assert_eq!(
        reports
            .verify(&with_audience(json!("reports")), NOW)
            .unwrap()
            .aud
            .as_deref(),
        Some("reports")
    );
    assert_eq!(reports.verify(&token(), NOW), Err(Refusal::TokenInvalid));
    for wrong in [
        json!("report"),
        json!("reports2"),
        json!("Reports"),
        json!(["reports"]),
        json!(7),
        json!({}),
    ] {
        assert_eq!(
            reports.verify(&with_audience(wrong.clone()), NOW),
            Err(Refusal::TokenInvalid),
            "{wrong}"
        );
    }
}

#[test]
fn t52_the_header_does_not_choose_the_algorithm() {
    for alg in [
        "none", "None", "nOnE", "NONE", "", "hs256", "HS256 ", "PS256", "HS1",
    ] {
        let unsigned = format!(
            "{}.{}.",
            URL_SAFE_NO_PAD.encode(with(header(), json!({"alg": alg})).to_string()),
            URL_SAFE_NO_PAD.encode(claims().to_string())
        );
        refused(&unsigned);
        refused(unsigned.trim_end_matches('.'));
        refused(&format!("{unsigned}AA"));
        refused(&sign(&with(header(), json!({"alg": alg})), &claims()));
    }
    for alg in [json!(null), json!(256), json!(["HS256"])] {
        refused(&sign(&with(header(), json!({"alg": alg})), &claims()));
    }
    // The public key, in every spelling that one might find it in, as the secret of an HMAC.
    for pair in key_pairs() {
        let verifier = TokenVerifier::new(ISSUER, None).with_key(pair.public.clone());
        let lines: Vec<String> = STANDARD
            .encode(&pair.der)
            .as_bytes()
            .chunks(64)
            .map(|line| String::from_utf8(line.to_vec()).unwrap())
            .collect();
        let pem = format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
            lines.join("\n")
        );
        let secrets = [
            pem.clone().into_bytes(),
            pem.trim_end().as_bytes().to_vec(),
            pem.replace('\n', "\r\n").into_bytes(),
            STANDARD.encode(&pair.der).into_bytes(),
            pair.der.clone(),
            pair.jwk.to_string().into_bytes(),
            pair.jwk["x"]
                .as_str()
                .or(pair.jwk["n"].as_str())
                .unwrap()
                .as_bytes()
                .to_vec(),
            Vec::new(),
        ];
        for secret in secrets {
            for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
                let key = EncodingKey::from_secret(&secret);
                for named in [algorithm, pair.algorithm] {
                    let header = with(header(), json!({"alg": named.as_str()})).to_string();
                    let forged = sign_texts(&header, &claims().to_string(), &key, algorithm);
                    assert_eq!(verifier.verify(&forged, NOW), Err(Refusal::TokenInvalid));
                }
            }
        }
    }
}

#[test]
fn t53_extensions_that_change_the_reading_are_refused() {
    for extension in [
        json!({"crit": ["x"]}),
        json!({"crit": []}),
        json!({"crit": ["exp"], "exp": NOW + 5}),
        json!({"b64": false}),
        json!({"b64": true}),
        json!({"crit": ["b64"], "b64": false}),
        json!({"zip": "DEF"}),
        json!({"zip": "none"}),
    ] {
        refused(&sign(&with(header(), extension), &claims()));
    }
}

#[test]
fn t54_the_authorization_header_is_read_as_rfc_6750_has_it() {
    let read = |values: &[&[u8]]| {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_bytes(value).unwrap());
        }
        bearer_token(&headers).map(|token| token.map(str::to_owned))
    };
    let some = |token: &str| Ok(Some(token.to_owned()));
    assert_eq!(read(&[]), Ok(None));
    for right in [
        "Bearer a.b.c",
        "bearer a.b.c",
        "BEARER a.b.c",
        "bEaReR   a.b.c",
        " Bearer a.b.c ",
        "Bearer\ta.b.c",
    ] {
        assert_eq!(read(&[right.as_bytes()]), some("a.b.c"), "{right:?}");
    }
    for other in [
        "Basic QWxhZGRpbjpvcGVu",
        "Digest x",
        "Bearera.b.c",
        "Basic",
        "token",
    ] {
        assert_eq!(read(&[other.as_bytes()]), Ok(None), "{other:?}");
    }
    for wrong in [
        "",
        " ",
        "\t",
        "Bearer",
        "bearer",
        "Bearer ",
        "Bearer  ",
        "Bearer \t ",
        "Bearer a b",
        "Bearer a.b.c d",
        "Bearer a\tb",
    ] {
        assert_eq!(read(&[wrong.as_bytes()]), Err(Refusal::TokenInvalid), "{wrong:?}");
    }
    for wrong in [
        &b"Bearer \xff\xfe"[..],
        b"Bearer \xc3\xa9",
        b"\xffearer a.b.c",
        b"Basic \xff",
    ] {
        assert_eq!(read(&[wrong]), Err(Refusal::TokenInvalid), "{wrong:?}");
    }
    assert_eq!(
        read(&[b"Bearer a.b.c", b"Bearer a.b.c"]),
        Err(Refusal::TokenInvalid)
    );
    assert_eq!(read(&[b"Basic x", b"Bearer a.b.c"]), Err(Refusal::TokenInvalid));
    assert_eq!(read(&[b"Bearer %00"]), some("%00"));
    refused("%00");
    let long = format!("Bearer {}", "a".repeat(16 * 1024));
    refused(&read(&[long.as_bytes()]).unwrap().unwrap());
}

#[test]
fn t55_keys_that_come_with_the_token_are_neither_used_nor_fetched() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}/keys.json", listener.local_addr().unwrap());
    let pair = key_pairs().remove(0);
    let own = TokenVerifier::new(ISSUER, None).with_key(pair.public.clone());
    let attacker = key_pairs().remove(0);
    let certificate = STANDARD.encode(&attacker.der);
    for injection in [
        json!({"jwk": attacker.jwk}),
        json!({"jku": url}),
        json!({"x5u": url}),
        json!({"x5c": [certificate]}),
        json!({"jwk": attacker.jwk, "kid": "attacker"}),
        json!({"jku": url, "kid": url}),
        json!({"jwk": {"kty": "oct", "k": URL_SAFE_NO_PAD.encode(SECRET)}}),
    ] {
        let header = with(
            with(header(), json!({"alg": pair.algorithm.as_str()})),
            injection.clone(),
        );
        let forged = sign_texts(
            &header.to_string(),
            &claims().to_string(),
            &attacker.private,
            pair.algorithm,
        );
        assert_eq!(
            own.verify(&forged, NOW),
            Err(Refusal::TokenInvalid),
            "{injection}"
        );
        refused(&sign(&with(self::header(), injection), &claims()));
    }
    assert_eq!(
        listener.accept().unwrap_err().kind(),
        ErrorKind::WouldBlock,
        "somebody fetched a key"
    );

    for kid in [
        json!("../../dev/null"),
        json!("/dev/null"),
        json!("' OR 1=1--"),
        json!("k1' --"),
        json!("k".repeat(10_240)),
        json!(""),
        json!(" k1"),
        json!("k1\u{0}"),
        json!("K1"),
        json!(1),
        json!(["k1"]),
        json!({"k1": 1}),
        json!(url),
    ] {
        refused(&sign(&with(header(), json!({"kid": kid})), &claims()));
    }
    let token = token();
    let (signed, _) = token.rsplit_once('.').unwrap();
    let (head, body) = signed.split_once('.').unwrap();
    for signature in ["", "AA", &"A".repeat(43), &"A".repeat(86)] {
        refused(&format!("{signed}.{signature}"));
    }
    for blank in [&b""[..], b"\0", b" "] {
        let key = EncodingKey::from_secret(blank);
        refused(&sign_texts(
            &header().to_string(),
            &claims().to_string(),
            &key,
            Algorithm::HS256,
        ));
    }
    for parts in [
        format!("{head}.{body}.AA.AA.AA"),
        format!("{token}.AA.AA"),
        format!("{token}."),
        format!(".{token}"),
        format!("{head}..{body}"),
        "..".to_owned(),
        "....".to_owned(),
        head.to_owned(),
        signed.to_owned(),
        json!({"payload": body, "protected": head, "signature": "AA"}).to_string(),
    ] {
        refused(&parts);
    }
    // CVE-2022-21449: r = s = 0 fits every message where the range of the two is not checked.
    let ecdsa = key_pairs()
        .into_iter()
        .find(|pair| pair.algorithm == Algorithm::ES256)
        .unwrap();
    let verifier = TokenVerifier::new(ISSUER, None).with_key(ecdsa.public);
    let head = URL_SAFE_NO_PAD.encode(with(header(), json!({"alg": "ES256"})).to_string());
    for signature in [
        vec![0; 64],
        [[0; 31].as_slice(), &[1], &[0; 32]].concat(),
        vec![0xff; 64],
        vec![0x30, 6, 2, 1, 0, 2, 1, 0],
    ] {
        let forged = format!("{head}.{body}.{}", URL_SAFE_NO_PAD.encode(signature));
        assert_eq!(verifier.verify(&forged, NOW), Err(Refusal::TokenInvalid));
    }
}

#[test]
fn t57_a_token_that_is_too_long_is_refused_unread() {
    let padded = |length: usize| sign(&header(), &with(claims(), json!({"pad": "x".repeat(length)})));
    let mut length = 5000;
    while padded(length + 1).len() <= MAX_TOKEN_BYTES {
        length += 1;
    }
    assert!(
        verifier().verify(&padded(length), NOW).is_ok(),
        "right up to the limit"
    );
    refused(&padded(length + 1));
    refused(&padded(1024 * 1024));
    refused(&"a".repeat(64 * 1024 * 1024));
}

struct Pair {
    algorithm: Algorithm,
    private: EncodingKey,
    public: VerificationKey,
    /// The public key as a `SubjectPublicKeyInfo`.
    der: Vec<u8>,
    jwk: Value,
}

/// Fresh pairs for EdDSA, ES256 and RS256, all with the key id `k1`.
fn key_pairs() -> Vec<Pair> {
    let public =
        |algorithm, der: &[u8]| VerificationKey::from_public(Some("k1".to_owned()), algorithm, der).unwrap();
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);

    let ed = Ed25519KeyPair::generate().unwrap();
    let ed_der: PublicKeyX509Der<'_> = ed.public_key().as_der().unwrap();
    let ed_raw = ed.public_key().as_ref();
    let ec = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let ec_der: PublicKeyX509Der<'_> = ec.public_key().as_der().unwrap();
    let point = ec.public_key().as_ref();
    let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let rsa_der: PublicKeyX509Der<'_> = rsa.public_key().as_der().unwrap();
    let rsa_private: Pkcs8V1Der<'_> = rsa.as_der().unwrap();
    let rsa_parts = RsaPublicKeyComponents::<Vec<u8>>::from(rsa.public_key());
    vec![
        Pair {
            algorithm: Algorithm::EdDSA,
            private: EncodingKey::from_ed_der(ed.to_pkcs8v1().unwrap().as_ref()),
            public: public(Algorithm::EdDSA, ed_raw),
            der: ed_der.as_ref().to_vec(),
            jwk: json!({"kty": "OKP", "crv": "Ed25519", "kid": "k1", "alg": "EdDSA", "use": "sig", "x": encode(ed_raw)}),
        },
        Pair {
            algorithm: Algorithm::ES256,
            private: EncodingKey::from_ec_der(ec.to_pkcs8v1().unwrap().as_ref()),
            public: public(Algorithm::ES256, ec_der.as_ref()),
            der: ec_der.as_ref().to_vec(),
            jwk: json!({"kty": "EC", "crv": "P-256", "kid": "k1", "x": encode(&point[1..33]), "y": encode(&point[33..])}),
        },
        Pair {
            algorithm: Algorithm::RS256,
            // What is signed with is the PKCS #1 key inside the PKCS #8 one, after 26 bytes of wrapping.
            private: EncodingKey::from_rsa_der(&rsa_private.as_ref()[26..]),
            public: public(Algorithm::RS256, rsa_der.as_ref()),
            der: rsa_der.as_ref().to_vec(),
            jwk: json!({"kty": "RSA", "kid": "k1", "n": encode(&rsa_parts.n), "e": encode(&rsa_parts.e)}),
        },
    ]
}

proptest! {
    #[test]
    fn no_text_makes_it_panic_or_is_a_token(text in "\\PC{0,200}", now: i64) {
        prop_assert_eq!(verifier().verify(&text, now), Err(Refusal::TokenInvalid));
    }

    #[test]
    fn no_mutation_of_a_token_is_accepted(
        position: prop::sample::Index,
        removed in 0_usize..4,
        inserted in "[A-Za-z0-9._=+/-]{0,4}",
    ) {
        let right = token();
        let start = position.index(right.len());
        let end = (start + removed).min(right.len());
        let mut mutated = right.clone();
        mutated.replace_range(start..end, &inserted);
        prop_assume!(mutated != right);
        prop_assert_eq!(verifier().verify(&mutated, NOW), Err(Refusal::TokenInvalid));
    }

    #[test]
    fn no_signed_text_makes_it_panic(header in "\\PC{0,80}", claims in "\\PC{0,80}", now: i64) {
        let key = EncodingKey::from_secret(SECRET);
        let base = self::header().to_string();
        prop_assert!(verifier().verify(&sign_texts(&base, &claims, &key, Algorithm::HS256), now).is_err());
        prop_assert!(verifier().verify(&sign_texts(&header, &claims, &key, Algorithm::HS256), now).is_err());
    }

    #[test]
    fn no_header_value_makes_the_reading_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(value) = HeaderValue::from_bytes(&bytes) {
            let headers = HeaderMap::from_iter([(AUTHORIZATION, value)]);
            if let Ok(Some(token)) = bearer_token(&headers) {
                prop_assert!(!token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()));
            }
        }
    }
}

#[test]
fn a_cached_token_is_verified_like_a_new_one() {
    let other_key = || VerificationKey::hmac(Some("other".to_owned()), Algorithm::HS256, &[7; 32]).unwrap();
    for bytes in [0, 64 * 1024] {
        let verifier = verifier().with_memory(bytes);
        let token = token();
        let first = verifier.verify(&token, NOW).unwrap();
        for now in [NOW, NOW + 299, NOW - 10] {
            assert_eq!(verifier.verify(&token, now).as_ref(), Ok(&first), "{now}");
        }
        // Not before it was issued, not from its expiry on, and then as before.
        assert_eq!(verifier.verify(&token, NOW - 500), Err(Refusal::TokenInvalid));
        assert_eq!(verifier.verify(&token, NOW).as_ref(), Ok(&first));
        assert_eq!(verifier.verify(&token, NOW + 300), Err(Refusal::TokenExpired));
        assert_eq!(verifier.verify(&token, NOW).as_ref(), Ok(&first));
        // With each byte of it changed, cut off, or with one more, it is another token.
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(verifier.verify(&changed, NOW), Err(Refusal::TokenInvalid), "{at}");
            assert_eq!(
                verifier.verify(&token[..at], NOW),
                Err(Refusal::TokenInvalid),
                "{at}"
            );
        }
        assert_eq!(
            verifier.verify(&format!("{token}A"), NOW),
            Err(Refusal::TokenInvalid)
        );
        // Where its key has gone it is refused, and the verifier that still has the key is not disturbed.
        let without = verifier.clone().with_only_keys([other_key()]);
        assert_eq!(without.verify(&token, NOW), Err(Refusal::TokenInvalid));
        let with_more = verifier.clone().with_key(other_key());
        assert_eq!(
            with_more.verify(&token, NOW).is_ok(),
            verifier.keys()[0].kid().is_some()
        );
        assert_eq!(verifier.verify(&token, NOW), Ok(first));
    }
}

#[test]
fn the_memory_of_tokens_has_an_end() {
    let verifier = verifier().with_memory(32 * 1024);
    for sub in 1..2000 {
        let token = sign(&header(), &with(claims(), json!({"sub": sub.to_string()})));
        for _ in 0..2 {
            assert_eq!(verifier.verify(&token, NOW).unwrap().sub, sub);
        }
    }
    let shown = format!("{verifier:?}");
    let remembered: usize = shown
        .split("tokens: ")
        .nth(1)
        .and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next())
        .and_then(|digits| digits.parse().ok())
        .unwrap_or_else(|| panic!("{shown}"));
    assert!((1..64).contains(&remembered), "{shown}");
    assert!(!shown.contains("eyJ"), "{shown}");
}
