//! `/health` and `/metrics`.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{Client, TestRelay, config, push};
use crate::devices::{Chain, Device};

pub(crate) async fn request(relay: &TestRelay, line: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(relay.running.http_addr().unwrap()).await.unwrap();
    let text = format!("{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

pub(crate) fn value(metrics: &str, name: &str) -> f64 {
    let line = metrics.lines().find(|l| l.split(' ').next() == Some(name));
    line.unwrap_or_else(|| panic!("{name} is not in {metrics}")).rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_metrics_count_what_happens_and_name_nobody() {
    let relay = TestRelay::with(|c| c.http.bind = Some("127.0.0.1:0".parse().unwrap())).await;
    let (a, b) = (Device::new(1), Device::new(2));
    let chain = Chain::of(&[&a, &b]);
    let (ca, cb) = (Client::connect(&relay.address(), &a).await, Client::connect(&relay.address(), &b).await);
    let ((mut sa, _), (mut sb, _)) = (ca.session(&chain).await, cb.session(&chain).await);
    sb.subscribe(1, 0, 1 << 20).await;
    let (mut delivery, _) = cb.delivery().await;
    let last = sa.push(&chain, 1, vec![0; 1000]).await.cursor;
    delivery.blobs_until(last).await;
    sa.send(push(&chain, 1, vec![1; 1000])).await;
    sa.error().await;

    let (status, body) = request(&relay, "GET /health").await;
    let health: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, health["status"].as_str()), (200, Some("ok")));
    assert_eq!((health["groups"].as_u64(), health["blobs"].as_u64()), (Some(1), Some(1)));
    assert_eq!((health["storage_bytes"].as_u64(), health["connections"].as_u64()), (Some(1000), Some(2)));

    let (status, metrics) = request(&relay, "GET /metrics").await;
    assert_eq!(status, 200);
    for (name, expected) in [
        ("zerok_relay_connections", 2.0),
        ("zerok_relay_connections_accepted_total", 2.0),
        ("zerok_relay_sessions", 2.0),
        ("zerok_relay_sessions_admitted_total", 2.0),
        ("zerok_relay_pushes_total", 1.0),
        ("zerok_relay_deliveries_total", 1.0),
        ("zerok_relay_groups", 1.0),
        ("zerok_relay_blobs", 1.0),
        ("zerok_relay_blob_bytes", 1000.0),
        ("zerok_relay_errors_total{code=\"1001\"}", 1.0),
        ("zerok_relay_errors_total{code=\"1007\"}", 1.0),
    ] {
        assert_eq!(value(&metrics, name), expected, "{name}");
    }
    assert!(value(&metrics, "zerok_relay_bytes_in_total") > 2000.0);
    assert!(value(&metrics, "zerok_relay_bytes_out_total") > 1000.0);
    assert!(value(&metrics, "zerok_relay_commit_seconds_count") >= 2.0);
    assert!(value(&metrics, "zerok_relay_delivery_seconds_count") >= 1.0);
    for id in [a.id().to_hex(), chain.roster.group().to_hex()] {
        assert!(!metrics.contains(&id[..8]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_paths_and_methods_are_refused_and_metrics_can_be_off() {
    let relay = TestRelay::with(|c| {
        c.http.bind = Some("127.0.0.1:0".parse().unwrap());
        c.http.metrics = false;
    })
    .await;
    assert_eq!(request(&relay, "GET /metrics").await.0, 404);
    assert_eq!(request(&relay, "GET /").await.0, 404);
    assert_eq!(request(&relay, "POST /health").await.0, 405);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_taken_is_named_unless_it_is_the_default() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = taken.local_addr().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut wrong = config(&dir);
    wrong.http.bind = Some(addr);
    let error = zerok_relay::start(wrong).await.err().unwrap().to_string();
    assert!(error.contains(&addr.to_string()) && error.contains("--http none"), "{error}");
    // Whoever has the default one, now or from here on.
    let _default = tokio::net::TcpListener::bind("127.0.0.1:8080").await;
    let relay = TestRelay::with(|c| c.http.bind = zerok_relay::Http::default().bind).await;
    assert_eq!(relay.running.http_addr(), None);
}
