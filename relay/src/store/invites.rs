//! Invitations: who has one may make groups here. The token itself is nowhere but with who was invited; the database has
//! its hash. A command adds and revokes them beside the running relay, which looks into its database when a group is made.

use std::path::Path;
use std::time::Duration;

use getrandom::fill;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::Serialize;
use zerok_protocol::{Hash, Token};

use super::blobs::{from_sql, to_sql};
use super::file::{self, FileError, database};
use super::writer::Work;
use super::{NotInvited, StoreError};
use crate::clock;

/// Hex digits of a token's hash that name the invitation.
const NAME: usize = 8;

/// Why an invitation cannot be made or changed.
#[derive(Debug, thiserror::Error)]
pub enum InviteError {
    /// The database.
    #[error(transparent)]
    File(#[from] FileError),
    /// An older relay made it: only a relay changes its tables.
    #[error("the relay's database is of an older version: start this zerok-relay once, then invite")]
    Older,
    /// None of that name.
    #[error("no invitation {0}: `zerok-relay invite list` shows them")]
    Unknown(String),
    /// The system's random source failed.
    #[error("no randomness: {0}")]
    Random(getrandom::Error),
}

/// What an invitation is to allow.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Groups that may be made.
    pub groups: u32,
    /// Bytes of blobs that each of them may store; none: as configured.
    pub quota: Option<u64>,
    /// How long groups may be made.
    pub lasts: Duration,
    /// For the operator's list.
    pub note: String,
}

/// Whether an invitation still lets somebody make a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum InviteState {
    /// It does.
    Open,
    /// All its groups are made.
    Used,
    /// Its time is over.
    Expired,
    /// The operator took it back.
    Revoked,
}

/// An invitation as the operator sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Invite {
    /// Names it in commands; says nothing about the token.
    pub id: String,
    /// Whether it can be used.
    pub state: InviteState,
    /// The operator's words.
    pub note: String,
    /// Groups that it allows.
    pub groups: u64,
    /// Groups made with it.
    pub used: u64,
    /// Bytes of blobs that each may store; none: as configured.
    pub quota_bytes: Option<u64>,
    /// Bytes of blobs that its groups store now.
    pub stored_bytes: u64,
    /// When it was made, Unix milliseconds.
    pub created_ms: u64,
    /// Until when groups may be made, Unix milliseconds.
    pub expires_ms: u64,
}

/// The invitations of a relay, which may be running.
pub struct Invites {
    connection: Connection,
    path: std::path::PathBuf,
}

const SELECT: &str = "SELECT token_hash, note, groups, used, quota, created_ms, expires_ms, revoked,
    (SELECT coalesce(sum(bytes), 0) FROM groups WHERE invite_no = invites.no) FROM invites";

impl Invites {
    /// Opens them in the relay's database.
    ///
    /// # Errors
    /// There is no database, or it is not one of this version's relay.
    pub fn open(path: &Path) -> Result<Self, InviteError> {
        let connection = file::open(path, true)?;
        let version: usize =
            connection.pragma_query_value(None, "user_version", |r| r.get(0)).map_err(database(path))?;
        if version < super::schema::latest() {
            return Err(InviteError::Older);
        }
        Ok(Self { connection, path: path.to_owned() })
    }

    /// Makes an invitation; the token is given out this once.
    ///
    /// # Errors
    /// The database refuses, or there is no randomness.
    pub fn create(&self, terms: &Terms) -> Result<(Token, Invite), InviteError> {
        let mut secret = [0u8; 16];
        fill(&mut secret).map_err(InviteError::Random)?;
        let token = Token::from_bytes(&secret);
        let hash = Hash::of(token.expose().as_bytes());
        let now = clock::unix_millis();
        let lasts = u64::try_from(terms.lasts.as_millis()).unwrap_or(u64::MAX);
        let sql =
            "INSERT INTO invites (token_hash, note, quota, groups, used, created_ms, expires_ms, revoked)
                   VALUES (?1, ?2, ?3, ?4, 0, ?5, ?6, 0)";
        let expires = to_sql(now.saturating_add(lasts));
        let row =
            params![hash.as_bytes(), terms.note, terms.quota.map(to_sql), terms.groups, to_sql(now), expires];
        self.connection.execute(sql, row).map_err(database(&self.path))?;
        let invite = self.find(&name(&hash))?;
        Ok((token, invite))
    }

    /// All of them, the newest last.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn list(&self) -> Result<Vec<Invite>, FileError> {
        let read = || {
            let mut select = self.connection.prepare(&format!("{SELECT} ORDER BY no"))?;
            let rows = select.query_map([], |row| invite(row, clock::unix_millis()))?;
            rows.collect::<rusqlite::Result<Vec<Invite>>>()
        };
        read().map_err(database(&self.path))
    }

    fn find(&self, id: &str) -> Result<Invite, InviteError> {
        self.list()?.into_iter().find(|i| i.id == id).ok_or_else(|| InviteError::Unknown(id.to_owned()))
    }

    /// Takes one back: it makes no more groups. Those made with it stay.
    ///
    /// # Errors
    /// There is none of that name, or the database refuses.
    pub fn revoke(&self, id: &str) -> Result<Invite, InviteError> {
        self.find(id)?;
        let sql = "UPDATE invites SET revoked = 1 WHERE lower(hex(substr(token_hash, 1, 4))) = ?1";
        self.connection.execute(sql, [id]).map_err(database(&self.path))?;
        self.find(id)
    }
}

fn name(hash: &Hash) -> String {
    hash.to_hex().chars().take(NAME).collect()
}

fn invite(row: &Row<'_>, now: u64) -> rusqlite::Result<Invite> {
    let number = |at: usize| row.get::<_, i64>(at).map(from_sql);
    let (groups, used, expires_ms) = (number(2)?, number(3)?, number(6)?);
    let state = state(row.get(7)?, groups, used, expires_ms, now);
    Ok(Invite {
        id: name(&Hash(row.get(0)?)),
        state,
        note: row.get(1)?,
        groups,
        used,
        quota_bytes: row.get::<_, Option<i64>>(4)?.map(from_sql),
        stored_bytes: number(8)?,
        created_ms: number(5)?,
        expires_ms,
    })
}

fn state(revoked: bool, groups: u64, used: u64, expires_ms: u64, now: u64) -> InviteState {
    match () {
        () if revoked => InviteState::Revoked,
        () if used >= groups => InviteState::Used,
        () if now >= expires_ms => InviteState::Expired,
        () => InviteState::Open,
    }
}

/// Uses one place of the invitation with this token: its number and the quota of the group that is made now, in the
/// same transaction.
pub(super) fn redeem(work: &Work<'_>, token: Option<&str>) -> Result<(i64, Option<i64>), StoreError> {
    let token = token.ok_or(StoreError::NotInvited(NotInvited::NoToken))?;
    let hash = Hash::of(token.as_bytes());
    let sql = "SELECT no, quota, revoked, groups, used, expires_ms FROM invites WHERE token_hash = ?1";
    let found = work.connection.prepare_cached(sql)?.query_row([hash.as_bytes()], |r| {
        let state = state(
            r.get(2)?,
            from_sql(r.get(3)?),
            from_sql(r.get(4)?),
            from_sql(r.get(5)?),
            clock::unix_millis(),
        );
        Ok((r.get(0)?, r.get(1)?, state))
    });
    let (no, quota, state) = found.optional()?.ok_or(StoreError::NotInvited(NotInvited::Unknown))?;
    match state {
        InviteState::Open => {}
        InviteState::Used => return Err(StoreError::NotInvited(NotInvited::Used)),
        InviteState::Expired => return Err(StoreError::NotInvited(NotInvited::Expired)),
        InviteState::Revoked => return Err(StoreError::NotInvited(NotInvited::Revoked)),
    }
    work.connection.prepare_cached("UPDATE invites SET used = used + 1 WHERE no = ?1")?.execute([no])?;
    Ok((no, quota))
}
