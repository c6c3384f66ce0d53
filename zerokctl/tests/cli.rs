//! The binary itself: usage errors, help, and what it says when no daemon runs.

use std::process::{Command, Output};

fn zerokctl(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zerokctl"));
    command.args(args).stdin(std::process::Stdio::null());
    command.env_remove("ZEROKD_HOME").env_remove("ZEROKD_SOCKET");
    command.output().expect("the binary runs")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("stderr is text")
}

#[test]
fn help_names_every_command_and_the_exit_codes() {
    let output = zerokctl(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    for word in
        ["init", "status", "pair", "push", "pull", "device", "group", "relay", "folder", "events", "paths"]
    {
        assert!(text.contains(&format!("\n  {word} ")), "{word} in {text}");
    }
    assert!(text.contains("3 daemon not running"), "{text}");
}

#[test]
fn wrong_usage_exits_2_and_says_what_is_wrong() {
    for args in
        [&["frobnicate"][..], &["pair"], &["pair", "--create", "--join", "x"], &["pull", "--limit", "x"]]
    {
        let output = zerokctl(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(stderr(&output).contains("error:"), "{args:?}");
        assert!(output.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn without_a_daemon_it_exits_3_with_the_command_that_starts_one() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path().to_str().unwrap();
    let before = zerokctl(&["--home", home, "status"]);
    let after = zerokctl(&["status", "--home", home]);
    for output in [before, after] {
        assert_eq!(output.status.code(), Some(3));
        let text = stderr(&output);
        assert!(text.contains("zerokd is not running"), "{text}");
        assert!(text.contains(&format!("hint: start it: zerokd --home {home}")), "{text}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_stale_socket_counts_as_no_daemon() {
    let home = tempfile::tempdir().unwrap();
    drop(std::os::unix::net::UnixListener::bind(home.path().join("zerokd.sock")).unwrap());
    let output = zerokctl(&["--home", home.path().to_str().unwrap(), "push", "x"]);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
}

#[test]
fn with_json_an_error_is_one_json_line_on_stderr() {
    let home = tempfile::tempdir().unwrap();
    let output = zerokctl(&["status", "--json", "--home", home.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(3));
    let error: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(error["error"]["kind"], "not_running");
    assert!(error["error"]["hint"].as_str().unwrap().starts_with("start it: zerokd --home "));
}

#[test]
fn a_relay_address_with_a_token_is_refused_as_an_argument_and_not_repeated() {
    let home = tempfile::tempdir().unwrap();
    let output =
        zerokctl(&["--home", home.path().to_str().unwrap(), "relay", "add", "ab@127.0.0.1:1?token=hunter2"]);
    assert_eq!(output.status.code(), Some(2));
    let text = stderr(&output);
    assert!(text.contains("relay add -"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn a_home_too_long_for_a_socket_exits_2() {
    let output = zerokctl(&["--home", &format!("/{}", "x".repeat(200)), "status"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("socket path has"), "{}", stderr(&output));
}

#[test]
fn a_push_larger_than_the_limit_is_refused_before_it_is_read_whole() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("big");
    std::fs::write(&file, vec![0; 900 * 1024 + 1]).unwrap();
    let argument = format!("@{}", file.display());
    let output = zerokctl(&["--home", home.path().to_str().unwrap(), "push", &argument]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("921600 bytes"), "{}", stderr(&output));
}

#[test]
fn paths_needs_no_daemon() {
    let home = tempfile::tempdir().unwrap();
    let output = zerokctl(&["paths", "--json", "--home", home.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0));
    let paths: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(paths["running"], false);
    assert!(paths["socket"].as_str().unwrap().ends_with("/zerokd.sock"));
}
