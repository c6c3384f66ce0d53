//! Where the socket is put, and what is not touched.

use std::os::unix::fs::PermissionsExt;

use super::super::listener::BindError;
use super::*;

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn the_socket_and_its_directory_are_private() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run/zerokd.sock");
    let _listener = bind(&path).await.unwrap();
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_the_own_one_removed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("zerokd.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let listener = bind(&path).await.unwrap();
    drop(listener);
    assert!(!path.exists());
}

#[tokio::test]
async fn a_served_socket_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("zerokd.sock");
    let _served = bind(&path).await.unwrap();
    assert!(matches!(bind(&path).await, Err(BindError::InUse(_))));
    UnixStream::connect(&path).await.unwrap();
}

#[tokio::test]
async fn what_is_no_socket_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("zerokd.sock");
    std::fs::write(&file, "mine").unwrap();
    assert!(matches!(bind(&file).await, Err(BindError::NoSocket(_))));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");

    let link = directory.path().join("link.sock");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    assert!(matches!(bind(&link).await, Err(BindError::NoSocket(_))));
    assert!(link.is_symlink());
}

#[tokio::test]
async fn a_directory_that_others_can_write_to_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let path = directory.path().join("zerokd.sock");
    assert!(matches!(bind(&path).await, Err(BindError::OpenDirectory(_))));
    assert!(!path.exists());
}
