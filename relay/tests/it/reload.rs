//! SIGHUP: what can change while the relay runs changes, what cannot is named, and a wrong file changes nothing.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use zerok_protocol::*;
use zerok_relay::Config;

use crate::binary::{Process, command, signal, until};
use crate::client::{Client, PATIENCE, Stream, TestRelay, config, push};
use crate::devices::{Chain, Device};
use crate::http::request;

/// A relay process with a configuration file, and its log line by line.
struct Relay {
    process: Process,
    address: RelayAddr,
    log: mpsc::Receiver<String>,
    file: PathBuf,
}

impl Relay {
    fn start(dir: &Path, text: &str) -> Self {
        let (file, address) = (dir.join("relay.toml"), dir.join("address"));
        std::fs::write(&file, text).unwrap();
        let mut command = command(dir);
        command.args(["--bind", "127.0.0.1:0", "--address-file"]).arg(&address).arg("--config").arg(&file);
        let mut process = Process(command.spawn().unwrap());
        let (line, log) = mpsc::channel();
        let lines = BufReader::new(process.0.stderr.take().unwrap()).lines();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|text| line.send(text)));
        let address = until(|| std::fs::read_to_string(&address).ok()).parse().unwrap();
        Self { process, address, log, file }
    }

    /// Another file and SIGHUP; the log's word on it.
    fn reload(&self, text: &str) -> String {
        std::fs::write(&self.file, text).unwrap();
        signal(&self.process, "HUP");
        self.line("configuration")
    }

    fn line(&self, with: &str) -> String {
        loop {
            let line = self.log.recv_timeout(PATIENCE).expect("the log says nothing of it");
            if line.contains(with) {
                return line;
            }
        }
    }
}

/// How many of so many pushes pass.
async fn passes(stream: &mut Stream, chain: &Chain, first: u32, count: u32) -> usize {
    let mut passed = 0;
    for n in first..first + count {
        stream.send(push(chain, n, &b"x"[..])).await;
        match stream.next().await {
            Message::PushAck(_) => passed += 1,
            Message::Error(e) => assert_eq!(e.code, Code::RateLimited),
            other => panic!("{other:?}"),
        }
    }
    passed
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_file_rules_at_once_and_a_broken_one_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let relay = Relay::start(dir.path(), "");
    let a = Device::new(1);
    let chain = Chain::new(&a);
    let client = Client::connect(&relay.address, &a).await;
    let (mut stream, _) = client.session(&chain).await;
    assert_eq!(passes(&mut stream, &chain, 0, 20).await, 20);

    let tight = "[limits]\nmessages_per_minute = 1\nmessages_per_minute_burst = 3\n";
    assert!(relay.reload(tight).contains("read again"));
    assert_eq!(passes(&mut stream, &chain, 100, 20).await, 3);

    for (broken, named) in [
        ("[limits]\nmessages_per_minute = \"many\"\n", "messages_per_minute"),
        ("[limits]\nmessages_per_hour = 1\n", "messages_per_hour"),
        ("[limits]\nmessages_per_minute_burst = 0\n", "limits.messages_per_minute_burst = 0"),
        ("[storage]\nmax_group_storage = 5\n", "storage.max_group_storage = 5"),
    ] {
        let said = relay.reload(broken);
        assert!(said.contains("ERROR") && said.contains("stays as it is"), "{said}");
        assert!(said.contains(named), "one line names what is wrong: {said}");
        assert_eq!(passes(&mut stream, &chain, 200, 2).await, 0);
    }
    // The same connection all the time; and the way back.
    assert!(relay.reload("").contains("read again"));
    assert_eq!(passes(&mut stream, &chain, 300, 20).await, 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_a_restart_is_named_and_the_rest_is_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let relay = Relay::start(dir.path(), "");
    let text =
        "[server]\ncongestion = \"bbr3\"\n[content]\ndir = \"elsewhere\"\n[storage]\nmax_blob_size = 100\n";
    assert!(relay.reload(text).contains("read again"));
    let warning = relay.line("started again");
    assert!(warning.contains("WARN") && warning.contains("content.dir, server.congestion"), "{warning}");
    assert!(!warning.contains("max_blob_size") && !warning.contains("server.bind"), "{warning}");
    let a = Device::new(1);
    let chain = Chain::new(&a);
    let client = Client::connect(&relay.address, &a).await;
    let (mut stream, welcome) = client.session(&chain).await;
    assert_eq!(welcome.limits.max_blob, 100);
    stream.send(push(&chain, 1, vec![0; 101])).await;
    assert_eq!(stream.error().await.code, Code::BlobTooLarge);
}

/// The relay's own configuration with a change, taken over.
fn reload(relay: &TestRelay, change: impl FnOnce(&mut Config)) {
    let mut new = config(&relay.dir);
    new.http.bind = Some("127.0.0.1:0".parse().unwrap());
    change(&mut new);
    assert_eq!(relay.running.reload(&new).unwrap(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_limit_that_can_change_does() {
    let relay = TestRelay::with(|c| c.http.bind = Some("127.0.0.1:0".parse().unwrap())).await;
    let a = Device::new(1);
    let chain = Chain::new(&a);
    let client = Client::connect(&relay.address(), &a).await;
    let (mut stream, _) = client.session(&chain).await;

    reload(&relay, |c| {
        c.storage.max_blob_size = 1000;
        c.storage.max_group_storage = 1000;
    });
    stream.push(&chain, 1, vec![0; 900]).await;
    stream.send(push(&chain, 2, vec![0; 900])).await;
    assert_eq!(stream.error().await.code, Code::GroupQuotaExceeded);

    reload(&relay, |c| c.storage.max_total_storage = 1 << 20);
    stream.push(&chain, 2, vec![0; 900]).await;

    reload(&relay, |c| c.limits.max_concurrent_sessions = 1);
    let mut second = client.open().await;
    second.send(crate::client::hello(&chain)).await;
    assert_eq!(second.error().await.code, Code::RelayOverloaded);

    reload(&relay, |c| c.limits.max_mailboxes = 0);
    let mut mailbox = client.open().await;
    let open = MailboxOpen { req: 1, mailbox: MailboxId([1; 16]), expiry_seconds: 60, notice: None };
    mailbox.send(open).await;
    assert_eq!(mailbox.error().await.code, Code::RelayOverloaded);

    reload(&relay, |c| c.content.max_total = 10);
    let mut chunks = client.open().await;
    let data = bytes::Bytes::from(vec![0; 100]);
    let put = ChunkPut { req: 1, group: chain.roster.group(), address: Hash::of(&data), data };
    chunks.send(put).await;
    assert_eq!(chunks.next().await, ChunkPutAck { req: 1, outcome: ChunkOutcome::Full }.into());

    assert_eq!(request(&relay, "GET /metrics").await.0, 200);
    reload(&relay, |c| c.http.metrics = false);
    assert_eq!(request(&relay, "GET /metrics").await.0, 404);

    reload(&relay, |c| {
        c.limits.signals_per_minute = 1;
        c.limits.signals_per_minute_burst = 1;
    });
    let signal = Signal { recipient: None, sender: None, payload: bytes::Bytes::from_static(b"s") };
    stream.send(signal.clone()).await;
    stream.send(signal).await;
    assert_eq!(stream.error().await.code, Code::RateLimited);

    reload(&relay, |c| {
        c.limits.connections_per_device = 1;
        c.limits.connections_per_device_burst = 1;
    });
    let _one = Client::connect(&relay.address(), &a).await;
    let two = Client::connect(&relay.address(), &a).await;
    tokio::time::timeout(PATIENCE, two.conn.closed()).await.unwrap();

    let mut wrong = config(&relay.dir);
    wrong.limits.hello_timeout_secs = 0;
    assert!(relay.running.reload(&wrong).is_err());
}
