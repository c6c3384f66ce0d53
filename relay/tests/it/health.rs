//! `zerok-relay health`, which containers run: its exit code is what the relay at `http.bind` answers.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Output};

fn health(bind: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zerok-relay"));
    command.env_clear().args(["--http", bind, "health", "--timeout", "2"]).output().unwrap()
}

/// What `health` makes of one answer.
fn health_of(status: &'static str) -> Output {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let bind = listener.local_addr().unwrap().to_string();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 1024];
        let n = stream.read(&mut request).unwrap();
        write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\n{{}}").unwrap();
        String::from_utf8_lossy(&request[..n]).into_owned()
    });
    let output = health(&bind);
    assert!(server.join().unwrap().starts_with("GET /health HTTP/1.1\r\n"));
    output
}

#[test]
fn health_is_well_when_the_relay_says_so() {
    let output = health_of("200 OK");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(output.stdout, b"{}\n");
}

#[test]
fn health_is_not_well_while_the_relay_drains() {
    assert_eq!(health_of("503 Service Unavailable").status.code(), Some(1));
}

#[test]
fn health_is_not_well_when_nothing_answers() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = health(&listener.local_addr().unwrap().to_string());
    assert_eq!(silent.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&silent.stderr).contains("did not answer"), "{silent:?}");

    let gone = listener.local_addr().unwrap().to_string();
    drop(listener);
    assert_eq!(health(&gone).status.code(), Some(1));
}
