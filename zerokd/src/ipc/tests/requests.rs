//! What is answered, and what is refused with one clear error.

use jsonrpsee::core::client::ClientT;
use jsonrpsee::rpc_params;
use zerok_client::{Client, ErrorKind, MAX_BATCH, MAX_MESSAGE};

use super::*;

const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{}}"#;

#[tokio::test]
async fn a_call_is_answered_by_http_and_by_websocket() {
    let served = Served::start(Limits::default()).await;
    let answer = post(&served.path(), "host: localhost\r\n", PING).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with(r#"{"jsonrpc":"2.0","id":1,"result":"pong"}"#), "{answer}");

    let client = Client::connect_to(served.path()).await.unwrap();
    let pong: String = within(client.request("ping", rpc_params![])).await.unwrap();
    assert_eq!(pong, "pong");
}

#[tokio::test]
async fn what_a_web_page_could_cause_is_refused() {
    let served = Served::start(Limits::default()).await;
    for header in ["origin: http://localhost", "referer: http://localhost/", "host: example.com"] {
        let answer = post(&served.path(), &format!("{header}\r\n"), PING).await;
        assert!(answer.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{answer}");
        assert!(answer.contains(r#""code":-32600"#), "{answer}");
    }
}

#[tokio::test]
async fn a_request_over_the_limit_is_answered_with_an_error() {
    let served = Served::start(Limits::default()).await;
    let head = format!(
        "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n",
        MAX_MESSAGE + 1
    );
    let answer = exchange(&served.path(), head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains(r#""code":-32007"#), "{answer}");
}

#[tokio::test]
async fn a_batch_over_the_limit_is_answered_with_an_error() {
    let served = Served::start(Limits::default()).await;
    let batch = format!("[{}]", vec![PING; MAX_BATCH as usize + 1].join(","));
    let answer = post(&served.path(), "host: localhost\r\n", &batch).await;
    assert!(answer.contains(r#""code":-32010"#), "{answer}");

    let batch = format!("[{}]", vec![PING; MAX_BATCH as usize].join(","));
    let answer = post(&served.path(), "host: localhost\r\n", &batch).await;
    assert_eq!(answer.matches("pong").count(), 100);
}

#[tokio::test]
async fn a_call_in_flight_when_the_daemon_stops_is_answered_with_shutting_down() {
    let served = Served::start(Limits::default()).await;
    let client = Client::connect_to(served.path()).await.unwrap();
    let hanging = tokio::spawn(async move { client.request::<(), _>("hang", rpc_params![]).await });
    within(async {
        while served.begun() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    served.stop.cancel();
    let error = zerok_client::Error::from(within(hanging).await.unwrap().unwrap_err());
    assert_eq!(error.kind(), Some(ErrorKind::ShuttingDown), "{error}");
    within(served.server).await.unwrap();
    assert!(!served.directory.path().join("zerokd.sock").exists());
}

#[tokio::test]
async fn an_idle_websocket_and_an_idle_connection_do_not_hold_up_the_stop() {
    let served = Served::start(Limits::default()).await;
    let _client = Client::connect_to(served.path()).await.unwrap();
    let _silent = UnixStream::connect(served.path()).await.unwrap();
    served.stop.cancel();
    within(served.server).await.unwrap();
}
