//! The smallest client of the local API: one HTTP POST on the socket per call. Independent of the SDK on purpose, so
//! that a test of the daemon does not pass because both ends share a mistake.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// A call's refusal.
#[derive(Debug, Clone, PartialEq)]
pub struct RpcError {
    /// JSON-RPC's code.
    pub code: i64,
    /// The text for people.
    pub message: String,
    /// `data.kind`, the contract; empty where there is none.
    pub kind: String,
    /// `data`, whole.
    pub data: Value,
}

/// Calls the daemon at a socket.
#[derive(Debug, Clone)]
pub struct Api {
    socket: PathBuf,
}

impl Api {
    pub(crate) fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// One call.
    ///
    /// # Errors
    /// The daemon refused it.
    ///
    /// # Panics
    /// The daemon does not answer, or not with JSON-RPC.
    #[track_caller]
    pub fn try_call(&self, method: &str, params: &Value) -> Result<Value, RpcError> {
        match self.post(method, params) {
            Ok(answer) => result(method, &answer),
            Err(e) => panic!("{method}: {e}"),
        }
    }

    /// The same, and it must succeed.
    ///
    /// # Panics
    /// It was refused.
    #[track_caller]
    pub fn call(&self, method: &str, params: &Value) -> Value {
        self.try_call(method, params).unwrap_or_else(|e| panic!("{method}: {e:?}"))
    }

    /// Pushes one blob; returns its id.
    ///
    /// # Panics
    /// It was refused.
    #[track_caller]
    pub fn push(&self, channel: &str, data: &[u8]) -> String {
        id(&self.call("blob.push", &push_params(channel, data)))
    }

    /// The same towards a daemon that may be killed meanwhile: the id if the push was acknowledged.
    ///
    /// # Panics
    /// It was refused.
    #[must_use]
    pub fn push_if_alive(&self, channel: &str, data: &[u8]) -> Option<String> {
        let answer = self.post("blob.push", &push_params(channel, data)).ok()?;
        Some(id(&result("blob.push", &answer).unwrap_or_else(|e| panic!("blob.push: {e:?}"))))
    }

    /// Everything on a channel, from the beginning, in this device's order.
    ///
    /// # Panics
    /// It cannot be read.
    #[must_use]
    #[track_caller]
    pub fn pull(&self, channel: &str) -> Vec<Vec<u8>> {
        let mut after = "0".to_owned();
        let mut blobs = Vec::new();
        loop {
            let page = self.call("blob.pull", &json!({"channel": channel, "after": after}));
            for entry in page["entries"].as_array().unwrap_or_else(|| panic!("no entries: {page}")) {
                let data = entry["data"].as_str().expect("an entry has data");
                blobs.push(STANDARD.decode(data).expect("data is base64"));
            }
            if page["has_more"] != true {
                return blobs;
            }
            page["next"].as_str().expect("a page has a next cursor").clone_into(&mut after);
        }
    }

    fn post(&self, method: &str, params: &Value) -> std::io::Result<String> {
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        http_post(&self.socket, &request.to_string())
    }
}

fn push_params(channel: &str, data: &[u8]) -> Value {
    json!({"channel": channel, "data": STANDARD.encode(data)})
}

fn id(answer: &Value) -> String {
    answer["id"].as_str().unwrap_or_else(|| panic!("no id: {answer}")).to_owned()
}

fn result(method: &str, answer: &str) -> Result<Value, RpcError> {
    let mut answer: Value =
        serde_json::from_str(answer).unwrap_or_else(|e| panic!("{method} answered no JSON ({e}): {answer}"));
    if answer.get("error").is_none_or(Value::is_null) {
        return Ok(answer["result"].take());
    }
    let error = answer["error"].take();
    Err(RpcError {
        code: error["code"].as_i64().unwrap_or(0),
        message: error["message"].as_str().unwrap_or_default().to_owned(),
        kind: error["data"]["kind"].as_str().unwrap_or_default().to_owned(),
        data: error["data"].clone(),
    })
}

/// Posts a body and returns the answer's.
///
/// # Errors
/// No connection, no answer in time, or an answer that is no HTTP.
pub fn http_post(socket: &Path, body: &str) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let head = format!(
        "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let text = String::from_utf8(answer).map_err(std::io::Error::other)?;
    let (head, rest) = text.split_once("\r\n\r\n").ok_or_else(|| std::io::Error::other("no HTTP answer"))?;
    if head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        dechunk(rest)
    } else {
        Ok(rest.to_owned())
    }
}

fn dechunk(mut rest: &str) -> std::io::Result<String> {
    let bad = || std::io::Error::other("a broken chunked answer");
    let mut body = String::new();
    loop {
        let (size, after) = rest.split_once("\r\n").ok_or_else(bad)?;
        let size = usize::from_str_radix(size.trim(), 16).map_err(|_| bad())?;
        if size == 0 {
            return Ok(body);
        }
        body.push_str(after.get(..size).ok_or_else(bad)?);
        rest = after.get(size..).and_then(|r| r.strip_prefix("\r\n")).ok_or_else(bad)?;
    }
}
