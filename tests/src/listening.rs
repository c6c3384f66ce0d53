//! On which TCP port a process listens: for a port that it picked itself.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// The port of a process's listening IPv4 socket, from `/proc`.
pub(crate) fn tcp_port(process: u32) -> Option<u16> {
    let links = fs::read_dir(format!("/proc/{process}/fd")).ok()?.flatten();
    let sockets: Vec<_> = links.filter_map(|link| fs::read_link(link.path()).ok()).collect();
    let table = fs::read_to_string(format!("/proc/{process}/net/tcp")).ok()?;
    table.lines().find_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
        let listens =
            *state == "0A" && sockets.iter().any(|s| s.to_str() == Some(&format!("socket:[{inode}]")));
        let port = local.rsplit(':').next()?;
        listens.then(|| u16::from_str_radix(port, 16).ok())?
    })
}

/// The body of `GET path`, with the status code before it.
pub(crate) fn http_get(port: u16, path: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let bad = || std::io::Error::other("no HTTP answer");
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(bad)?;
    let (_, body) = answer.split_once("\r\n\r\n").ok_or_else(bad)?;
    Ok((status, body.to_owned()))
}
