//! A roster with the hashes of all its statements: what a head or a repeated statement is compared with.

use zerok_protocol::roster::{Append, Roster, RosterError};
use zerok_protocol::{GroupId, Hash, Head};

/// A linear chain of statements that holds.
#[derive(Clone)]
pub(crate) struct Known {
    pub(crate) roster: Roster,
    chain: Vec<Hash>,
}

impl Known {
    /// From a chain that was judged when it was stored.
    pub(crate) fn open(statements: &[Append]) -> Result<Self, RosterError> {
        let roster = Roster::open(statements.iter().map(|append| &append.statement))?;
        let chain = statements.iter().map(|append| append.statement.hash()).collect();
        Ok(Self { roster, chain })
    }

    /// Is this one of its statements?
    pub(crate) fn has(&self, head: &Head) -> bool {
        usize::try_from(head.n).ok().and_then(|n| self.chain.get(n)) == Some(&head.hash)
    }

    /// Continues `base`, or begins `group`, with those of `statements` that are new; a repeat of known ones is passed
    /// over. Returns the new ones.
    pub(crate) fn extend(
        base: Option<Self>,
        group: GroupId,
        statements: Vec<Append>,
    ) -> Result<(Self, Vec<Append>), RosterError> {
        let mut known = base;
        let mut new = Vec::new();
        for append in statements {
            match &mut known {
                None => {
                    let roster = Roster::genesis_with(&append)?;
                    if roster.group() != group {
                        return Err(RosterError::WrongGroup { n: 0 });
                    }
                    known = Some(Self { chain: vec![roster.head().hash], roster });
                }
                Some(known) => {
                    let n = append.statement.statement()?.n;
                    let hash = append.statement.hash();
                    if known.has(&Head { n, hash }) {
                        continue;
                    }
                    if n <= known.roster.head().n {
                        return Err(RosterError::Conflict(known.roster.head()));
                    }
                    known.roster.append_with(&append)?;
                    known.chain.push(hash);
                }
            }
            new.push(append);
        }
        known.map(|known| (known, new)).ok_or(RosterError::Malformed)
    }
}
