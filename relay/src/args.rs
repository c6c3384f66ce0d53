//! The command line. A flag wins over the environment, the environment over the file.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;
use zerok_relay::{Admission, Config, LoadError};

use crate::commands::Command;

/// Blind store-and-forward relay for 0k-Sync.
#[derive(Debug, Parser)]
#[command(version, about)]
pub(crate) struct Args {
    /// Configuration file (see relay.example.toml)
    #[arg(long, global = true, value_name = "FILE", env = "ZEROK_RELAY_CONFIG")]
    config: Option<PathBuf>,
    /// Directory of relay.db, relay.key and chunks/ [default: zerok-relay-data]
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<PathBuf>,
    /// UDP address to listen on; port 0 picks a free one [default: 0.0.0.0:4433]
    #[arg(long, value_name = "IP:PORT")]
    bind: Option<SocketAddr>,
    /// Addresses to tell devices instead of the bound ones
    #[arg(long, value_name = "IP:PORT,…", value_delimiter = ',')]
    advertise: Vec<SocketAddr>,
    /// TCP address of /health and /metrics, or "none" [default: 127.0.0.1:8080]
    #[arg(long, global = true, value_name = "IP:PORT", value_parser = http)]
    http: Option<HttpBind>,
    /// Who may make groups: whoever has a token (zerok-relay invite), or everybody [default: token; open on loopback]
    #[arg(long, value_name = "token|open", value_parser = admission)]
    admission: Option<Admission>,
    /// File to write the relay's address to once it is listening
    #[arg(long, value_name = "FILE", env = "ZEROK_RELAY_ADDRESS_FILE")]
    pub(crate) address_file: Option<PathBuf>,
    /// Check the configuration and exit
    #[arg(long)]
    pub(crate) validate: bool,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// An address, or none.
#[derive(Clone, Copy, Debug)]
struct HttpBind(Option<SocketAddr>);

fn http(text: &str) -> Result<HttpBind, String> {
    match text {
        "" | "none" => Ok(HttpBind(None)),
        text => text.parse().map(|a| HttpBind(Some(a))).map_err(|_| "expected IP:PORT or none".to_owned()),
    }
}

fn admission(text: &str) -> Result<Admission, String> {
    match text {
        "open" => Ok(Admission::Open),
        "token" => Ok(Admission::Token),
        _ => Err("expected token or open".to_owned()),
    }
}

impl Args {
    /// The configuration that these arguments, the environment and the file make together, and the names of variables
    /// that mean nothing.
    pub(crate) fn config(&self) -> Result<(Config, Vec<String>), LoadError> {
        let own = ["ZEROK_RELAY_CONFIG", "ZEROK_RELAY_ADDRESS_FILE"];
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, _)| !own.contains(&name.as_str()));
        let (mut config, unknown) = Config::load(self.config.as_deref(), environment)?;
        if let Some(data) = &self.data {
            config.data.clone_from(data);
        }
        if let Some(bind) = self.bind {
            config.server.bind = bind;
        }
        if !self.advertise.is_empty() {
            config.server.advertise.clone_from(&self.advertise);
        }
        if let Some(http) = self.http {
            config.http.bind = http.0;
        }
        if let Some(admission) = &self.admission {
            config.server.admission = Some(admission.clone());
        }
        config.check()?;
        Ok((config, unknown))
    }

    /// Says which variables mean nothing.
    pub(crate) fn warn_of(&self, unknown: &[String]) {
        for name in unknown {
            tracing::warn!("environment variable {name} is not one of mine");
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_flag_wins_over_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("relay.toml");
        std::fs::write(&file, "[server]\nbind = \"127.0.0.1:1\"\n[http]\nbind = \"127.0.0.1:2\"\n").unwrap();
        let file = file.to_str().unwrap();
        let args =
            Args::parse_from(["zerok-relay", "--config", file, "--bind", "127.0.0.1:3", "--http", "none"]);
        let (config, _) = args.config().unwrap();
        assert_eq!(config.server.bind, "127.0.0.1:3".parse().unwrap());
        assert_eq!(config.http.bind, None);
    }

    #[test]
    fn every_flag_of_the_configuration_sets_its_key() {
        let line = [
            "zerok-relay",
            "--data",
            "/srv/relay",
            "--bind",
            "127.0.0.1:3",
            "--advertise",
            "192.0.2.1:1,[2001:db8::1]:2",
            "--http",
            "127.0.0.1:4",
            "--admission",
            "open",
        ];
        let (config, _) = Args::parse_from(line).config().unwrap();
        let mut expected = Config { data: "/srv/relay".into(), ..Config::default() };
        expected.server.bind = "127.0.0.1:3".parse().unwrap();
        expected.server.advertise = vec!["192.0.2.1:1".parse().unwrap(), "[2001:db8::1]:2".parse().unwrap()];
        expected.server.admission = Some(Admission::Open);
        expected.http.bind = Some("127.0.0.1:4".parse().unwrap());
        assert_eq!(config, expected);
    }
}
