//! What is wrong right now, shown in `status`: set by the part that notices, cleared by the same part.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// For programs.
    pub code: &'static str,
    /// For people.
    pub text: String,
    /// What to do about it.
    pub hint: String,
}

/// Handle to the list; cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Problems {
    list: Arc<Mutex<BTreeMap<(&'static str, String), Problem>>>,
}

impl Problems {
    /// Sets the problem `code` of `about` (a relay, a folder, a device; its hex id or row).
    pub(crate) fn set(
        &self,
        code: &'static str,
        about: &str,
        text: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let problem = Problem { code, text: text.into(), hint: hint.into() };
        self.list.lock().expect("nobody panics while holding it").insert((code, about.to_owned()), problem);
    }

    /// It is over.
    pub(crate) fn clear(&self, code: &'static str, about: &str) {
        self.list.lock().expect("nobody panics while holding it").remove(&(code, about.to_owned()));
    }

    /// All of them.
    pub(crate) fn list(&self) -> Vec<Problem> {
        self.list.lock().expect("nobody panics while holding it").values().cloned().collect()
    }
}
