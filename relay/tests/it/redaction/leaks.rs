//! Looks for what must not be in a log, however it may be written.

use std::collections::HashSet;

/// What must be nowhere.
#[derive(Default)]
pub(super) struct Secrets {
    /// Ids, hashes and payloads, by what they are.
    pub(super) bytes: Vec<(&'static str, Vec<u8>)>,
    pub(super) texts: Vec<String>,
}

/// What of it is in there, and where.
pub(super) fn leaks(log: &[u8], secrets: &Secrets) -> Vec<String> {
    let text = String::from_utf8_lossy(log).to_lowercase();
    let mut found = Vec::new();
    let mut look = |what: &str, needle: &str| {
        if text.contains(&needle.to_lowercase()) {
            found.push(format!("{what}: {}", around(&text, needle)));
        }
    };
    for canary in ["canary", "127.0.0.1", "::1"].into_iter().chain(secrets.texts.iter().map(String::as_str)) {
        look("text", canary);
    }
    for (what, bytes) in &secrets.bytes {
        for (form, needle) in forms(bytes) {
            look(&format!("{what} {form}"), &needle);
        }
    }
    let windows: HashSet<&[u8]> = log.windows(8).collect();
    for (what, bytes) in &secrets.bytes {
        if bytes.windows(8).take(32).any(|raw| windows.contains(raw)) {
            found.push(format!("{what} as it is"));
        }
    }
    found
}

fn around(text: &str, needle: &str) -> String {
    let at = text.find(&needle.to_lowercase()).unwrap_or(0);
    text.get(at.saturating_sub(200)..(at + 200).min(text.len())).unwrap_or("").to_owned()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// How bytes are written as text: eight characters and more of it, from several places on.
fn forms(bytes: &[u8]) -> Vec<(&'static str, String)> {
    const BASE64: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const BASE32: &[u8] = b"abcdefghijklmnopqrstuvwxyz234567";
    const Z_BASE32: &[u8] = b"ybndrfg8ejkmcpqxot1uwisza345h769";
    let mut forms = Vec::new();
    for start in (0..bytes.len().saturating_sub(8).min(24)).step_by(4) {
        let part = &bytes[start..start + 8];
        forms.push(("in hex", hex(&part[..4])));
        forms.push(("as a list", part.iter().take(4).map(u8::to_string).collect::<Vec<_>>().join(", ")));
        forms.push((
            "as a list in hex",
            part.iter().take(4).map(|b| format!("{b:x}")).collect::<Vec<_>>().join(", "),
        ));
    }
    for (form, alphabet, bits) in
        [("in base64", BASE64, 6), ("in base32", BASE32, 5), ("in z-base-32", Z_BASE32, 5)]
    {
        forms.push((form, encode(&bytes[..bytes.len().min(8)], alphabet, bits)));
    }
    forms
}

/// The whole characters of an encoding with so many bits in each.
fn encode(bytes: &[u8], alphabet: &[u8], bits: usize) -> String {
    let digits: Vec<u8> =
        bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
    digits
        .chunks_exact(bits)
        .map(|digit| char::from(alphabet[digit.iter().fold(0, |all, bit| all << 1 | usize::from(*bit))]))
        .collect()
}

#[cfg(test)]
mod tests {
    use zerok_protocol::DeviceId;

    use super::super::canary;
    use super::*;

    #[test]
    fn what_leaks_is_found_however_it_is_written() {
        let id = canary::<32>("id");
        let secrets = Secrets { bytes: vec![("id", id.to_vec())], texts: vec!["token-of-somebody".into()] };
        let leaking = [
            forms(&id).into_iter().map(|(_, text)| text.into_bytes()).collect(),
            vec![id[10..18].to_vec(), hex(&id[4..10]).to_uppercase().into_bytes(), hex(&id).into_bytes()],
            vec![b"token-of-somebody".to_vec(), b"127.0.0.1:4433".to_vec(), b"canary-payload".to_vec()],
        ]
        .concat();
        for leak in leaking {
            let line = [b"2026-11-22 TRACE zerok_relay: received id=", &*leak, b"\n"].concat();
            assert!(!leaks(&line, &secrets).is_empty(), "{}", String::from_utf8_lossy(&line));
        }
        let blinded = format!("TRACE zerok_relay: connection{{device={}}}: received size=64", DeviceId(id));
        assert!(leaks(blinded.as_bytes(), &secrets).is_empty());
        for (form, text) in [("in hex", "666f6f62"), ("in base64", "Zm9vYmFyYm"), ("in base32", "mzxw6ytb")] {
            assert!(forms(b"foobarbaz").iter().any(|(name, found)| *name == form && found.starts_with(text)));
        }
    }
}
