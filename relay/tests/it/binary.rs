//! The program itself: flags, files, signals, exit codes.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use zerok_protocol::{CREDIT_DEFAULT, Code, RelayAddr};

use crate::client::{Client, PATIENCE};
use crate::devices::{Chain, Device};

/// A relay process; killed when dropped.
pub(crate) struct Process(pub(crate) Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn command(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zerok-relay"));
    command.env_clear().arg("--data").arg(dir.join("data")).args(["--http", "none"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

pub(crate) fn run(command: &mut Command) -> Output {
    command.output().unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Waits for the condition; the relay has no other way to tell than its files.
pub(crate) fn until<T>(mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "it never happened");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn spawn(dir: &Path, bind: &str) -> (Process, RelayAddr) {
    spawn_with(dir, &["--bind", bind])
}

pub(crate) fn spawn_with(dir: &Path, args: &[&str]) -> (Process, RelayAddr) {
    let file = dir.join("address");
    let _ = std::fs::remove_file(&file);
    let mut command = command(dir);
    command.args(args).arg("--address-file").arg(&file).env("RUST_LOG", "trace");
    let mut child = command.spawn().unwrap();
    let address = until(|| {
        assert!(child.try_wait().unwrap().is_none(), "the relay has ended");
        std::fs::read_to_string(&file).ok()
    });
    (Process(child), address.parse().unwrap())
}

pub(crate) fn signal(process: &Process, name: &str) {
    let pid = process.0.id().to_string();
    assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_identity_port_and_blobs_and_the_log_tells_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (Device::new(1), Device::new(2));
    let chain = Chain::of(&[&a, &b]);
    let (mut process, first) = spawn(dir.path(), "127.0.0.1:0");
    let client = Client::connect(&first, &a).await;
    let (mut session, _) = client.session(&chain).await;
    let ack = session.push(&chain, 1, &b"canary-payload-bytes"[..]).await;
    signal(&process, "TERM");
    // Told before the end, which is an orderly one.
    assert_eq!(session.error().await.code, Code::RelayShuttingDown);
    let status = until(|| process.0.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
    let mut log = String::new();
    process.0.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert!(log.contains("listening") && log.contains("stopped"), "{log}");
    assert!(log.contains("received kind=\"Push\"") && log.contains("send kind=\"PushAck\""), "{log}");
    assert!(log.contains("connection{device=~"), "{log}");
    let group = chain.roster.group();
    let hidden = [a.id().to_hex(), group.to_hex(), first.id.to_hex(), "127.0.0.1".into(), "canary".into()];
    for secret in hidden {
        assert!(!log.contains(&secret[..secret.len().min(10)]), "{log}");
    }
    let (_process, second) = spawn(dir.path(), &first.addrs[0].to_string());
    assert_eq!(first, second);
    let client = Client::connect(&second, &b).await;
    let (mut session, welcome) = client.session(&chain).await;
    assert_eq!(welcome.max_cursor, ack.cursor);
    session.subscribe(1, 0, CREDIT_DEFAULT).await;
    let (mut delivery, _) = client.delivery().await;
    assert_eq!(&delivery.blob().await.payload[..], b"canary-payload-bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (Device::new(1), Device::new(2));
    let chain = Chain::of(&[&a, &b]);
    let (process, address) = spawn(dir.path(), "127.0.0.1:0");
    let client = Client::connect(&address, &a).await;
    let (mut session, _) = client.session(&chain).await;
    let mut last = 0;
    for n in 0..50 {
        last = session.push(&chain, n, n.to_be_bytes().to_vec()).await.cursor;
    }
    drop(process);
    let (_process, address) = spawn(dir.path(), "127.0.0.1:0");
    let client = Client::connect(&address, &b).await;
    let (mut session, welcome) = client.session(&chain).await;
    assert_eq!(welcome.max_cursor, last);
    session.subscribe(1, 0, CREDIT_DEFAULT).await;
    let (mut delivery, _) = client.delivery().await;
    assert_eq!(delivery.blobs_until(last).await.len(), 50);
}

#[test]
fn a_second_relay_on_the_same_data_refuses_to_start() {
    let dir = tempfile::tempdir().unwrap();
    let _first = spawn(dir.path(), "127.0.0.1:0");
    let output = run(command(dir.path()).args(["--bind", "127.0.0.1:0"]));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("another relay"), "{}", stderr(&output));
}

#[test]
fn wrong_use_and_wrong_configuration_exit_2_and_name_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let output = run(command(dir.path()).args(["--bind", "nowhere"]));
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--bind"));
    let file = dir.path().join("relay.toml");
    std::fs::write(&file, "[limits]\nmessages_per_hour = 1\n").unwrap();
    let output = run(command(dir.path()).arg("--config").arg(&file));
    assert_eq!(output.status.code(), Some(2));
    let text = stderr(&output);
    assert!(text.contains("messages_per_hour") && text.contains("line 2"), "{text}");
    let output = run(command(dir.path()).arg("--validate").env("ZEROK_RELAY_SERVER_BIND", "x"));
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("ZEROK_RELAY_SERVER_BIND"));
    assert_eq!(run(command(dir.path()).arg("--validate")).status.code(), Some(0));
    assert!(!dir.path().join("data").exists());
}

#[test]
fn a_busy_port_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let output = run(command(dir.path()).args(["--bind", &addr]));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains(&addr), "{}", stderr(&output));
}
