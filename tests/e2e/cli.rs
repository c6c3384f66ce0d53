//! `zerokctl`: exit codes, and what stands where.

use serde_json::json;
use zerok_tests::{Daemon, Pair, Sandbox};

#[test]
fn without_a_daemon_every_command_exits_3_and_says_how_to_start_it() {
    let sandbox = Sandbox::new();
    let mut daemon = Daemon::start(&sandbox, "anna");
    daemon.kill9();
    for args in [&["status"][..], &["push", "x"], &["pull"], &["pair", "--create"], &["folder", "list"]] {
        let told = daemon.ctl(args);
        assert_eq!(told.code, 3, "{told:?}");
        assert!(told.stderr.contains("zerokd"), "{told:?}");
        assert_eq!(told.stdout, "", "talk goes to stderr");
    }
}

#[test]
fn wrong_usage_exits_2_and_an_unpaired_device_4() {
    let sandbox = Sandbox::new();
    let daemon = Daemon::start(&sandbox, "anna");
    for args in [&["no-such-command"][..], &["push", "--colour", "blue"], &["folder", "join"]] {
        assert_eq!(daemon.ctl(args).code, 2, "{args:?}");
    }
    for args in [&["push", "x"][..], &["pull"], &["folder", "add", "/tmp/anything"]] {
        let told = daemon.ctl(args);
        assert_eq!(told.code, 4, "{told:?}");
        assert!(told.stderr.contains("pair"), "the hint says what to do: {told:?}");
    }
    assert_eq!(daemon.ctl(&["status"]).code, 0, "status answers whatever is wrong");
    assert_eq!(daemon.json(&["folder", "list"]), json!({"folders": []}));
    assert_eq!(daemon.json(&["relay", "list"]), json!({"relays": []}));
    assert_eq!(daemon.json(&["group", "list"]), json!({"groups": []}));
}

#[test]
fn push_takes_an_argument_standard_input_or_a_file_and_pull_gives_it_back() {
    let pair = Pair::new();
    let file = pair.sandbox.path().join("letter");
    std::fs::write(&file, b"from a file\n").unwrap();
    let _ = pair.anna.ctl(&["push", "from an argument"]).ok();
    let _ = pair.anna.ctl_with_input(&["push", "-"], b"from standard input").ok();
    let _ = pair.anna.ctl(&["push", &format!("@{}", file.display())]).ok();
    let expected =
        [b"from an argument".to_vec(), b"from standard input".to_vec(), b"from a file\n".to_vec()].to_vec();
    assert_eq!(pair.anna.pull("default"), expected);
    let shown = pair.anna.ctl(&["pull"]).ok().stdout;
    for blob in expected {
        assert!(shown.contains(std::str::from_utf8(&blob).unwrap()), "{shown}");
    }
}

#[test]
fn pull_reads_on_from_its_cursor_and_with_a_limit() {
    let pair = Pair::new();
    for n in 0..5 {
        pair.anna.push("default", format!("{n}").as_bytes());
    }
    let page = pair.anna.json(&["pull", "--limit", "2"]);
    assert_eq!(page["entries"].as_array().map(Vec::len), Some(2));
    let next = page["next"].as_str().unwrap();
    let rest = pair.anna.json(&["pull", "--after", next]);
    assert_eq!(rest["entries"].as_array().map(Vec::len), Some(3));
}

#[test]
fn options_stand_before_or_after_the_command() {
    let sandbox = Sandbox::new();
    let daemon = Daemon::start(&sandbox, "anna");
    let before = daemon.ctl(&["--json", "status"]).ok().json();
    let after = daemon.ctl(&["status", "--json"]).ok().json();
    assert_eq!(before["device"], after["device"]);
}
