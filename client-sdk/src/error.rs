//! The one table of application errors: kind, code, whether trying again may help, and the usual hint.
//!
//! `kind` is the contract between daemon and programs; the text is for people and says what to do next. A code is
//! never used again for something else; -32768 to -32000 belong to JSON-RPC and its library.

use jsonrpsee::types::{ErrorObject, ErrorObjectOwned};
use serde::{Deserialize, Serialize};

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $code:literal $word:literal, retryable: $retry:literal, $hint:literal;)*) => {
        /// What went wrong, for programs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorKind { $($(#[$doc])* $name,)* }

        impl ErrorKind {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The JSON-RPC error code.
            #[must_use]
            pub fn code(self) -> i32 { match self { $(Self::$name => $code,)* } }

            /// The word that stands in `data.kind`.
            #[must_use]
            pub fn as_str(self) -> &'static str { match self { $(Self::$name => $word,)* } }

            /// Whether the same call may succeed later without anything being changed.
            #[must_use]
            pub fn retryable(self) -> bool { match self { $(Self::$name => $retry,)* } }

            /// What to do next when nothing better is known.
            #[must_use]
            pub fn default_hint(self) -> &'static str { match self { $(Self::$name => $hint,)* } }
        }
    };
}

kinds! {
    /// The device is in no group, or has no relay to pair through.
    NotPaired = 1000 "not_paired", retryable: false, "pair this device first: zerokctl pair --create here, zerokctl pair --join on the other";
    /// No such group, or `group` is needed because the device is in several.
    UnknownGroup = 1001 "unknown_group", retryable: false, "zerokctl group list shows the groups; name one with --group";
    /// No such channel.
    UnknownChannel = 1002 "unknown_channel", retryable: false, "check the channel's name";
    /// No such folder.
    UnknownFolder = 1003 "unknown_folder", retryable: false, "zerokctl folder list shows the folders";
    /// Larger than the limit.
    TooLarge = 1004 "too_large", retryable: false, "a blob may have up to 900 KiB; put larger things into a folder";
    /// A parameter is wrong; the text names it.
    InvalidArgument = 1005 "invalid_argument", retryable: false, "correct the named parameter";
    /// It clashes with what is there, or waits for a person.
    Conflict = 1006 "conflict", retryable: false, "look at zerokctl status";
    /// A limit on stored data is reached.
    Quota = 1007 "quota", retryable: true, "free space or raise the limit";
    /// No relay could be reached.
    RelayUnreachable = 1008 "relay_unreachable", retryable: true, "check that the relay runs and that its address is right: zerokctl relay list";
    /// It did not happen in the time given.
    Timeout = 1009 "timeout", retryable: true, "try again or give it more time";
    /// This device is no longer a member.
    Revoked = 1010 "revoked", retryable: false, "pair this device anew from a member device";
    /// The invite's time is over.
    InviteExpired = 1011 "invite_expired", retryable: false, "make a new one on the other device: zerokctl pair --create";
    /// The invite was used or cancelled.
    InviteUsed = 1012 "invite_used", retryable: false, "an invite works once; make a new one on the other device: zerokctl pair --create";
    /// The pairing password is wrong.
    WrongCode = 1013 "wrong_code", retryable: false, "compare the code with the one shown on the other device";
    /// The cursor belongs to another generation of the log.
    CursorReset = 1014 "cursor_reset", retryable: false, "read the channel from the beginning: cursor 0";
    /// The disk is full.
    DiskFull = 1015 "disk_full", retryable: true, "free space on the disk";
    /// Reading or writing failed.
    Io = 1016 "io", retryable: true, "check the disk and the permissions";
    /// The daemon is stopping.
    ShuttingDown = 1017 "shutting_down", retryable: true, "try again when the daemon is back";
    /// A fault in the daemon.
    Internal = 1018 "internal", retryable: false, "look at the daemon's log and report this";
}

impl ErrorKind {
    /// The kind of a code of this table.
    #[must_use]
    pub fn from_code(code: i32) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.code() == code)
    }
}

/// An application error: what went wrong, said to a program and to a person.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// What went wrong, for programs.
    pub kind: ErrorKind,
    /// What went wrong, for people; names the parameter or the thing.
    pub message: String,
    /// What to do next.
    pub hint: String,
}

impl ApiError {
    /// An error with the kind's usual hint.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: kind.default_hint().to_owned() }
    }

    /// A wrong parameter. The text names it once, also when `why` names it already.
    pub fn invalid(parameter: &str, why: impl std::fmt::Display) -> Self {
        let (why, named) = (why.to_string(), format!("{parameter}: "));
        let text = if why.starts_with(&named) { why } else { named + &why };
        Self::new(ErrorKind::InvalidArgument, text)
    }

    /// The same with a better hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }
}

/// What stands in `data` of an application error.
#[derive(Serialize, Deserialize)]
struct ErrorData {
    kind: String,
    retryable: bool,
    hint: String,
}

impl From<ApiError> for ErrorObjectOwned {
    fn from(e: ApiError) -> Self {
        let data =
            ErrorData { kind: e.kind.as_str().to_owned(), retryable: e.kind.retryable(), hint: e.hint };
        ErrorObject::owned(e.kind.code(), e.message, Some(data))
    }
}

impl TryFrom<&ErrorObjectOwned> for ApiError {
    type Error = ();

    /// Fails for JSON-RPC's own codes and for codes that this version does not know.
    fn try_from(e: &ErrorObjectOwned) -> Result<Self, ()> {
        let kind = ErrorKind::from_code(e.code()).ok_or(())?;
        let hint = e
            .data()
            .and_then(|d| serde_json::from_str::<ErrorData>(d.get()).ok())
            .map_or_else(|| kind.default_hint().to_owned(), |d| d.hint);
        Ok(Self { kind, message: e.message().to_owned(), hint })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn codes_and_words_are_unique_and_above_the_librarys() {
        let codes: BTreeSet<_> = ErrorKind::ALL.iter().map(|k| k.code()).collect();
        let words: BTreeSet<_> = ErrorKind::ALL.iter().map(|k| k.as_str()).collect();
        assert_eq!(codes.len(), ErrorKind::ALL.len());
        assert_eq!(words.len(), ErrorKind::ALL.len());
        assert!(codes.iter().all(|c| *c >= 1000));
    }

    #[test]
    fn every_error_comes_back_the_same_from_its_json() {
        for kind in ErrorKind::ALL {
            let error = ApiError::new(*kind, "text").hint("do this");
            let object = ErrorObjectOwned::from(error.clone());
            let json = serde_json::to_string(&object).unwrap();
            let back: ErrorObjectOwned = serde_json::from_str(&json).unwrap();
            assert_eq!(ApiError::try_from(&back), Ok(error));
        }
    }

    #[test]
    fn a_wrong_parameter_is_named_once() {
        for why in ["is empty", "channel: is empty"] {
            assert_eq!(ApiError::invalid("channel", why).message, "channel: is empty");
        }
    }

    #[test]
    fn an_error_looks_as_documented() {
        let object = ErrorObjectOwned::from(ApiError::invalid("channel", "is empty"));
        assert_eq!(
            serde_json::to_value(&object).unwrap(),
            serde_json::json!({"code": 1005, "message": "channel: is empty", "data": {
                "kind": "invalid_argument", "retryable": false, "hint": "correct the named parameter"}})
        );
    }
}
