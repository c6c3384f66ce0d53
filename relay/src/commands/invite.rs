//! `zerok-relay invite`: lets somebody make groups here.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, bail};
use bytesize::ByteSize;
use clap::{Args, Subcommand};
use zerok_protocol::RelayAddr;
use zerok_relay::{Config, Invite, InviteState, Invites, Terms};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct InviteCommand {
    #[command(subcommand)]
    other: Option<Other>,
    /// Bytes of blobs that each group may store, such as 2GiB [default: storage.max_group_storage]
    #[arg(long, value_name = "SIZE", value_parser = a_size)]
    quota: Option<ByteSize>,
    /// How long groups may be made with it, such as 30d; groups that are made stay
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = a_time)]
    expires: Duration,
    /// How many groups may be made with it
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    groups: u32,
    /// For your own list: for whom it is
    #[arg(long, value_name = "TEXT", default_value = "")]
    note: String,
    /// Print one JSON object
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Other {
    /// Show all invitations; tokens are not among what is known of them
    List,
    /// Take an invitation back: no more groups are made with it, those made stay
    Revoke {
        /// As `invite list` shows it
        id: String,
    },
}

impl InviteCommand {
    pub(super) fn run(self, config: &Config) -> anyhow::Result<ExitCode> {
        let database = config.database_path();
        let invites = Invites::open(&database).with_context(|| match database.try_exists() {
            Ok(false) => "start the relay once before, or say where its data is (--data or --config)",
            _ => "invitations are kept in the relay's database",
        })?;
        match &self.other {
            None => self.create(config, &invites)?,
            Some(Other::List) => {
                let all = invites.list()?;
                if self.json {
                    println!("{}", serde_json::json!({ "invites": all }));
                } else {
                    print!("{}", table(&all));
                }
            }
            Some(Other::Revoke { id }) => {
                let invite = invites.revoke(id)?;
                if self.json {
                    println!("{}", serde_json::to_string(&invite)?);
                } else {
                    println!("{} is revoked{}", invite.id, staying(invite.used));
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    fn create(&self, config: &Config, invites: &Invites) -> anyhow::Result<()> {
        let quota = self.quota.map(|size| size.as_u64());
        if quota.is_some_and(|quota| quota < config.storage.max_blob_size) {
            bail!(
                "--quota is less than one blob ({}): nothing large could ever be stored",
                size(config.storage.max_blob_size)
            );
        }
        let mut address = address(config)?;
        let terms = Terms { groups: self.groups, quota, lasts: self.expires, note: self.note.clone() };
        let (token, invite) = invites.create(&terms)?;
        address.token = Some(token);
        let address = address.expose();
        if self.json {
            println!("{}", serde_json::json!({ "address": address, "invite": invite }));
            return Ok(());
        }
        // The address alone on standard output, so that it can be piped.
        println!("{address}");
        let each = size(invite.quota_bytes.unwrap_or(config.storage.max_group_storage));
        eprintln!(
            "\nInvitation {}: {} of {each}, to be made before {}. Whoever has the line above can use it.\n\
             On a device: zerokctl relay add -     and paste it there",
            invite.id,
            groups(invite.groups),
            time(invite.expires_ms),
        );
        Ok(())
    }
}

/// Where devices find this relay: as configured, else as it said itself when it was last started.
fn address(config: &Config) -> anyhow::Result<RelayAddr> {
    let path = config.data.join("relay.address");
    let mut address = read(&path)?;
    if !config.server.advertise.is_empty() {
        address.addrs.clone_from(&config.server.advertise);
    }
    if address.addrs.iter().all(|a| a.ip().is_loopback()) {
        eprintln!(
            "zerok-relay: the address is this machine's own; set server.advertise to what devices can reach"
        );
    }
    Ok(address)
}

fn read(path: &Path) -> anyhow::Result<RelayAddr> {
    let hint = || format!("{}: start the relay once, it writes its address there", path.display());
    std::fs::read_to_string(path).with_context(hint)?.parse().with_context(hint)
}

fn table(all: &[Invite]) -> String {
    if all.is_empty() {
        return "no invitations: `zerok-relay invite` makes one\n".to_owned();
    }
    let mut text = format!(
        "{:<8}  {:<7}  {:>7}  {:>9}  {:>9}  {:<20}  NOTE\n",
        "ID", "STATE", "GROUPS", "QUOTA", "STORED", "EXPIRES"
    );
    for invite in all {
        let state = match invite.state {
            InviteState::Open => "open",
            InviteState::Used => "used",
            InviteState::Expired => "expired",
            InviteState::Revoked => "revoked",
        };
        let of = format!("{}/{}", invite.used, invite.groups);
        let quota = invite.quota_bytes.map_or_else(|| "default".to_owned(), size);
        // It may be anything, and each invitation is one line.
        let note: String = invite.note.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let line = format!(
            "{:<8}  {state:<7}  {of:>7}  {quota:>9}  {:>9}  {:<20}  {}",
            invite.id,
            size(invite.stored_bytes),
            time(invite.expires_ms),
            note
        );
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn staying(used: u64) -> String {
    match used {
        0 => String::new(),
        1 => "; the group made with it stays".to_owned(),
        n => format!("; the {n} groups made with it stay"),
    }
}

fn a_size(text: &str) -> Result<ByteSize, String> {
    text.parse().map_err(|_| "expected a size, such as 2GiB".to_owned())
}

fn a_time(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if !time.is_zero() => Ok(time),
        _ => Err("expected a time, such as 30d or 12h".to_owned()),
    }
}

fn groups(n: u64) -> String {
    super::amount::count(n, "group")
}

fn size(bytes: u64) -> String {
    super::amount::Bytes(bytes).to_string()
}

fn time(ms: u64) -> String {
    // Beyond the year 9999 humantime cannot print.
    let ms = ms.min(253_402_300_799_000);
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_millis(ms)).to_string()
}
