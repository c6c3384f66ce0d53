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
    let tag = XChaCha20Poly1305::new(key.expose().into())
        .encrypt_inout_detached(nonce.into(), aad, body.into())
        .expect("nothing here is near the cipher's limit of 256 GiB");
    out.extend_from_slice(&tag);
    out
}

/// Opens what [`seal_padded`] put behind `clear`; `None` if the key is another one or anything was changed.
pub(crate) fn open_padded(key: &Secret<32>, nonce: &[u8; NONCE], aad: &[u8], sealed: &[u8]) -> Option<Bytes> {
    let (body, tag) = sealed.split_last_chunk::<TAG>()?;
    let mut body = body.to_vec();
    XChaCha20Poly1305::new(key.expose().into())
        .decrypt_inout_detached(nonce.into(), aad, body.as_mut_slice().into(), tag.into())
        .ok()?;
    let body = Bytes::from(body);
    let text = unpad(&body).ok()?;
    Some(body.slice_ref(text))
}
