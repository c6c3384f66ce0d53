//! Which groups a relay takes.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use serde::{Deserialize, Serialize};
use zerok_protocol::GroupId;

use crate::store::Maker;

/// Who may make groups at a relay. Groups that are there are open to their members alone, whatever this says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Admission {
    /// Everybody who can reach it.
    Open,
    /// Who has an invitation of the operator.
    Token,
    /// Nobody: it serves the groups of a set that its owner changes while it runs (the embedded relay).
    #[serde(skip)]
    Own(OwnGroups),
}

impl Admission {
    /// For the log.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Admission::Open => "open",
            Admission::Token => "token",
            Admission::Own(_) => "own groups",
        }
    }

    /// Who may make a group, by the token that was in HELLO.
    pub(crate) fn maker(&self, token: Option<String>) -> Maker {
        match self {
            Admission::Token => Maker::Invited(token),
            Admission::Open | Admission::Own(_) => Maker::Anybody,
        }
    }

    /// Does this relay serve the group at all?
    pub(crate) fn takes(&self, group: &GroupId) -> bool {
        match self {
            Admission::Open | Admission::Token => true,
            Admission::Own(groups) => groups.contains(group),
        }
    }
}

/// A shared set of groups; clones are the same set.
#[derive(Clone, Default)]
pub struct OwnGroups(Arc<RwLock<HashSet<GroupId>>>);

impl OwnGroups {
    /// Serves this group from now on; true if it was not in the set.
    pub fn insert(&self, group: GroupId) -> bool {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(group)
    }

    /// No new session of this group from now on; true if it was in the set.
    pub fn remove(&self, group: &GroupId) -> bool {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(group)
    }

    /// Is it in the set?
    #[must_use]
    pub fn contains(&self, group: &GroupId) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains(group)
    }
}

impl PartialEq for OwnGroups {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for OwnGroups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.read().unwrap_or_else(PoisonError::into_inner).len();
        write!(f, "OwnGroups({count})")
    }
}
