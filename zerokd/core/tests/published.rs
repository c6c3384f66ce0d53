//! The primitives that the formats rest on give what their publications say. (HKDF and XChaCha20-Poly1305 as this crate
//! calls them are checked beside the code: `secret.rs`, `sealing.rs`.)

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use ed25519_dalek::{Signer, SigningKey};
use hkdf::Hkdf;
use sha2::Sha256;
use zerok_protocol::roster::verify;
use zerok_protocol::{DeviceId, Hash, Signature};

fn bytes(hex: &str) -> Vec<u8> {
    hex::decode(hex).unwrap()
}

#[test]
fn hkdf_sha256_is_that_of_rfc_5869() {
    let ikm = [0x0b; 22];
    let counting = |from: u8, to: u8| (from..=to).collect::<Vec<_>>();
    // Appendix A.1, A.2, A.3.
    let cases = [
        (
            ikm.to_vec(),
            Some(counting(0x00, 0x0c)),
            counting(0xf0, 0xf9),
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
        ),
        (
            counting(0x00, 0x4f),
            Some(counting(0x60, 0xaf)),
            counting(0xb0, 0xff),
            "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09\
             da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87",
        ),
        (
            ikm.to_vec(),
            None,
            vec![],
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
        ),
    ];
    for (ikm, salt, info, okm) in cases {
        let mut out = vec![0; okm.len() / 2];
        Hkdf::<Sha256>::new(salt.as_deref(), &ikm).expand(&info, &mut out).unwrap();
        assert_eq!(hex::encode(out), okm);
    }
}

#[test]
fn signatures_are_those_of_rfc_8032() {
    // Section 7.1, tests 2 and 3: secret key, public key, message, signature.
    let cases = [
        (
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
             085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ),
        (
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac\
             18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
        ),
    ];
    for (secret, public, message, signature) in cases {
        let key = SigningKey::from_bytes(&bytes(secret).try_into().unwrap());
        let device = DeviceId::from_slice(&bytes(public)).unwrap();
        assert_eq!(key.verifying_key().as_bytes(), device.as_bytes());
        let message = bytes(message);
        assert_eq!(hex::encode(key.sign(&message).to_bytes()), signature);
        let signature = Signature::from_slice(&bytes(signature)).unwrap();
        let (label, rest) = message.split_at(1);
        assert!(verify(&device, label, rest, &signature));
        assert!(!verify(&device, label, b"other", &signature));
    }
}

#[test]
fn hashes_are_those_of_the_blake3_team() {
    // test_vectors.json of github.com/BLAKE3-team/BLAKE3: input byte i is i mod 251.
    let cases = [
        (0, "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"),
        (1, "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213"),
        (1024, "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7"),
        (1025, "d00278ae47eb27b34faecf67b4fe263f82d5412916c1ffd97c8cb7fb814b8444"),
    ];
    for (length, hash) in cases {
        let input: Vec<u8> = (0..=250).cycle().take(length).collect();
        assert_eq!(Hash::of(&input).to_hex(), hash, "{length}");
    }
}
