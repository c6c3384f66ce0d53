//! Numbered, frozen migrations. A database written by a newer version is refused.

use rusqlite::Connection;
use rusqlite_migration::{M, Migrations};

use super::StoreError;

const STEPS: &[M<'_>] = &[
    M::up(include_str!("schema/010_log.sql")),
    M::up(include_str!("schema/020_content.sql")),
    M::up(include_str!("schema/030_folder.sql")),
];

pub(super) fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    Migrations::from_slice(STEPS).to_latest(connection)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_migrations_apply_in_order() {
        Migrations::from_slice(STEPS).validate().unwrap();
    }

    #[test]
    fn a_newer_database_is_refused() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.pragma_update(None, "user_version", 1000).unwrap();
        assert!(migrate(&mut connection).is_err());
    }
}
