//! What can stand on the command line.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand};

/// Talks to zerokd, the daemon that keeps your devices in step.
#[derive(Debug, Parser)]
#[command(name = "zerokctl", version, max_term_width = 100, after_help = EXIT_CODES)]
pub(crate) struct Args {
    /// The daemon's home directory, as given to `zerokd --home`
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) home: Option<PathBuf>,
    /// Print JSON: one document, or one per line with --follow
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 ok, 1 failed, 2 wrong usage, 3 daemon not running, 4 not paired, 5 a \
conflict waits for a person, 6 revoked or not authorised, 7 timed out, 8 relay unreachable, 9 over quota.\n\
Environment: ZEROKD_HOME, ZEROKD_SOCKET, NO_COLOR.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Give this device a name; without --name, show the one it has
    Init {
        /// The name, 1 to 64 characters
        #[arg(long)]
        name: Option<String>,
    },
    /// Show what the daemon is doing, and what is wrong
    Status {
        /// Show it again every second
        #[arg(long)]
        watch: bool,
    },
    /// Let another device in, or join one
    Pair(Pair),
    /// Append a blob to a channel
    Push(Push),
    /// Read a channel
    Pull(Pull),
    /// The devices of a group
    #[command(subcommand)]
    Device(Device),
    /// Groups of devices
    #[command(subcommand)]
    Group(Group),
    /// The relays that this device uses
    #[command(subcommand)]
    Relay(Relay),
    /// Folders that are kept in step
    #[command(subcommand)]
    Folder(Folder),
    /// What happens in the daemon
    Events {
        /// Stay, and print what happens from now on
        #[arg(long, short)]
        follow: bool,
        /// Begin after this event cursor
        #[arg(long, value_name = "CURSOR")]
        after: Option<String>,
    },
    /// Where the daemon's socket is
    Paths,
}

/// Needed only when the device is in several groups.
#[derive(Debug, ClapArgs)]
pub(crate) struct InGroup {
    /// The group's id or name, when this device is in several
    #[arg(long, value_name = "GROUP")]
    pub(crate) group: Option<String>,
}

#[derive(Debug, ClapArgs)]
#[group(id = "pairing")]
#[command(group = clap::ArgGroup::new("side").args(["create", "join"]).required(true))]
pub(crate) struct Pair {
    /// Make an invite and print it
    #[arg(long)]
    pub(crate) create: bool,
    /// Join with an invite; `-` or nothing reads it from standard input
    #[arg(long, value_name = "INVITE", num_args = 0..=1, default_missing_value = "-")]
    pub(crate) join: Option<String>,
    /// Stay until the invite is used or expired (the default on a terminal without --json)
    #[arg(long, requires = "create", conflicts_with = "no_wait")]
    pub(crate) wait: bool,
    /// Return as soon as the invite is printed
    #[arg(long, requires = "create")]
    pub(crate) no_wait: bool,
    /// How long the invite lives, in seconds (at most 600)
    #[arg(long, requires = "create", value_name = "SECONDS")]
    pub(crate) ttl: Option<u64>,
    #[command(flatten)]
    pub(crate) group: InGroup,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Push {
    /// The blob itself; `-` or nothing reads standard input, `@FILE` reads a file
    pub(crate) data: Option<String>,
    /// The channel
    #[arg(long, short, default_value = "default")]
    pub(crate) channel: String,
    /// The entry's key
    #[arg(long, short)]
    pub(crate) key: Option<String>,
    /// What to wait for
    #[arg(long, value_name = "TIER", value_enum, default_value_t = Tier::Local)]
    pub(crate) wait: Tier,
    /// How long to wait for it, in seconds
    #[arg(long, value_name = "SECONDS")]
    pub(crate) timeout: Option<u64>,
    #[command(flatten)]
    pub(crate) group: InGroup,
}

/// What a push waits for.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum Tier {
    /// Committed on this device
    Local,
    /// Durable on a relay too
    Relay,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Pull {
    /// The channel
    #[arg(long, short, default_value = "default")]
    pub(crate) channel: String,
    /// Begin after this cursor instead of at the start
    #[arg(long, value_name = "CURSOR", conflicts_with = "consumer")]
    pub(crate) after: Option<String>,
    /// Print at most this many entries
    #[arg(long, short = 'n', value_name = "N")]
    pub(crate) limit: Option<u64>,
    /// Stay, and print entries as they come
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Begin where this consumer stopped last time, and remember where it stops now
    #[arg(long, value_name = "NAME")]
    pub(crate) consumer: Option<String>,
    #[command(flatten)]
    pub(crate) group: InGroup,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Device {
    /// List the members of a group
    List {
        #[command(flatten)]
        group: InGroup,
    },
    /// Give a device another name
    Rename {
        /// The device's name or id
        #[arg(value_name = "NAME|ID")]
        device: String,
        /// Its new name
        #[arg(value_name = "NEW NAME")]
        name: String,
        #[command(flatten)]
        group: InGroup,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Group {
    /// List the groups of this device
    List,
    /// Make a group with this device as its only member
    Create {
        /// The group's name
        name: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Relay {
    /// List the relays and the state of the links
    List {
        #[command(flatten)]
        group: InGroup,
    },
    /// Add a relay by its address
    Add {
        /// `ID@IP:PORT`, as the relay prints it; `-` reads it from standard input (needed when it has a token)
        #[arg(value_name = "ADDR|-")]
        address: String,
        #[command(flatten)]
        group: InGroup,
    },
    /// Remove a relay
    Remove {
        /// The relay's id
        #[arg(value_name = "ID")]
        relay: String,
        #[command(flatten)]
        group: InGroup,
    },
    /// Run a relay inside the daemon, and use it
    Embed {
        /// Where it listens (default 127.0.0.1 and a free port, which it keeps)
        #[arg(long, value_name = "IP:PORT")]
        bind: Option<String>,
        #[command(flatten)]
        group: InGroup,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Folder {
    /// Share a directory
    Add {
        /// The directory
        path: PathBuf,
        /// The folder's name (default: the directory's)
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        group: InGroup,
    },
    /// Take a folder that another device offers
    Join {
        /// The folder's name or id
        #[arg(value_name = "NAME|ID")]
        folder: String,
        /// The directory to keep it in; made when absent
        path: PathBuf,
        #[command(flatten)]
        group: InGroup,
    },
    /// List the folders, offered ones included
    List {
        #[command(flatten)]
        group: InGroup,
    },
    /// Show counts, progress and problems
    Status {
        /// The folder's name or id (default: all)
        #[arg(value_name = "NAME|ID")]
        folder: Option<String>,
        #[command(flatten)]
        group: InGroup,
    },
    /// Stop keeping a folder in step on this device; the files stay
    Remove {
        /// The folder's name or id
        #[arg(value_name = "NAME|ID")]
        folder: String,
        #[command(flatten)]
        group: InGroup,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Args::command().debug_assert();
    }
}
