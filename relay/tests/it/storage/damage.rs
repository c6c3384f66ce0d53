//! What rots on disk is found when it is read.

use zerok_protocol::*;

use super::Place;
use crate::client::{Client, PATIENCE, TestRelay, blob_id};
use crate::devices::{Chain, Device};
use crate::http::{request, value};

fn with_http(place: &Place) -> zerok_relay::Config {
    let mut config = place.config();
    config.http.bind = Some("127.0.0.1:0".parse().unwrap());
    config
}

async fn start(place: &Place) -> TestRelay {
    let running = zerok_relay::start(with_http(place)).await.unwrap();
    TestRelay { running, dir: std::sync::Arc::new(tempfile::tempdir().unwrap()) }
}

/// A place with blobs of 3000 bytes.
async fn filled(blobs: u32) -> (Place, Device, Device, Chain) {
    let (place, a, b) = (Place::new(), Device::new(1), Device::new(2));
    let chain = Chain::of(&[&a, &b]);
    let relay = place.start().await;
    let client = Client::connect(relay.address(), &a).await;
    let (mut session, _) = client.session(&chain).await;
    for n in 0..blobs {
        session.push(&chain, n, vec![1; 3000]).await;
    }
    relay.stop().await;
    (place, a, b, chain)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_rotted_is_never_delivered_is_counted_and_the_stream_goes_on() {
    let (place, a, b, chain) = filled(5).await;
    place.database().execute("UPDATE blobs SET payload = zeroblob(3000) WHERE id IN (2, 5)", []).unwrap();
    let relay = start(&place).await;
    let client = Client::connect(&relay.address(), &b).await;
    let (mut session, welcome) = client.session(&chain).await;
    session.subscribe(1, 0, CREDIT_DEFAULT).await;
    let (mut delivery, _) = client.delivery().await;
    let blobs = delivery.blobs_until(welcome.max_cursor).await;
    let got: Vec<BlobId> = blobs.iter().map(|b| b.blob_id).collect();
    assert_eq!(got, [blob_id(0), blob_id(2), blob_id(3)]);
    assert!(blobs.iter().all(|b| b.payload == vec![1; 3000]));
    let (_, metrics) = request(&relay, "GET /metrics").await;
    assert_eq!(value(&metrics, "zerok_relay_damaged_items_total{kind=\"blob\"}"), 2.0);
    assert_eq!(value(&metrics, "zerok_relay_blobs"), 3.0);
    assert_eq!(value(&metrics, "zerok_relay_blob_bytes"), 9000.0);
    // What its author sends again comes behind it on the same stream.
    let author = Client::connect(&relay.address(), &a).await;
    author.session(&chain).await.0.push(&chain, 9, vec![2; 3000]).await;
    assert_eq!(delivery.blob().await.blob_id, blob_id(9));
    let (status, _) = request(&relay, "GET /health").await;
    assert_eq!(status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_the_database_that_rotted_is_an_internal_error_and_bad_health() {
    let (place, _, b, chain) = filled(200).await;
    // All but the first pages: the schema and the small tables still work.
    let path = place.data().join("relay.db");
    let mut file = std::fs::read(&path).unwrap();
    for page in file.chunks_mut(4096).skip(30) {
        page.fill(0xa5);
    }
    std::fs::write(&path, file).unwrap();
    let relay = start(&place).await;
    assert_eq!(request(&relay, "GET /health").await.0, 200);
    let client = Client::connect(&relay.address(), &b).await;
    let (mut session, _) = client.session(&chain).await;
    session.send(Pull { req: 1, after_cursor: 0, limit: None }).await;
    let e = session.error().await;
    assert_eq!((e.req, e.code), (Some(1), Code::Internal));
    let (status, body) = request(&relay, "GET /health").await;
    let health: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &health["status"]), (503, &"database".into()));
    assert_eq!(place.run(&["check"]).status.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_does_not_answer_is_bad_health_until_it_does() {
    let place = Place::new();
    let relay = start(&place).await;
    assert_eq!(request(&relay, "GET /health").await.0, 200);
    let other = place.database();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let (status, body) = request(&relay, "GET /health").await;
    assert_eq!(status, 503);
    assert!(body.contains("\"status\":\"database\""), "{body}");
    other.execute_batch("ROLLBACK").unwrap();
    let well = async { while request(&relay, "GET /health").await.0 != 200 {} };
    tokio::time::timeout(PATIENCE, well).await.expect("it stays ill");
}
