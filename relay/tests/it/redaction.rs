//! The log of the program at TRACE, over every message of the protocol, what is refused, what fails, and every
//! subcommand: no id, no address, no payload, no token.

mod leaks;

use std::collections::BTreeSet;
use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use iroh::endpoint::QuicTransportConfig;
use rustls::crypto::aws_lc_rs::kx_group;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use zerok_protocol::*;

use self::leaks::{Secrets, leaks};
use crate::binary::{Process, signal, until};
use crate::client::{Client, Inbound, Stream, endpoint, endpoint_addr, hello, push};
use crate::devices::{Chain, Device};
use crate::samples;

/// What devices say to a relay, and it to them.
const TO_RELAY: &[u8] =
    &[0x01, 0x03, 0x04, 0x05, 0x10, 0x20, 0x22, 0x24, 0x25, 0x33, 0x70, 0x71, 0x72, 0x80, 0x81, 0x82, 0x83];
const TO_DEVICE: &[u8] = &[
    0x02, 0x06, 0x07, 0x08, 0x11, 0x21, 0x23, 0x26, 0x27, 0x30, 0x31, 0x33, 0x73, 0x74, 0x75, 0x84, 0x85,
    0xff,
];

/// Bytes that are found again wherever they stand.
fn canary<const N: usize>(seed: &str) -> [u8; N] {
    let mut out = [0; N];
    blake3::Hasher::new().update(seed.as_bytes()).finalize_xof().fill(&mut out);
    out
}

/// Everything that was said, and what of it must be nowhere.
#[derive(Default)]
struct Talk {
    sent: BTreeSet<u8>,
    heard: BTreeSet<u8>,
    secrets: Secrets,
}

impl Talk {
    fn id(&mut self, what: &'static str, id: impl AsRef<[u8]>) {
        self.secrets.bytes.push((what, id.as_ref().to_vec()));
    }

    async fn say(&mut self, stream: &mut Stream, message: impl Into<Message>) {
        let message = message.into();
        self.sent.insert(message.kind());
        stream.raw(&message.to_frame()).await;
    }

    async fn hear(&mut self, stream: &mut Inbound) -> Message {
        let message = stream.next().await;
        self.heard.insert(message.kind());
        message
    }

    /// Until a message of this type.
    async fn until(&mut self, stream: &mut Inbound, kind: u8) -> Message {
        loop {
            let message = self.hear(stream).await;
            if message.kind() == kind {
                return message;
            }
        }
    }
}

struct Place {
    dir: tempfile::TempDir,
    http: SocketAddr,
    logs: Vec<PathBuf>,
}

impl Place {
    fn new() -> Self {
        let http = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        Self { dir: tempfile::tempdir().unwrap(), http, logs: Vec::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_zerok-relay"));
        command.env_clear().env("RUST_LOG", "trace").arg("--data").arg(self.path("data"));
        command.args(["--http", &self.http.to_string()]).args(args);
        command
    }

    fn start(&mut self) -> (Process, RelayAddr) {
        let address = self.path("address");
        let _ = std::fs::remove_file(&address);
        let log = self.path(&format!("log-{}", self.logs.len()));
        let mut command = self.command(&["--bind", "127.0.0.1:0", "--admission", "token", "--address-file"]);
        command.arg(&address).stderr(std::fs::File::create(&log).unwrap()).stdout(Stdio::null());
        self.logs.push(log);
        let process = Process(command.spawn().unwrap());
        let address = until(|| std::fs::read_to_string(&address).ok());
        (process, address.parse().unwrap())
    }

    /// Runs a subcommand; what it writes to stderr is searched, too.
    fn run(&mut self, args: &[&str]) -> String {
        let output = self.command(args).output().unwrap();
        let log = self.path(&format!("log-{}", self.logs.len()));
        std::fs::write(&log, &output.stderr).unwrap();
        self.logs.push(log);
        String::from_utf8(output.stdout).unwrap()
    }

    fn stop(process: &mut Process) {
        signal(process, "TERM");
        assert!(until(|| process.0.try_wait().unwrap()).success());
    }

    fn log(&self) -> Vec<u8> {
        let mut all = Vec::new();
        for log in &self.logs {
            std::fs::File::open(log).unwrap().read_to_end(&mut all).unwrap();
        }
        all
    }
}

/// Two members and all that they may say to each other.
async fn members(talk: &mut Talk, address: &RelayAddr, token: String) {
    let (a, b, c) = (Device::new(1), Device::new(2), Device::new(3));
    let mut chain = Chain::of(&[&a, &b]);
    for device in [&a, &b, &c] {
        talk.id("device", device.id());
    }
    talk.id("group", chain.roster.group());
    talk.id("statement", chain.roster.head().hash);
    talk.id("signature", chain.appends[1].statement.signature);
    let (ca, cb) = (Client::connect(address, &a).await, Client::connect(address, &b).await);
    let mut sa = ca.open().await;
    let first = Hello { token: Some(token), ..hello(&chain) };
    talk.say(&mut sa, first.clone()).await;
    talk.until(&mut sa.recv, 0xff).await;
    talk.say(&mut sa, RosterAppend { req: 1, statements: chain.appends.clone() }).await;
    talk.until(&mut sa.recv, 0x08).await;
    talk.say(&mut sa, first).await;
    match talk.until(&mut sa.recv, 0x02).await {
        Message::Welcome(welcome) => talk.id("log", welcome.log_id),
        other => panic!("{other:?}"),
    }
    let (mut sb, _) = cb.session(&chain).await;
    talk.until(&mut sa.recv, 0x30).await;
    talk.say(&mut sb, Subscribe { req: 1, after_cursor: 0, mode: SubscribeMode::Blobs, credit: 1 << 20 })
        .await;
    talk.say(&mut sb, Subscribe { req: 2, after_cursor: 0, mode: SubscribeMode::Notify, credit: 0 }).await;
    talk.say(&mut sb, Credit { req: 1, bytes: 1 << 20 }).await;
    let mut delivery = Inbound { recv: cb.conn.accept_uni().await.unwrap() };
    let blob = Push {
        blob_id: BlobId(canary("blob")),
        recipient: Some(b.id()),
        ttl_seconds: Some(7200),
        ..push(&chain, 1, Bytes::from(canary::<900>("payload").to_vec()))
    };
    talk.id("blob", blob.blob_id);
    talk.id("payload", canary::<900>("payload"));
    talk.say(&mut sa, blob.clone()).await;
    talk.until(&mut sa.recv, 0x11).await;
    talk.until(&mut delivery, 0x23).await;
    talk.until(&mut delivery, 0x27).await;
    talk.until(&mut sb.recv, 0x31).await;
    // Refused: another payload, another epoch, too large.
    talk.say(&mut sa, Push { payload: Bytes::from_static(b"canary-other"), ..blob.clone() }).await;
    let stale = EpochId { number: 5, tag: u64::from_be_bytes(canary("epoch")) };
    talk.id("epoch", stale.tag.to_be_bytes());
    talk.secrets.texts.push(stale.tag.to_string());
    talk.say(&mut sa, Push { epoch_id: stale, blob_id: BlobId(canary("stale")), ..blob.clone() }).await;
    talk.say(&mut sa, Push { recipient: Some(c.id()), blob_id: BlobId(canary("stray")), ..blob.clone() })
        .await;
    let large = canary::<9>("large").repeat(118_000);
    talk.say(&mut sa, Push { payload: large.into(), blob_id: BlobId(canary("large")), ..blob }).await;
    for (what, seed) in [("stale", "stale"), ("stray", "stray"), ("large", "large")] {
        talk.id(what, canary::<16>(seed));
    }
    for _ in 0..4 {
        talk.until(&mut sa.recv, 0xff).await;
    }
    talk.say(&mut sb, Pull { req: 3, after_cursor: 0, limit: Some(10) }).await;
    talk.until(&mut sb.recv, 0x21).await;
    talk.say(&mut sb, RosterGet { req: 4, from: 0 }).await;
    talk.until(&mut sb.recv, 0x07).await;
    let payload = Bytes::from_static(b"canary-signal");
    talk.say(&mut sa, Signal { recipient: Some(b.id()), sender: None, payload }).await;
    talk.until(&mut sb.recv, 0x33).await;
    chunks_and_mailboxes(talk, &ca, &chain).await;
    chain.add(&a, &c);
    talk.id("new statement", chain.roster.head().hash);
    talk.say(&mut sa, RosterAppend { req: 5, statements: chain.appends[2..].to_vec() }).await;
    talk.until(&mut sb.recv, 0x06).await;
    // Shut out, with the statement that did it.
    chain.revoke(&a, &b);
    talk.say(&mut sa, RosterAppend { req: 6, statements: chain.appends[3..].to_vec() }).await;
    talk.until(&mut sb.recv, 0xff).await;
    talk.say(&mut sa, Ack { cursor: u64::MAX }).await;
    talk.say(&mut sa, Bye { reason: "canary-bye".into() }).await;
    while sa.recv.try_next().await.is_some() {}
}

async fn chunks_and_mailboxes(talk: &mut Talk, client: &Client, chain: &Chain) {
    let group = chain.roster.group();
    let data = Bytes::from(canary::<5000>("chunk").to_vec());
    let (address, absent) = (Hash::of(&data), Hash(canary("absent")));
    talk.id("chunk", address);
    talk.id("absent chunk", absent);
    talk.id("chunk data", data.clone());
    let mut chunks = client.open().await;
    talk.say(&mut chunks, ChunkPut { req: 1, group, address, data: data.clone() }).await;
    talk.until(&mut chunks.recv, 0x73).await;
    talk.say(&mut chunks, ChunkPut { req: 2, group, address: absent, data }).await;
    talk.until(&mut chunks.recv, 0x73).await;
    talk.say(&mut chunks, ChunkGet { req: 3, group, addresses: vec![address, absent], wait_ms: 1 }).await;
    talk.until(&mut chunks.recv, 0x74).await;
    talk.say(&mut chunks, ChunkHave { req: 4, group, addresses: vec![address, absent] }).await;
    talk.until(&mut chunks.recv, 0x75).await;
    let mailbox = MailboxId(canary("mailbox"));
    talk.id("mailbox", mailbox);
    let mut mail = client.open().await;
    let notice = Some(Bytes::from_static(b"canary-notice"));
    talk.say(&mut mail, MailboxOpen { req: 1, mailbox, expiry_seconds: 60, notice }).await;
    talk.until(&mut mail.recv, 0x84).await;
    let message = Bytes::from_static(b"canary-mail");
    talk.say(&mut mail, MailboxPut { req: 2, mailbox, to: Side::Opener, message }).await;
    talk.say(&mut mail, MailboxTake { req: 3, mailbox, side: Side::Opener, wait_ms: 1000 }).await;
    talk.until(&mut mail.recv, 0x85).await;
    talk.say(&mut mail, MailboxClose { req: 4, mailbox }).await;
    talk.say(&mut mail, MailboxTake { req: 5, mailbox, side: Side::Joiner, wait_ms: 1000 }).await;
    talk.until(&mut mail.recv, 0xff).await;
}

/// A device that is no member of anything: what it says is refused, and what it says wrong, too.
async fn strangers(talk: &mut Talk, address: &RelayAddr) {
    let d = Device::new(4);
    talk.id("stranger", d.id());
    let chain = Chain::new(&d);
    talk.id("stranger's group", chain.roster.group());
    let client = Client::connect(address, &d).await;
    // Everything there is, as the first message and after a HELLO that is refused.
    for message in samples::every_message() {
        let mut first = client.open().await;
        talk.say(&mut first, message.clone()).await;
        let mut stream = client.open().await;
        talk.say(&mut stream, Hello { token: Some("canary-token".into()), ..hello(&chain) }).await;
        talk.until(&mut stream.recv, 0xff).await;
        talk.say(&mut stream, message).await;
        first.send.finish().unwrap();
        stream.send.finish().unwrap();
        while first.recv.try_next().await.is_some() {}
        while stream.recv.try_next().await.is_some() {}
    }
    // A roster that the token does not admit.
    let mut stream = client.open().await;
    talk.say(&mut stream, Hello { token: Some("canary-token".into()), ..hello(&chain) }).await;
    talk.until(&mut stream.recv, 0xff).await;
    talk.say(&mut stream, RosterAppend { req: 1, statements: chain.appends.clone() }).await;
    talk.until(&mut stream.recv, 0xff).await;
    let bodies: [&[u8]; 5] = [
        b"canary-garbage",
        b"\x92\x6f\x81\xa6canary\x01",
        b"\x92\x22\x84\xa3req\x01\xacafter_cursor\x01\xa4mode\xafcanary-for-mode\xa6credit\x01",
        b"\x92\x03\x81\xa6reason\xad\xff\xfecanary-utf8",
        b"\x92\x24\x81\xa6cursor\xadcanary-cursor",
    ];
    for body in bodies {
        let mut frame = Vec::new();
        put_frame(&mut frame, |out| out.extend_from_slice(body));
        let mut stream = client.open().await;
        stream.raw(&frame).await;
        talk.until(&mut stream.recv, 0xff).await;
    }
    let mut cut = client.open().await;
    cut.raw(b"\x00\x00\x00\xffcanary-cut").await;
    cut.send.finish().unwrap();
    talk.until(&mut cut.recv, 0xff).await;
    client.conn.close(7u32.into(), b"canary-close");
    for (exchange, alpn) in [(kx_group::X25519MLKEM768, &b"canary-alpn"[..]), (kx_group::X25519, ALPN)] {
        let endpoint =
            endpoint(&Device::new(5), vec![exchange], QuicTransportConfig::builder().build()).await;
        // Who asks for another protocol is not told, and would try for long.
        let connecting = timeout(Duration::from_secs(1), endpoint.connect(endpoint_addr(address), alpn));
        assert!(!matches!(connecting.await, Ok(Ok(_))));
    }
    talk.id("refused", Device::new(5).id());
}

/// What damage makes the relay say.
async fn damage(place: &mut Place, talk: &mut Talk, chain: &Chain, device: &Device) {
    let database = rusqlite::Connection::open(place.path("data").join("relay.db")).unwrap();
    let blobs = database.execute("UPDATE blobs SET payload = zeroblob(length(payload))", []).unwrap();
    assert!(blobs > 0);
    drop(database);
    for chunk in files(&place.path("data").join("chunks")) {
        std::fs::write(&chunk, vec![0; 5000]).unwrap();
    }
    let (mut process, address) = place.start();
    talk.id("relay", address.id);
    let client = Client::connect(&address, device).await;
    let (mut session, _) = client.session(chain).await;
    session.send(Pull { req: 1, after_cursor: 0, limit: None }).await;
    talk.until(&mut session.recv, 0x21).await;
    let mut chunks = client.open().await;
    let address = Hash::of(&canary::<5000>("chunk"));
    chunks.send(ChunkGet { req: 1, group: chain.roster.group(), addresses: vec![address], wait_ms: 1 }).await;
    talk.until(&mut chunks.recv, 0x74).await;
    Place::stop(&mut process);
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn no_id_address_payload_or_token_is_in_the_log_whatever_is_said_at_whatever_level() {
    let mut place = Place::new();
    let mut talk = Talk::default();
    let (mut process, address) = place.start();
    talk.id("relay", address.id);
    let invite: Value =
        serde_json::from_str(&place.run(&["invite", "--note", "canary-note", "--json"])).unwrap();
    let invited: RelayAddr = invite["address"].as_str().unwrap().parse().unwrap();
    let token = invited.token.unwrap().expose().to_owned();
    talk.secrets.texts.push(token.clone());
    members(&mut talk, &address, token).await;
    strangers(&mut talk, &address).await;
    let mut http = tokio::net::TcpStream::connect(place.http).await.unwrap();
    http.write_all(b"GET /canary-path HTTP/1.1\r\nhost: canary-host\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    http.read_to_end(&mut Vec::new()).await.unwrap();
    let sent: BTreeSet<u8> = Message::KINDS.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(talk.sent, sent, "every message was sent to the relay");
    assert_eq!(talk.heard, TO_DEVICE.iter().copied().collect(), "every message was heard from it");
    let both: BTreeSet<u8> = TO_RELAY.iter().chain(TO_DEVICE).copied().collect();
    assert_eq!(both, sent, "a new message is in neither list");
    // The subcommands, beside the running relay and without it.
    let (backup, elsewhere) = (place.path("backup"), place.path("elsewhere"));
    let backup = backup.to_str().unwrap().to_owned();
    place.run(&["backup", &backup]);
    place.run(&["check", "--chunks"]);
    place.run(&["health"]);
    place.run(&["invite", "list"]);
    place.run(&["invite", "revoke", invite["invite"]["id"].as_str().unwrap()]);
    place.run(&["--bind", "127.0.0.1:0"]);
    Place::stop(&mut process);
    let (e, f) = (Device::new(6), Device::new(7));
    let chain = Chain::of(&[&e, &f]);
    damaged_group(&mut place, &mut talk, &chain, &e).await;
    damage(&mut place, &mut talk, &chain, &f).await;
    place.run(&["check", "--chunks", "--repair"]);
    place.run(&["restore", &backup]);
    place.run(&["--data", elsewhere.to_str().unwrap(), "restore", &backup]);
    search(&place, &talk);
}

/// A group whose blob and chunk are damaged afterwards.
async fn damaged_group(place: &mut Place, talk: &mut Talk, chain: &Chain, device: &Device) {
    let (mut process, address) = place.start();
    talk.id("damaged group", chain.roster.group());
    talk.id("its device", device.id());
    let invite: Value = serde_json::from_str(&place.run(&["invite", "--json"])).unwrap();
    let invited: RelayAddr = invite["address"].as_str().unwrap().parse().unwrap();
    let client = Client::connect(&address, device).await;
    let mut session = client.open().await;
    let hello = Hello { token: invited.token.map(|token| token.expose().to_owned()), ..hello(chain) };
    session.send(hello.clone()).await;
    session.error().await;
    session.send(RosterAppend { req: 1, statements: chain.appends.clone() }).await;
    session.next().await;
    session.send(hello).await;
    talk.until(&mut session.recv, 0x02).await;
    session.push(chain, 1, canary::<900>("payload").to_vec()).await;
    let data = Bytes::from(canary::<5000>("chunk").to_vec());
    let mut chunks = client.open().await;
    let (group, address) = (chain.roster.group(), Hash::of(&data));
    chunks.send(ChunkPut { req: 1, group, address, data }).await;
    chunks.next().await;
    Place::stop(&mut process);
}

fn search(place: &Place, talk: &Talk) {
    let log = place.log();
    let text = String::from_utf8_lossy(&log);
    // It was at TRACE, and over every message.
    for (_, name) in Message::KINDS {
        assert!(text.contains(&format!("received kind=\"{name}\"")), "{name}");
    }
    assert_eq!(leaks(&log, &talk.secrets), Vec::<String>::new());
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let (Some(time), Some(level), Some(target)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        if !time.ends_with('Z') || !time.contains('T') {
            // Not the log: what a subcommand tells its user.
            continue;
        }
        let ours = target.starts_with("zerok_");
        assert!(ours || ["WARN", "ERROR"].contains(&level), "{line}");
    }
}
