//! The daemon as a process: how it starts, refuses to start, and stops.

#![expect(clippy::unwrap_used, reason = "these are the tests, helpers included")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

fn zerokd(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zerokd"));
    command.arg("--home").arg(home).env_remove("RUST_LOG").stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// Starts one and waits until it says that it is ready.
fn ready(home: &Path) -> Child {
    let mut child = zerokd(home).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut said = String::new();
    for line in &mut log {
        said = said + &line.unwrap() + "\n";
        if said.contains("is ready") {
            break;
        }
    }
    assert!(said.contains("is ready"), "the daemon ended before it was ready:\n{said}");
    // Keeps the pipe open for what it says when it stops.
    std::thread::spawn(move || log.count());
    child
}

fn fails(mut command: Command) -> (i32, String) {
    let Output { status, stderr, .. } = command.output().unwrap();
    (status.code().unwrap(), String::from_utf8(stderr).unwrap())
}

fn terminate(child: &Child) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
}

#[test]
fn it_starts_serves_and_stops_with_exit_0() {
    let home = tempfile::tempdir().unwrap();
    let mut child = ready(home.path());
    assert!(home.path().join("zerokd.sock").exists());
    terminate(&child);
    assert!(child.wait().unwrap().success());
    assert!(!home.path().join("zerokd.sock").exists());
    assert!(home.path().join("state.db").exists());
}

#[test]
fn a_second_daemon_on_one_home_exits_3_and_names_the_first() {
    let home = tempfile::tempdir().unwrap();
    let mut first = ready(home.path());
    let (code, said) = fails(zerokd(home.path()));
    assert_eq!(code, 3, "{said}");
    assert!(said.contains(&first.id().to_string()), "{said}");
    terminate(&first);
    first.wait().unwrap();
}

#[test]
fn a_killed_daemon_starts_again_as_the_same_device() {
    let home = tempfile::tempdir().unwrap();
    let mut child = ready(home.path());
    let key = std::fs::read(home.path().join("device.key")).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let mut child = ready(home.path());
    assert_eq!(std::fs::read(home.path().join("device.key")).unwrap(), key);
    terminate(&child);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_missing_key_beside_a_database_stops_the_start() {
    let home = tempfile::tempdir().unwrap();
    let mut child = ready(home.path());
    terminate(&child);
    child.wait().unwrap();
    std::fs::remove_file(home.path().join("device.key")).unwrap();
    let (code, said) = fails(zerokd(home.path()));
    assert_eq!(code, 1);
    assert!(said.contains("device.key"), "{said}");
    assert!(!home.path().join("device.key").exists());
}

#[test]
fn a_bad_configuration_is_explained_with_its_line() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("config.toml"), "[network]\ndiscovry = \"direct\"\n").unwrap();
    let (code, said) = fails(zerokd(home.path()));
    assert_eq!(code, 1);
    assert!(said.contains("config.toml") && said.contains("discovry") && said.contains("line 2"), "{said}");
}
