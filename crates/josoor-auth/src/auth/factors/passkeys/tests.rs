//! The test vectors of WebAuthn level 3 (16), and what is near them and wrong.

use proptest::prelude::*;

use super::authenticator_data::AuthenticatorData;
use super::ceremony::{register, verify};
use super::client_data::ClientData;
use super::fault::Fault;
use super::public_key::PublicKey;
use crate::config::PasskeysConfig;
use crate::domain::{PasskeyAssertion, PasskeyRegistration};

/// A registration and the use that follows it, in hexadecimal digits.
struct Vector {
    id: &'static str,
    challenge: &'static str,
    client_data: &'static str,
    attestation_object: &'static str,
    use_challenge: &'static str,
    use_client_data: &'static str,
    authenticator_data: &'static str,
    signature: &'static str,
}

/// 16.2: ES256 with no attestation.
const NONE_ES256: Vector = Vector {
    id: "f91f391db4c9b2fde0ea70189cba3fb63f579ba6122b33ad94ff3ec330084be4",
    challenge: "00c30fb78531c464d2b6771dab8d7b603c01162f2fa486bea70f283ae556e130",
    client_data: "7b2274797065223a22776562617574686e2e637265617465222c226368616c6c656e6765223a22414d4d507434557878475453746e63647134313759447742466938767049612d7077386f4f755657345441222c226f726967696e223a2268747470733a2f2f6578616d706c652e6f7267222c2263726f73734f726967696e223a66616c73652c22657874726144617461223a22636c69656e74446174614a534f4e206d617920626520657874656e6465642077697468206164646974696f6e616c206669656c647320696e20746865206675747572652c207375636820617320746869733a20426b5165446a646354427258426941774a544c453551227d",
    attestation_object: "a363666d74646e6f6e656761747453746d74a068617574684461746158a4bfabc37432958b063360d3ad6461c9c4735ae7f8edd46592a5e0f01452b2e4b559000000008446ccb9ab1db374750b2367ff6f3a1f0020f91f391db4c9b2fde0ea70189cba3fb63f579ba6122b33ad94ff3ec330084be4a5010203262001215820afefa16f97ca9b2d23eb86ccb64098d20db90856062eb249c33a9b672f26df61225820930a56b87a2fca66334b03458abf879717c12cc68ed73290af2e2664796b9220",
    use_challenge: "39c0e7521417ba54d43e8dc95174f423dee9bf3cd804ff6d65c857c9abf4d408",
    use_client_data: "7b2274797065223a22776562617574686e2e676574222c226368616c6c656e6765223a224f63446e55685158756c5455506f334a5558543049393770767a7a59425039745a63685879617630314167222c226f726967696e223a2268747470733a2f2f6578616d706c652e6f7267222c2263726f73734f726967696e223a66616c73657d",
    authenticator_data: "bfabc37432958b063360d3ad6461c9c4735ae7f8edd46592a5e0f01452b2e4b51900000000",
    signature: "3046022100f50a4e2e4409249c4a853ba361282f09841df4dd4547a13a87780218deffcd380221008480ac0f0b93538174f575bf11a1dd5d78c6e486013f937295ea13653e331e87",
};

/// 16.3: ES256 with an attestation that was made with the passkey itself.
const SELF_ES256: Vector = Vector {
    id: "455ef34e2043a87db3d4afeb39bbcb6cc32df9347c789a865ecdca129cbef58c",
    challenge: "7869c2b772d4b58eba9378cf8f29e26cf935aa77df0da89fa99c0bdc0a76f7e5",
    client_data: "7b2274797065223a22776562617574686e2e637265617465222c226368616c6c656e6765223a2265476e4374334c55745936366b336a506a796e6962506b31716e666644616966715a774c33417032392d55222c226f726967696e223a2268747470733a2f2f6578616d706c652e6f7267222c2263726f73734f726967696e223a66616c73652c22657874726144617461223a22636c69656e74446174614a534f4e206d617920626520657874656e6465642077697468206164646974696f6e616c206669656c647320696e20746865206675747572652c207375636820617320746869733a205539685458764b453255526b4d6e625f307859485667227d",
    attestation_object: "a363666d74667061636b65646761747453746d74a263616c672663736967584630440220067a20754ab925005dbf378097c92120031581c73228d1fb4f5b881bcd7da98302207fc7b147558c7c0eba3af18bd9d121fa3d3a26d17fe3f220272178f473b6006d68617574684461746158a4bfabc37432958b063360d3ad6461c9c4735ae7f8edd46592a5e0f01452b2e4b55d00000000df850e09db6afbdfab51697791506cfc0020455ef34e2043a87db3d4afeb39bbcb6cc32df9347c789a865ecdca129cbef58ca5010203262001215820eb151c8176b225cc651559fecf07af450fd85802046656b34c18f6cf193843c5225820927b8aa427a2be1b8834d233a2d34f61f13bfd44119c325d5896e183fee484f2",
    use_challenge: "4478a10b1352348dd160c1353b0d469b5db19eb91c27f7dfa6fed39fe26af20b",
    use_client_data: "7b2274797065223a22776562617574686e2e676574222c226368616c6c656e6765223a225248696843784e534e493352594d45314f7731476d3132786e726b634a5f6666707637546e2d4a71386773222c226f726967696e223a2268747470733a2f2f6578616d706c652e6f7267222c2263726f73734f726967696e223a66616c73652c22657874726144617461223a22636c69656e74446174614a534f4e206d617920626520657874656e6465642077697468206164646974696f6e616c206669656c647320696e20746865206675747572652c207375636820617320746869733a206754623533727a36456853576f6d58477a696d433151227d",
    authenticator_data: "bfabc37432958b063360d3ad6461c9c4735ae7f8edd46592a5e0f01452b2e4b50900000000",
    signature: "304402203310b9431903c401f1be2bdc8d23a4007682dbbddcf846994947b7f465daf84002204e94dd00047b316061b3b99772b7efd95994a83ef584b3b6b825ea3550251b66",
};

/// 16.4: in a frame of another origin.
const CROSS_ORIGIN: (&str, &str) = (
    "3be5aacd03537142472340ab5969f240f1d87716e20b6807ac230655fa4b3b49",
    "7b2274797065223a22776562617574686e2e637265617465222c226368616c6c656e6765223a224f2d57717a514e5463554a484930437257576e7951504859647862694332674872434d475666704c4f306b222c226f726967696e223a2268747470733a2f2f6578616d706c652e6f7267222c2263726f73734f726967696e223a747275652c22657874726144617461223a22636c69656e74446174614a534f4e206d617920626520657874656e6465642077697468206164646974696f6e616c206669656c647320696e20746865206675747572652c207375636820617320746869733a207a5a7175457444523944577170573574425754467567227d",
);

/// 16.11: the public key of Ed25519, and a use.
const ED25519: (&str, &str, &str, &str) = (
    "a401010327200621582044e06ddd331c36a8dc667bab52bcae63486c916aa5e339e6acebaa84934bf832",
    "7b2274797065223a22776562617574686e2e676574222c226368616c6c656e6765223a2269566c583442786a4f6d6d44534b4c596f7870557439736e364d48454f7943413135726947514a6e763949222c226f726967696e223a2268747470733a2f2f6578616d706c652e6f7267222c2263726f73734f726967696e223a66616c73657d",
    "bfabc37432958b063360d3ad6461c9c4735ae7f8edd46592a5e0f01452b2e4b50100000000",
    "f5c59c7e46c34f6f8cc197101ddf9934fa2595f68eb1913a637e8419eb9ba4cfdfc48f85393bc0d40b011f0d6fecb097d6607525713223a0dc0d453993dae00b",
);

/// 16.10: a use with RS256.
const RS256: (&str, &str, &str) = (
    "7b2274797065223a22776562617574686e2e676574222c226368616c6c656e6765223a224b56395a39667150356978617970346e596d7834794e6f33617562597a5333536d75757459423462784d55222c226f726967696e223a2268747470733a2f2f6578616d706c652e6f7267222c2263726f73734f726967696e223a66616c73657d",
    "bfabc37432958b063360d3ad6461c9c4735ae7f8edd46592a5e0f01452b2e4b51900000000",
    "01063d52d7c39b4d432fc7063c5d93e582bdcb16889cd71f888d67d880ea730a428498d3bc8e1ee11f2b1ecbe6c292b118c55ffaaddefa8cad0a54dd137c51f1eec673f1bb6c4d1789d6826a222b22d0f585fc901fdc933212e579d199b89d672aa44891333e6a1355536025e82b25590256c3538229b55737083b2f6b9377e49e2472f11952f79fdd0da180b5ffd901b4049a8f081bb40711bef76c62aed943571f2d0575304cb549d68d8892f95086a30f93716aee818f8dc06e96c0d5e0ed4cfa9fd8773d90464b68cf140f7986666ff9c9e3302acd0535d60d769f465e2ab57ef8aabc89fccfef7ba32a64154a8b3d26be2298f470b8cc5377dbe3dfd4b0b45f8f01e63bde6cfc76b62771f9b70aa27cf40152cad93aa5acd784fd4b90f676e2ea828d0bf2400aebbaae4153e5838f537f88b6228346782a93a899be66ec77de45b3efcf311da6321c92e6b0cd11bfe653bf3e98cee8e341f02d67dbb6f9c98d9e8178090cfb5b70fbc6d541599ac794ae2f1d4de1286ec8de8c2daf7b1d15c8438e90d924df5c19045220a4c8438c1b979bbe016cf3d0eeec23c3999d4882cc645b776de930756612cdc6dd398160ff02a6",
);

fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2);
    let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.map(byte).collect()
}

fn config() -> PasskeysConfig {
    PasskeysConfig {
        rp_id: "example.org".to_owned(),
        origins: vec!["https://example.org".to_owned()],
        is_offered: true,
    }
}

/// The key of 16.10, whose modulus is the product of the two smallest Mersenne primes of at least 1024 bits: 2^3482 - 2^2203 - 2^1279 + 1.
fn rsa_key() -> Vec<u8> {
    let mut modulus = vec![0_u8; 436];
    for bit in (1279..2203).chain(2204..3482).chain([0]) {
        modulus[435 - bit / 8] |= 1 << (bit % 8);
    }
    [
        bytes("a4010303390100205901b4").as_slice(),
        &modulus,
        &bytes("2143010001"),
    ]
    .concat()
}

impl Vector {
    fn registration(&self) -> PasskeyRegistration {
        PasskeyRegistration {
            id: bytes(self.id),
            client_data: bytes(self.client_data),
            attestation_object: bytes(self.attestation_object),
            transports: Vec::new(),
        }
    }

    fn assertion(&self) -> PasskeyAssertion {
        assertion(self.use_client_data, self.authenticator_data, self.signature)
    }
}

fn assertion(client_data: &str, authenticator_data: &str, signature: &str) -> PasskeyAssertion {
    PasskeyAssertion {
        id: Vec::new(),
        client_data: bytes(client_data),
        authenticator_data: bytes(authenticator_data),
        signature: bytes(signature),
        user_handle: None,
    }
}

fn check(assertion: &PasskeyAssertion, key: &[u8], is_backup_eligible: bool) -> Result<bool, Fault> {
    let client_data = ClientData::read(&assertion.client_data)?;
    let used = verify(assertion, &client_data, key, is_backup_eligible, &config())?;
    Ok(used.is_user_verified)
}

#[test]
fn the_vectors_of_the_standard_are_accepted() {
    for (vector, backed_up, verified) in [
        (&NONE_ES256, (true, true), false),
        (&SELF_ES256, (true, true), true),
    ] {
        let registered = register(&vector.registration(), &bytes(vector.challenge), &config()).unwrap();
        assert_eq!(
            (registered.is_backup_eligible, registered.is_backed_up),
            backed_up
        );
        assert_eq!(registered.is_user_verified, verified);
        assert_eq!(registered.counter, 0);
        let assertion = vector.assertion();
        let client_data = ClientData::read(&assertion.client_data).unwrap();
        assert_eq!(client_data.answers(&bytes(vector.use_challenge)), Ok(()));
        assert_eq!(check(&assertion, &registered.public_key, true), Ok(false));
    }
    let (key, client_data, data, signature) = ED25519;
    assert_eq!(
        check(&assertion(client_data, data, signature), &bytes(key), false),
        Ok(false)
    );
    let (client_data, data, signature) = RS256;
    assert_eq!(
        check(&assertion(client_data, data, signature), &rsa_key(), true),
        Ok(false)
    );
}

#[test]
fn another_challenge_origin_domain_or_ceremony_is_rejected() {
    let vector = &NONE_ES256;
    let (registration, challenge) = (vector.registration(), bytes(vector.challenge));
    let fault = |registration: &PasskeyRegistration, challenge: &[u8], config: &PasskeysConfig| {
        register(registration, challenge, config).unwrap_err()
    };
    let elsewhere = PasskeysConfig {
        rp_id: "example.com".to_owned(),
        ..config()
    };
    // A longer one that ends alike, a subdomain, another port and another scheme.
    for origin in [
        "https://evilexample.org",
        "https://www.example.org",
        "https://example.org:8443",
        "http://example.org",
    ] {
        let other = PasskeysConfig {
            origins: vec![origin.to_owned()],
            ..config()
        };
        assert_eq!(fault(&registration, &challenge, &other), Fault::WrongOrigin);
    }
    assert_eq!(fault(&registration, &challenge, &elsewhere), Fault::WrongRpId);
    assert_eq!(
        fault(&registration, &bytes(vector.use_challenge), &config()),
        Fault::WrongChallenge
    );
    let used = PasskeyRegistration {
        client_data: bytes(vector.use_client_data),
        ..vector.registration()
    };
    assert_eq!(fault(&used, &challenge, &config()), Fault::WrongType);
    let framed = PasskeyRegistration {
        client_data: bytes(CROSS_ORIGIN.1),
        ..vector.registration()
    };
    assert_eq!(
        fault(&framed, &bytes(CROSS_ORIGIN.0), &config()),
        Fault::CrossOrigin
    );
    let another = PasskeyRegistration {
        id: bytes(SELF_ES256.id),
        ..vector.registration()
    };
    assert_eq!(fault(&another, &challenge, &config()), Fault::Malformed);
}

#[test]
fn what_was_changed_after_the_signature_is_rejected() {
    let vector = &NONE_ES256;
    let registered = register(&vector.registration(), &bytes(vector.challenge), &config()).unwrap();
    let key = registered.public_key;
    let other = register(
        &SELF_ES256.registration(),
        &bytes(SELF_ES256.challenge),
        &config(),
    )
    .unwrap();
    assert_eq!(
        check(&vector.assertion(), &other.public_key, true),
        Err(Fault::WrongSignature)
    );
    // The flag that the user was verified, and the counter.
    for at in [32, 36] {
        let mut changed = vector.assertion();
        changed.authenticator_data[at] ^= 4;
        assert_eq!(check(&changed, &key, true), Err(Fault::WrongSignature));
    }
    // Neither is what stands behind it, nor an eligibility that the passkey did not have when it was registered.
    let mut longer = vector.assertion();
    longer.authenticator_data.push(0);
    assert_eq!(check(&longer, &key, true), Err(Fault::Malformed));
    assert_eq!(check(&vector.assertion(), &key, false), Err(Fault::WrongBackup));
    // Backed up, and not capable of it; and without a present user.
    for (flags, fault) in [(0x11, Fault::WrongBackup), (0x18, Fault::NotPresent)] {
        let mut changed = vector.assertion();
        changed.authenticator_data[32] = flags;
        assert_eq!(check(&changed, &key, true), Err(fault));
    }
    // An attestation of the passkey itself has a signature, too.
    let mut forged = SELF_ES256.registration();
    let at = forged.attestation_object.len() / 4;
    forged.attestation_object[at] ^= 1;
    let forged = register(&forged, &bytes(SELF_ES256.challenge), &config());
    assert!(matches!(forged, Err(Fault::WrongAttestation)), "{forged:?}");
}

#[test]
fn a_registration_is_read_to_its_end_and_no_further() {
    let vector = &NONE_ES256;
    let challenge = bytes(vector.challenge);
    let whole = vector.registration().attestation_object;
    let read = |attestation_object: Vec<u8>| {
        let registration = PasskeyRegistration {
            attestation_object,
            ..vector.registration()
        };
        register(&registration, &challenge, &config()).map(|_| ())
    };
    assert_eq!(read(whole.clone()), Ok(()));
    for length in 0..whole.len() {
        assert_eq!(read(whole[..length].to_vec()), Err(Fault::Malformed), "{length}");
    }
    // Behind the whole, and behind the key inside of it, with the length of its bytes put right.
    assert_eq!(read([whole.as_slice(), &[0]].concat()), Err(Fault::Malformed));
    let at = whole.windows(2).position(|pair| pair == [0x58, 0xa4]).unwrap();
    let mut inside = [whole.as_slice(), &[0]].concat();
    inside[at + 1] = 0xa5;
    assert_eq!(read(inside), Err(Fault::Malformed));
    // A member that stands twice.
    let mut double = whole.clone();
    double[0] = 0xa4;
    double.extend(bytes("63666d74646e6f6e65"));
    assert_eq!(read(double), Err(Fault::Malformed));
}

#[test]
fn only_keys_of_the_algorithms_that_were_asked_for_are_read() {
    let key = |hex: &str| PublicKey::read(&bytes(hex)).map(|key| key.algorithm());
    assert_eq!(key(ED25519.0), Ok(-8));
    assert_eq!(PublicKey::read(&rsa_key()).map(|key| key.algorithm()), Ok(-257));
    // ES384; Ed25519 as a key of P-256; a point that is on no curve; a modulus of 1024 bits.
    assert_eq!(key("a301020338222002"), Err(Fault::WrongAlgorithm));
    assert_eq!(key(&ED25519.0.replacen("0327", "0326", 1)), Err(Fault::Malformed));
    let one = "01".repeat(32);
    let point = format!("a5010203262001215820{one}225820{one}");
    assert_eq!(key(&point), Err(Fault::Malformed));
    let short = format!("a40103033901002058{}{}2143010001", "80", "ff".repeat(128));
    assert_eq!(key(&short), Err(Fault::Malformed));
}

proptest! {
    #[test]
    fn nothing_that_is_sent_is_a_fault_of_ours(junk in proptest::collection::vec(any::<u8>(), 0..300), at in 0..400_usize, bit in 0..8_u32) {
        let _ = AuthenticatorData::read(&junk);
        let _ = PublicKey::read(&junk);
        let _ = ClientData::read(&junk);
        let mut registration = NONE_ES256.registration();
        registration.attestation_object = junk;
        let challenge = bytes(NONE_ES256.challenge);
        prop_assert!(register(&registration, &challenge, &config()).is_err());
        // One bit of a right one: in the key or in the model it makes another passkey, elsewhere none.
        let mut changed = NONE_ES256.registration();
        if let Some(byte) = changed.attestation_object.get_mut(at) {
            *byte ^= 1 << bit;
        }
        let _ = register(&changed, &challenge, &config());
    }
}
