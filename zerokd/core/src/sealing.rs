//! XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha) round a padded text: what envelope, signal and pairing share.

use bytes::Bytes;
use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};

use crate::padme::{PREFIX, pad_into, padded_len, unpad};
use crate::secret::Secret;

/// Bytes of a nonce.
pub(crate) const NONCE: usize = 24;
/// Bytes of the authentication tag.
const TAG: usize = 16;

/// `clear`, then `plaintext` padded and sealed, then the tag: one buffer, encrypted in place.
pub(crate) fn seal_padded(
    key: &Secret<32>,
    nonce: &[u8; NONCE],
    aad: &[u8],
    clear: &[u8],
    plaintext: &[u8],
) -> Vec<u8> {
    let mut out = Vec::with_capacity(clear.len() + padded_len(PREFIX + plaintext.len()) + TAG);
    out.extend_from_slice(clear);
    pad_into(&mut out, plaintext);
    let (_, body) = out.split_at_mut(clear.len());
    let tag = encrypt(key, nonce, aad, body);
    out.extend_from_slice(&tag);
    out
}

/// Opens what [`seal_padded`] put behind `clear`; `None` if the key is another one or anything was changed.
pub(crate) fn open_padded(key: &Secret<32>, nonce: &[u8; NONCE], aad: &[u8], sealed: &[u8]) -> Option<Bytes> {
    let (body, tag) = sealed.split_last_chunk::<TAG>()?;
    let mut body = body.to_vec();
    decrypt(key, nonce, aad, &mut body, tag)?;
    let body = Bytes::from(body);
    let text = unpad(&body).ok()?;
    Some(body.slice_ref(text))
}

/// Encrypts in place and gives the tag.
pub(crate) fn encrypt(key: &Secret<32>, nonce: &[u8; NONCE], aad: &[u8], body: &mut [u8]) -> [u8; TAG] {
    XChaCha20Poly1305::new(key.expose().into())
        .encrypt_inout_detached(nonce.into(), aad, body.into())
        .expect("nothing here is near the cipher's limit of 256 GiB")
        .into()
}

/// Decrypts in place if the tag fits; `None`, and the body is of no use, if not.
pub(crate) fn decrypt(
    key: &Secret<32>,
    nonce: &[u8; NONCE],
    aad: &[u8],
    body: &mut [u8],
    tag: &[u8; TAG],
) -> Option<()> {
    XChaCha20Poly1305::new(key.expose().into())
        .decrypt_inout_detached(nonce.into(), aad, body.into(), tag.into())
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// draft-irtf-cfrg-xchacha-03, appendix A.3.1.
    #[test]
    fn the_cipher_is_that_of_the_draft() {
        let clear =
            b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, \
                      sunscreen would be it.";
        let sealed = "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb731c7f1b0b4aa6440bf3a82f4eda7e39\
                      ae64c6708c54c216cb96b72e1213b4522f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff9\
                      21f9664c97637da9768812f615c68b13b52e";
        let key = Secret::from(std::array::from_fn(|i| 0x80 + u8::try_from(i).unwrap()));
        let nonce = std::array::from_fn(|i| 0x40 + u8::try_from(i).unwrap());
        let aad = hex::decode("50515253c0c1c2c3c4c5c6c7").unwrap();
        let mut body = clear.to_vec();
        let tag = encrypt(&key, &nonce, &aad, &mut body);
        assert_eq!(hex::encode(&body), sealed);
        assert_eq!(hex::encode(tag), "c0875924c1c7987947deafd8780acf49");
        assert_eq!(decrypt(&key, &nonce, &aad, &mut body, &tag), Some(()));
        assert_eq!(body, clear);
    }

    #[test]
    fn another_key_nonce_or_context_does_not_open() {
        let (key, nonce) = (Secret::from([1; 32]), [2; NONCE]);
        let sealed = seal_padded(&key, &nonce, b"aad", b"clear", b"text");
        let body = sealed.strip_prefix(b"clear").unwrap();
        assert_eq!(open_padded(&key, &nonce, b"aad", body).as_deref(), Some(&b"text"[..]));
        assert_eq!(open_padded(&Secret::from([3; 32]), &nonce, b"aad", body), None);
        assert_eq!(open_padded(&key, &[3; NONCE], b"aad", body), None);
        assert_eq!(open_padded(&key, &nonce, b"aae", body), None);
        assert_eq!(open_padded(&key, &nonce, b"aad", &[]), None);
    }
}
