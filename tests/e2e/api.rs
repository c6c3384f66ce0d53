//! The local API from outside: who may call, and what a bad call gets.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::{Value, json};
use zerok_tests::{Daemon, Exit, Process, Sandbox, http_post, wait_until};

fn post(daemon: &Daemon, body: &str) -> Value {
    let answer = http_post(&daemon.socket(), body).unwrap();
    serde_json::from_str(&answer).unwrap_or_else(|e| panic!("{e}: {answer}"))
}

#[test]
fn curl_can_ask_for_the_status() {
    if Command::new("curl").arg("--version").stdout(Stdio::null()).status().is_err() {
        println!("SKIPPED: curl is missing (Debian package: curl)");
        return;
    }
    let sandbox = Sandbox::new();
    let daemon = Daemon::start(&sandbox, "anna");
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "10", "--unix-socket"])
        .arg(daemon.socket())
        .args(["http://localhost/", "-H", "content-type: application/json", "-d"])
        .arg(r#"{"jsonrpc":"2.0","id":1,"method":"daemon.status","params":{}}"#)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["id"], 1);
    assert_eq!(answer["result"]["device"]["id"].as_str().map(str::len), Some(64));
    assert_eq!(answer["result"]["groups"], json!([]));
}

#[test]
fn only_the_owner_may_reach_the_socket() {
    let sandbox = Sandbox::new();
    let daemon = Daemon::start(&sandbox, "anna");
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&daemon.socket()), 0o600);
    assert_eq!(mode(daemon.home()), 0o700);
    for entry in walk(daemon.home()) {
        assert_eq!(mode(&entry) & 0o077, 0, "{} is open to others", entry.display());
    }
}

fn walk(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        if entry.path().is_dir() {
            found.extend(walk(&entry.path()));
        }
        found.push(entry.path());
    }
    found
}

#[test]
fn bad_calls_get_one_clear_error_each_and_the_daemon_goes_on() {
    let sandbox = Sandbox::new();
    let daemon = Daemon::start(&sandbox, "anna");
    let code = |body: &str| post(&daemon, body)["error"]["code"].as_i64();
    assert_eq!(code("{"), Some(-32700));
    assert_eq!(code("[]"), Some(-32600));
    assert_eq!(code(r#"{"jsonrpc":"2.0","id":1,"method":"no.such","params":{}}"#), Some(-32601));
    assert_eq!(code(r#"{"jsonrpc":"2.0","id":1,"method":"blob.push","params":{}}"#), Some(-32602));
    assert_eq!(
        code(r#"{"jsonrpc":"2.0","id":1,"method":"blob.push","params":{"channel":7,"data":""}}"#),
        Some(-32602)
    );
    let refused = daemon.try_call("blob.push", &json!({"channel": "c", "data": ""})).unwrap_err();
    assert_eq!(refused.kind, "not_paired", "{refused:?}");
    assert!(refused.data["hint"].as_str().is_some_and(|hint| hint.contains("pair")), "{refused:?}");

    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "daemon.version", "params": {}});
    let batch = |n: usize| Value::from(vec![call.clone(); n]).to_string();
    assert_eq!(post(&daemon, &batch(100)).as_array().map(Vec::len), Some(100));
    assert!(post(&daemon, &batch(101))["error"]["code"].is_i64(), "over 100 calls");

    for garbage in [b"\0\0\0\0\0\0\0\0".as_slice(), b"GET / HTTP/1.1\r\n\r\n", &[0xff; 100_000]] {
        let mut stream = UnixStream::connect(daemon.socket()).unwrap();
        let _ = stream.write_all(garbage);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    }
    assert_eq!(daemon.call("daemon.version", &json!({}))["api"], 1);
}

#[test]
fn a_request_over_the_limit_gets_an_error_and_not_a_hang() {
    let sandbox = Sandbox::new();
    let daemon = Daemon::start(&sandbox, "anna");
    let data = "A".repeat(17 << 20);
    let body =
        json!({"jsonrpc": "2.0", "id": 1, "method": "blob.push", "params": {"channel": "c", "data": data}});
    // The daemon may stop reading at its limit and close, so that the rest cannot be written.
    if let Ok(answer) = http_post(&daemon.socket(), &body.to_string()) {
        assert!(!answer.contains("\"result\""), "{answer}");
    }
    assert_eq!(daemon.call("daemon.version", &json!({}))["api"], 1);
}

#[test]
fn a_second_daemon_on_one_home_exits_3_and_names_the_first() {
    let sandbox = Sandbox::new();
    let mut daemon = Daemon::start(&sandbox, "anna");
    let first = daemon.process().id().to_string();
    let log = sandbox.path().join("second.log");
    let mut second = Process::spawn("the second zerokd", &mut daemon.command(), &log);
    assert_eq!(second.wait(), Exit::Code(3));
    let told = std::fs::read_to_string(&log).unwrap();
    assert!(told.contains(&first), "it names the first one's pid {first}: {told}");
    assert_eq!(daemon.call("daemon.version", &json!({}))["api"], 1, "and the first one goes on");
}

#[test]
fn a_stale_socket_and_lock_are_replaced() {
    let sandbox = Sandbox::new();
    let mut daemon = Daemon::start(&sandbox, "anna");
    let id = daemon.status()["device"]["id"].clone();
    daemon.kill9();
    assert!(daemon.socket().exists(), "kill -9 leaves the socket behind");
    daemon.restart();
    assert_eq!(daemon.status()["device"]["id"], id, "the same device");
}

#[test]
fn sigterm_and_shutdown_end_the_daemon_cleanly_in_time() {
    let sandbox = Sandbox::new();
    let mut daemon = Daemon::start(&sandbox, "anna");
    let started = Instant::now();
    assert_eq!(daemon.stop(), Exit::Code(0));
    assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
    assert!(!daemon.socket().exists(), "its socket goes with it");
    daemon.restart();
    daemon.call("daemon.shutdown", &json!({}));
    assert_eq!(daemon.process().wait(), Exit::Code(0));
}

#[test]
fn a_missing_device_key_beside_a_database_is_never_replaced_silently() {
    let sandbox = Sandbox::new();
    let mut daemon = Daemon::start(&sandbox, "anna");
    assert_eq!(daemon.stop(), Exit::Code(0));
    let key =
        walk(daemon.home()).into_iter().find(|path| path.ends_with("device.key")).expect("a device key");
    let bytes = std::fs::read(&key).unwrap();
    for broken in [None, Some(&bytes[..bytes.len() - 1])] {
        std::fs::remove_file(&key).unwrap();
        if let Some(broken) = broken {
            std::fs::write(&key, broken).unwrap();
        }
        let log = sandbox.path().join("refused.log");
        let _ = std::fs::remove_file(&log);
        let mut process = Process::spawn("zerokd", &mut daemon.command(), &log);
        assert_eq!(process.wait(), Exit::Code(1));
        let told = std::fs::read_to_string(&log).unwrap();
        assert!(told.contains("device.key"), "{told}");
        std::fs::write(&key, &bytes).unwrap();
    }
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    daemon.restart();
}

#[test]
fn a_wrong_config_is_refused_with_its_key() {
    let sandbox = Sandbox::new();
    let mut daemon = Daemon::start(&sandbox, "anna");
    assert_eq!(daemon.stop(), Exit::Code(0));
    let config = daemon.home().join("config.toml");
    for (text, key) in [
        ("[network]\ndiscovery = 7\n", "discovery"),
        ("[network]\ncolour = \"blue\"\n", "colour"),
        ("[net", ""),
    ] {
        std::fs::write(&config, text).unwrap();
        let log = sandbox.path().join("refused.log");
        let _ = std::fs::remove_file(&log);
        let mut process = Process::spawn("zerokd", &mut daemon.command(), &log);
        assert_eq!(process.wait(), Exit::Code(1), "{text}");
        let told = std::fs::read_to_string(&log).unwrap();
        assert!(told.contains("config.toml") && told.contains(key), "{told}");
    }
    std::fs::remove_file(&config).unwrap();
    daemon.restart();
}

#[test]
fn events_are_numbered_and_none_is_missed() {
    let pair = zerok_tests::Pair::new();
    let mut after = json!("0");
    let mut kinds = Vec::new();
    wait_until("anna hears that ben was let in", || {
        let page = pair.anna.call("events.since", &json!({"after": after}));
        assert_eq!(page["missed"], false);
        for event in page["events"].as_array().unwrap() {
            kinds.push((event["n"].as_u64().unwrap(), event["kind"].as_str().unwrap().to_owned()));
        }
        after = page["next"].clone();
        kinds.iter().any(|(_, kind)| kind == "pair.granted")
    });
    assert!(kinds.iter().zip(1..).all(|((n, _), expected)| *n == expected), "{kinds:?}");
}
