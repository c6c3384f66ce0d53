//! A roster with the hashes of all its statements: what a head or a repeated statement is compared with.

use zerok_protocol::roster::{Accepted, Append, Roster, RosterError, other_wins};
use zerok_protocol::{GroupId, Hash, Head};

use crate::store::StoredStatement;

/// Statements of one group's roster at most: each is verified whenever the group is loaded. One a day for 27 years.
const MAX_STATEMENTS: u64 = 10_000;
/// Bytes of them with all that stands beside them: kept for good, and in memory when branches are compared.
const MAX_BYTES: usize = 64 << 20;

/// A linear chain of statements that holds.
#[derive(Clone)]
pub(crate) struct Known {
    pub(crate) roster: Roster,
    chain: Vec<Hash>,
    bytes: usize,
}

/// What a statement takes, with all that stands beside it.
pub(crate) fn size(append: &Append) -> usize {
    let beside: usize = append.envelopes.iter().map(|e| e.enc.len() + e.ciphertext.len() + 64).sum();
    let sealed: usize = append.sealed_previous.iter().map(|s| s.len() + 16).sum();
    append.statement.bytes.len() + 256 + beside + sealed
}

impl Known {
    /// From a chain that was judged when it was stored.
    pub(crate) fn open(statements: &[StoredStatement]) -> Result<Self, RosterError> {
        let roster = Roster::open(statements.iter().map(|s| &s.append.statement))?;
        let chain = statements.iter().map(|s| s.append.statement.hash()).collect();
        let bytes = statements.iter().map(|s| size(&s.append)).sum();
        Ok(Self { roster, chain, bytes })
    }

    /// Is it longer than a relay keeps one?
    pub(crate) fn is_too_long(&self) -> bool {
        self.length() > MAX_STATEMENTS || self.bytes > MAX_BYTES
    }

    /// How many statements it has.
    pub(crate) fn length(&self) -> u64 {
        self.roster.head().n + 1
    }

    /// Is this one of its statements?
    pub(crate) fn has(&self, head: &Head) -> bool {
        usize::try_from(head.n).ok().and_then(|n| self.chain.get(n)) == Some(&head.hash)
    }

    /// Where a branch that begins with known statements parts from this one. What begins with an unknown statement is no
    /// branch but the loser of a race for the head.
    pub(crate) fn parting(&self, statements: &[Append]) -> Option<u64> {
        let mut common = false;
        for append in statements {
            let n = append.statement.statement().ok()?.n;
            if !self.has(&Head { n, hash: append.statement.hash() }) {
                return (common && n < self.length()).then_some(n);
            }
            common = true;
        }
        None
    }

    /// The stored chain up to where `statements` part from it, if their branch replaces the rest of it.
    pub(crate) fn give_way(
        mut stored: Vec<StoredStatement>,
        at: u64,
        statements: &[Append],
        now_ms: u64,
    ) -> Result<Option<Self>, RosterError> {
        let own = stored.split_off(usize::try_from(at).unwrap_or(usize::MAX).min(stored.len()));
        let base = Self::open(&stored)?;
        let parting = |append: &&Append| append.statement.statement().is_ok_and(|s| s.n == at);
        let other = statements.iter().find(parting).ok_or(RosterError::Malformed)?;
        let accepted = |s: StoredStatement| Accepted { statement: s.append.statement, at_ms: s.accepted_ms };
        let own: Vec<Accepted> = own.into_iter().map(accepted).collect();
        Ok(other_wins(&base.roster, &own, &other.statement, now_ms)?.then_some(base))
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
                    known = Some(Self { chain: vec![roster.head().hash], roster, bytes: size(&append) });
                }
                Some(known) => {
                    let n = append.statement.statement()?.n;
                    let hash = append.statement.hash();
                    if known.has(&Head { n, hash }) {
                        continue;
                    }
                    if n < known.length() {
                        return Err(RosterError::Conflict(known.roster.head()));
                    }
                    known.roster.append_with(&append)?;
                    known.chain.push(hash);
                    known.bytes += size(&append);
                }
            }
            new.push(append);
        }
        known.map(|known| (known, new)).ok_or(RosterError::Malformed)
    }
}
