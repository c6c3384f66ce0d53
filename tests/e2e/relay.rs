//! The relay by itself, and towards clients that do not behave.

use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;

use zerok_protocol::Message;
use zerok_tests::{Daemon, Exit, Member, Pair, Process, Relay, Sandbox, noise, wait_until};

#[test]
fn key_and_port_are_kept_and_the_key_is_private() {
    let sandbox = Sandbox::new();
    let mut relay = Relay::start(&sandbox);
    let address = relay.address().to_owned();
    let open_to_others = |path| std::fs::metadata(path).unwrap().permissions().mode() & 0o077;
    assert_eq!(open_to_others(relay.data()), 0);
    assert_eq!(open_to_others(relay.data().join("relay.key")), 0);
    assert_eq!(relay.stop(), Exit::Code(0));
    relay.restart();
    assert_eq!(relay.address(), address);
}

#[test]
fn health_and_metrics_count_what_passes_and_name_nobody() {
    let pair = Pair::new();
    pair.anna.push("c", b"counted");
    wait_until("the push is counted", || pair.relay.metric("pushes").is_some_and(|n| n >= 1.0));
    wait_until("the delivery is counted", || pair.relay.metric("deliveries").is_some_and(|n| n >= 1.0));
    let (code, health) = pair.relay.http("/health").unwrap();
    let health: serde_json::Value = serde_json::from_str(&health).unwrap();
    assert_eq!((code, &health["status"], &health["groups"]), (200, &"ok".into(), &1.into()));
    let (_, metrics) = pair.relay.http("/metrics").unwrap();
    let status = pair.anna.status();
    for id in [&status["device"]["id"], &status["groups"][0]["id"]] {
        assert!(!metrics.contains(id.as_str().unwrap()), "an id in the metrics");
    }
    assert_eq!(pair.relay.http("/other").unwrap().0, 404);
}

#[test]
fn garbage_on_its_port_leaves_it_running() {
    let pair = Pair::new();
    let (_, place) = pair.relay.address().split_once('@').unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for i in 0..200 {
        socket.send_to(&noise(&format!("garbage {i}"), 1200), place).unwrap();
    }
    pair.anna.push("c", b"still there");
    wait_until("the blob arrives", || pair.ben.pull("c").len() == 1);
}

#[test]
fn a_relay_that_wants_a_token_tells_whom_to_ask_and_takes_who_was_invited() {
    let sandbox = Sandbox::new();
    let relay = Relay::start_with(&sandbox, "relay", &[("ZEROK_RELAY_SERVER_ADMISSION", "token")]);
    let (anna, ben) = (Daemon::start(&sandbox, "anna"), Daemon::start(&sandbox, "ben"));
    anna.call("group.create", &serde_json::json!({ "name": "ours" }));
    let _ = anna.json(&["relay", "add", relay.address()]);
    let note = || anna.json(&["relay", "list"])["relays"][0]["error"].as_str().unwrap_or_default().to_owned();
    wait_until("anna is told whom to ask", || {
        note().contains("ask its operator") && note().contains("relay add -")
    });
    let mut command = Relay::command();
    command.arg("--data").arg(relay.data()).args(["--http", "none", "invite", "--note", "for anna"]);
    let invited = command.output().unwrap();
    assert!(invited.status.success(), "{}", String::from_utf8_lossy(&invited.stderr));
    let _ = anna.ctl_with_input(&["relay", "add", "-"], &invited.stdout).ok();
    wait_until("anna's group is there", || note().is_empty());
    let invite = anna.json(&["pair", "--create"])["invite"].as_str().unwrap().to_owned();
    let _ = ben.json(&["pair", "--join", &invite]);
    anna.push("c", b"through a relay by invitation");
    wait_until("the blob arrives", || ben.pull("c").len() == 1);
    // The token is a secret: only whoever was invited has it.
    let token = String::from_utf8(invited.stdout).unwrap().trim().rsplit('=').next().unwrap().to_owned();
    for log in [relay.log(), anna.log().to_owned(), ben.log().to_owned()] {
        assert!(!std::fs::read_to_string(&log).unwrap().contains(&token), "a token in {}", log.display());
    }
    assert!(!anna.json(&["relay", "list"]).to_string().contains(&token));
}

#[test]
fn a_wrong_config_is_refused_with_its_key() {
    let sandbox = Sandbox::new();
    let config = sandbox.path().join("relay.toml");
    for (text, key) in [
        ("[server]\nbind = \"nowhere\"\n", "bind"),
        ("[storage]\ncolour = \"blue\"\n", "colour"),
        ("[limits]\nmax_mailboxes = -1\n", "max_mailboxes"),
    ] {
        std::fs::write(&config, text).unwrap();
        let log = sandbox.path().join("log");
        let _ = std::fs::remove_file(&log);
        let mut command = Relay::command();
        command.arg("--config").arg(&config).arg("--data").arg(sandbox.path().join("data"));
        let mut process = Process::spawn("zerok-relay", &mut command, &log);
        assert!(matches!(process.wait(), Exit::Code(1 | 2)), "{text}");
        let told = std::fs::read_to_string(&log).unwrap();
        assert!(told.contains(key), "it names {key}: {told}");
    }
}

#[test]
fn blobs_that_rot_on_the_relays_disk_are_never_delivered_and_come_from_their_author_again() {
    let mut pair = Pair::new();
    pair.converge();
    assert_eq!(pair.ben.stop(), Exit::Code(0));
    for n in 0..10 {
        pair.anna.push("c", format!("blob {n}").as_bytes());
    }
    wait_until("the relay has some", || pair.relay.metric("blobs").is_some_and(|n| n >= 1.0));
    assert_eq!(pair.relay.stop(), Exit::Code(0));
    let database = rusqlite::Connection::open(pair.relay.data().join("relay.db")).unwrap();
    let rotten = database.execute("UPDATE blobs SET payload = randomblob(length(payload))", []).unwrap();
    assert!(rotten > 0);
    drop(database);
    pair.relay.restart();
    pair.ben.restart();
    wait_until("ben has all of them", || pair.ben.pull("c").len() == 10);
    let damaged = pair.relay.metric("damaged_items").unwrap();
    assert!(damaged >= 1.0, "{damaged} found");
}

/// How often a device pushes that saves something five times a second for five minutes.
const FIVE_MINUTES: usize = 1500;

/// Pushes as that device does, only sooner.
fn push_for_five_minutes(pair: &Pair) {
    for n in 0..FIVE_MINUTES {
        pair.anna.push("ticks", format!("tick {n}").as_bytes());
    }
}

#[test]
fn a_reader_that_gives_no_credit_keeps_its_connection_and_gets_everything_after() {
    let mut pair = Pair::new();
    pair.converge();
    let group = pair.anna.status()["groups"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(pair.ben.stop(), Exit::Code(0));
    let key = pair.ben.home().join("device.key");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let patience = std::time::Duration::from_secs(15);
    let (mut member, mut delivered) = runtime.block_on(async {
        let mut member = Member::connect(&key, &group, pair.relay.address()).await.unwrap();
        let delivered = member.subscribe(10_000).await.unwrap();
        (member, delivered)
    });
    push_for_five_minutes(&pair);
    wait_until("the relay has them all", || pair.anna.outbox() == 0);

    let (mut cursor, mut entries, mut next, mut bytes) = (0, 0, None, 0);
    let mut stalled_at = None;
    runtime.block_on(async {
        loop {
            // What came without further credit is there already; the rest comes only when it is granted.
            let message = match delivered.try_recv() {
                Ok(message) => message,
                Err(_) if stalled_at.is_none() => {
                    stalled_at = Some(bytes);
                    assert!(member.connection.close_reason().is_none(), "the connection lives");
                    member.credit(100 << 20).await.unwrap();
                    continue;
                }
                Err(_) => tokio::time::timeout(patience, delivered.recv()).await.unwrap().unwrap(),
            };
            match message {
                Message::Deliver(deliver) => {
                    assert!(deliver.blob.cursor > cursor, "in order");
                    cursor = deliver.blob.cursor;
                    bytes += deliver.blob.payload.len();
                    let bundle = member.open(&deliver.blob.payload).unwrap();
                    if bundle.header.device != member.keys.id() {
                        let first = *next.get_or_insert(bundle.header.first);
                        assert_eq!(bundle.header.first, first, "nothing is skipped");
                        next = Some(first + u64::try_from(bundle.entries.len()).unwrap());
                        entries += bundle.entries.len();
                    }
                }
                Message::CaughtUp(_) if entries >= FIVE_MINUTES => break,
                _ => {}
            }
        }
        member.close().await;
    });
    let stalled_at = stalled_at.expect("it was stalled");
    assert!(stalled_at <= 10_000, "{stalled_at} bytes came on a credit of 10,000");
}

#[test]
fn a_daemon_that_cannot_store_for_a_while_keeps_its_connection() {
    let pair = Pair::new();
    pair.converge();
    let accepted = pair.relay.metric("connections_accepted").unwrap();
    let lock = rusqlite::Connection::open(pair.ben.home().join("state.db")).unwrap();
    lock.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let started = std::time::Instant::now();
    let mut pushed = 0;
    // Less than the time for which SQLite waits for a lock.
    while pushed < FIVE_MINUTES && started.elapsed().as_secs() < 3 {
        pair.anna.push("ticks", format!("tick {pushed}").as_bytes());
        pushed += 1;
    }
    lock.execute_batch("ROLLBACK").unwrap();
    wait_until("ben has everything", || pair.ben.pull("ticks").len() == pushed);
    pair.converge();
    assert_eq!(pair.relay.metric("connections_accepted").unwrap(), accepted, "nobody had to connect again");
}

#[test]
fn a_relay_in_no_haste_gets_everything_and_nobody_calls_that_a_failure() {
    let limits = [
        ("ZEROK_RELAY_LIMITS_MESSAGES_PER_MINUTE", "600"),
        ("ZEROK_RELAY_LIMITS_MESSAGES_PER_MINUTE_BURST", "8"),
        ("ZEROK_RELAY_LIMITS_SIGNALS_PER_MINUTE", "60"),
        ("ZEROK_RELAY_LIMITS_SIGNALS_PER_MINUTE_BURST", "1"),
        ("ZEROK_RELAY_LIMITS_CONNECTIONS_PER_DEVICE", "60"),
        ("ZEROK_RELAY_LIMITS_CONNECTIONS_PER_DEVICE_BURST", "1"),
        ("ZEROK_RELAY_LIMITS_BYTES_PER_SECOND_PER_DEVICE", "4000000"),
    ];
    let pair = Pair::with_environment(&limits, &[]);
    wait_until("both are connected", || {
        [&pair.anna, &pair.ben].iter().all(|d| d.status()["relays"][0]["state"] == "connected")
    });
    let accepted = pair.relay.metric("connections_accepted").unwrap();
    for n in 0..60 {
        pair.anna.push("c", &noise(&format!("blob {n}"), 100_000));
    }
    wait_until("ben has everything", || {
        for daemon in [&pair.anna, &pair.ben] {
            let status = daemon.status();
            assert_eq!(status["relays"][0]["state"], "connected", "{status}");
            assert_eq!(status["relays"][0]["error"], serde_json::Value::Null, "{status}");
            assert_eq!(status["problems"], serde_json::json!([]), "{status}");
        }
        pair.ben.pull("c").len() == 60
    });
    pair.converge();
    assert!(pair.relay.metric("rate_limited").unwrap() > 20.0, "the limits were felt");
    assert_eq!(pair.relay.metric("connections_accepted").unwrap(), accepted, "nobody had to connect again");
}
