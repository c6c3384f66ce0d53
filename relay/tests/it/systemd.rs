//! The unit file, judged by systemd itself. Without `systemd-analyze` (Debian: package systemd) nothing is judged, and it
//! says so.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Tenths of systemd's exposure level, of 100. The unit is at 11: it needs the network.
const MOST_EXPOSURE: &str = "--threshold=15";

fn unit() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../contrib/systemd/zerok-relay.service");
    std::fs::read_to_string(file).unwrap()
}

/// The unit with a path that exists in place of the installed binary's: verify looks for it.
fn with_a_binary_that_exists(dir: &Path, unit: &str) -> PathBuf {
    let binary = env!("CARGO_BIN_EXE_zerok-relay");
    let file = dir.join("zerok-relay.service");
    std::fs::write(&file, unit.replace("/usr/local/bin/zerok-relay ", &format!("{binary} "))).unwrap();
    file
}

/// `None`, and a word why, where systemd is not installed.
fn systemd_analyze(args: &[&str], file: &Path) -> Option<Output> {
    match Command::new("systemd-analyze").args(args).arg(file).output() {
        Ok(output) => Some(output),
        Err(error) => {
            eprintln!(
                "skipped: systemd-analyze cannot be run ({error}); Debian has it in the package systemd"
            );
            None
        }
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

#[test]
fn systemd_has_no_objection_to_the_unit() {
    let dir = tempfile::tempdir().unwrap();
    let file = with_a_binary_that_exists(dir.path(), &unit());
    let Some(output) = systemd_analyze(&["verify", "--man=no"], &file) else { return };
    assert!(output.status.success(), "{}", said(&output));
    // An unknown key is only a warning to systemd.
    assert_eq!(said(&output), "");
}

#[test]
fn systemd_objects_to_a_unit_with_a_mistake() {
    let dir = tempfile::tempdir().unwrap();
    let wrong = unit().replace("ProtectHome=yes", "ProtectHomes=yes");
    let file = with_a_binary_that_exists(dir.path(), &wrong);
    let Some(output) = systemd_analyze(&["verify", "--man=no"], &file) else { return };
    assert!(said(&output).contains("ProtectHomes"), "{}", said(&output));
}

#[test]
fn the_unit_exposes_next_to_nothing_of_the_machine() {
    let dir = tempfile::tempdir().unwrap();
    let file = with_a_binary_that_exists(dir.path(), &unit());
    let judge = ["security", "--offline=true", "--no-pager", MOST_EXPOSURE];
    let Some(output) = systemd_analyze(&judge, &file) else { return };
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn the_relay_takes_the_flags_that_the_unit_starts_it_with() {
    let dir = tempfile::tempdir().unwrap();
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("relay.example.toml");
    let unit = unit();
    let start = unit.lines().find_map(|l| l.strip_prefix("ExecStart=")).unwrap();
    let flags = start
        .replace("/etc/0k-sync/relay.toml", config.to_str().unwrap())
        .replace("/var/lib/zerok-relay", dir.path().join("data").to_str().unwrap());
    let output = Command::new(env!("CARGO_BIN_EXE_zerok-relay"))
        .env_clear()
        .args(flags.split_whitespace().skip(1))
        .arg("--validate")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
}
