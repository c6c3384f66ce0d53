//! Two statements on the same `prev`, accepted at two relays: which branch stands. A pure function of the last common
//! roster, the own branch with the times at which it was accepted here, and the other branch's first statement; devices
//! and relays ask it alike (DESIGN.md, "Forks").

use std::cmp::Ordering;

use super::{Change, Roster, RosterError, Signed, Statement};
use crate::id::{DeviceId, Hash};

/// How long after its acceptance here the end of a membership can still be overturned by the device that it shut out,
/// in milliseconds.
pub const SETTLED_AFTER_MS: u64 = 24 * 60 * 60 * 1000;
/// How many statements on top of it settle it at once.
pub const SETTLED_BY: usize = 2;

/// A statement of the own branch.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The statement.
    pub statement: Signed,
    /// When it was accepted here, Unix milliseconds.
    pub at_ms: u64,
}

/// Does the branch that begins with `other` replace `own`, the own branch since `base`? Only the first statements are
/// compared; what follows them stands or falls with them.
///
/// A statement that ends the membership of the other's author beats it; else, and when each does, the more senior author
/// wins, then the lower hash. A device whose membership ended on the own branch cannot undo that once it is settled.
///
/// # Errors
/// `other` does not continue `base`.
pub fn other_wins(base: &Roster, own: &[Accepted], other: &Signed, now_ms: u64) -> Result<bool, RosterError> {
    base.clone().append(other)?;
    let theirs = other.statement()?;
    let Some(first) = own.first() else { return Ok(true) };
    let mine = first.statement.statement()?;
    for (at, accepted) in own.iter().enumerate() {
        let old = now_ms.saturating_sub(accepted.at_ms) > SETTLED_AFTER_MS;
        let built_upon = own.len() - at > SETTLED_BY;
        if (old || built_upon) && accepted.statement.statement()?.ends(&theirs.by) {
            return Ok(false);
        }
    }
    Ok(match (theirs.revokes(&mine.by), mine.revokes(&theirs.by)) {
        (true, false) => true,
        (false, true) => false,
        _ => {
            seniority(base, &theirs, other.hash()).cmp(&seniority(base, &mine, first.statement.hash()))
                == Ordering::Less
        }
    })
}

/// Sorts the more senior first. Both authors are members at `base`.
fn seniority(base: &Roster, statement: &Statement, hash: Hash) -> (Option<(u64, u64)>, Hash) {
    (base.members().get(&statement.by).map(|standing| (standing.rank, standing.joined)), hash)
}

impl Statement {
    /// Does it shut this device out?
    #[must_use]
    pub fn revokes(&self, device: &DeviceId) -> bool {
        matches!(&self.change, Change::Revoke { device: gone, .. } if gone == device)
    }

    /// Does it end this device's membership?
    #[must_use]
    pub fn ends(&self, device: &DeviceId) -> bool {
        self.revokes(device) || (matches!(self.change, Change::Leave) && self.by == *device)
    }
}
