//! `zerokd demo`: the main job on one machine, with nothing else installed. Two daemons, the relay inside one of them,
//! keep a copy of a folder in step with a second one; nothing of it can be read in the relay's files.

mod sample;
mod search;
mod show;
mod tree;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde::Serialize;
use zerok_client::api::{FoldersClient, PairingClient, RelaysClient};
use zerok_client::{Client, Push, StartAt};

use crate::config::Config;
use crate::daemon::{self, Running};
use crate::paths::Paths;

/// What the demo is asked to do.
#[derive(clap::Args)]
pub struct Args {
    /// The folder to copy from; it is never written to [default: a sample that the demo writes]
    dir: Option<PathBuf>,
    /// End when everything was shown, instead of staying until Ctrl-C
    #[arg(long)]
    once: bool,
    /// Print one JSON document instead of talk; needs --once
    #[arg(long, requires = "once")]
    json: bool,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Serialize)]
struct Outcome {
    /// Both folders hold the same.
    converged: bool,
    /// Files in the folder.
    files: u64,
    /// Bytes in them.
    bytes: u64,
    /// From sharing the folder until everything was on the other side, in milliseconds.
    first_sync_ms: f64,
    /// From the push of a blob until a subscriber on the other device had it, in milliseconds.
    blob_latency_ms: f64,
    /// Something readable was found in the relay's files.
    plaintext_found: bool,
}

/// How long the first sync may take: a minute, and a second for each 4 MiB.
fn patience(bytes: u64) -> Duration {
    Duration::from_secs(60 + bytes / (4 << 20))
}

/// Runs the demo.
///
/// # Errors
/// Something it needs could not be had. What does not hold is told by the exit code.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let talk = !args.json;
    let scratch = tempfile::Builder::new().prefix("zerokd-demo-").tempdir()?;
    let demo = Demo::start(scratch.path(), talk).await?;
    let result = demo.show(&args).await;
    let outcome = match result {
        Ok(outcome) => outcome,
        Err(error) => {
            demo.stop().await;
            return Err(error);
        }
    };
    if args.json {
        println!("{}", serde_json::to_string(&outcome)?);
    }
    if !args.once {
        demo.stay().await?;
    }
    demo.stop().await;
    let holds = outcome.converged && !outcome.plaintext_found;
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Device {
    running: Running,
    client: Client,
    home: PathBuf,
    folder: PathBuf,
}

struct Demo {
    left: Device,
    right: Device,
    scratch: PathBuf,
    talk: bool,
}

async fn device(scratch: &Path, name: &str) -> anyhow::Result<Device> {
    let home = scratch.join(name);
    let paths = Paths::locate(Some(&home), None)?;
    let socket = paths.socket.clone();
    let running = daemon::start(paths, Config::default()).await.context("the demo's daemon")?;
    let client = Client::connect_to(socket).await?;
    Ok(Device { running, client, home, folder: scratch.join(format!("{name}-folder")) })
}

impl Demo {
    async fn start(scratch: &Path, talk: bool) -> anyhow::Result<Self> {
        let left = device(scratch, "left").await?;
        let right = device(scratch, "right").await?;
        Ok(Self { left, right, scratch: scratch.to_owned(), talk })
    }

    async fn stop(self) {
        drop((self.left.client, self.right.client));
        tokio::join!(self.left.running.stop(), self.right.running.stop());
    }

    fn say(&self, text: impl AsRef<str>) {
        if self.talk {
            println!("{}", text.as_ref());
        }
    }

    async fn show(&self, args: &Args) -> anyhow::Result<Outcome> {
        let (left, right) = (&self.left, &self.right);
        self.say("Two daemons run, each with its own home; the relay runs inside the left one.");
        left.client.relay_embed(Some("127.0.0.1:0".into()), None).await?;
        let started = Instant::now();
        let invite = left.client.pair_create(None, None, None).await?;
        let text = invite.invite.context("an invite has a text")?;
        right.client.pair_join(text, Some("right".into())).await?;
        self.say(format!("Paired by a one-time invite in {}.", show::ms(started.elapsed())));

        match &args.dir {
            Some(dir) => {
                tree::copy(dir, &left.folder).with_context(|| format!("copying {}", dir.display()))?
            }
            None => sample::write(&left.folder)?,
        }
        let before = tree::read(&left.folder)?;
        let (files, bytes) = (before.files(), before.bytes());
        self.say(format!("The left folder holds {files} files, {}.", show::bytes(bytes)));

        let events = show::Items::follow(&right.client, self.talk).await;
        let started = Instant::now();
        left.client.folder_add(left.folder.display().to_string(), Some("demo".into()), None).await?;
        self.join_folder().await?;
        let converged = self.until_equal(patience(bytes)).await?;
        let first_sync = started.elapsed();
        events.stop();
        if converged {
            self.say(format!(
                "Everything is in the right folder after {}, equal byte for byte.",
                show::ms(first_sync)
            ));
        } else {
            self.say("The right folder did NOT become equal in time.");
        }
        let blob_latency = self.blob().await?;
        self.say(format!(
            "An app's blob pushed left was at a subscriber right after {}.",
            show::ms(blob_latency)
        ));
        let plaintext_found = self.search(&before)?;
        Ok(Outcome {
            converged,
            files,
            bytes,
            first_sync_ms: show::millis(first_sync),
            blob_latency_ms: show::millis(blob_latency),
            plaintext_found,
        })
    }

    /// The offer arrives with the group's data; then it is taken.
    async fn join_folder(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(30);
        let path = self.right.folder.display().to_string();
        loop {
            if self.right.client.folder_list(None).await?.folders.iter().any(|folder| folder.name == "demo") {
                self.right.client.folder_join("demo".into(), path, None).await?;
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("the shared folder was not offered to the other device within 30 s");
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn until_equal(&self, within: Duration) -> anyhow::Result<bool> {
        let deadline = Instant::now() + within;
        loop {
            let looked = Instant::now();
            let (left, right) = (self.left.folder.clone(), self.right.folder.clone());
            let equal = tokio::task::spawn_blocking(move || tree::equal(&left, &right)).await??;
            if equal || Instant::now() > deadline {
                return Ok(equal);
            }
            // Looking costs: not more than half of the time.
            tokio::time::sleep(looked.elapsed().max(Duration::from_millis(5))).await;
        }
    }

    async fn blob(&self) -> anyhow::Result<Duration> {
        let mut entries = self.right.client.entries("demo", StartAt::Beginning);
        // The first one finds the subscription made; the second one is timed.
        self.left.client.push(Push::new("demo", b"warm-up".as_slice())).await?;
        entries.next().await?;
        let started = Instant::now();
        self.left.client.push(Push::new("demo", b"hello from the left".as_slice())).await?;
        let batch =
            tokio::time::timeout(Duration::from_secs(10), entries.next()).await.context("the blob")??;
        let latency = started.elapsed();
        if batch.entries.first().map(|entry| entry.data.as_bytes()) != Some(b"hello from the left".as_slice())
        {
            bail!("another blob arrived than was pushed");
        }
        Ok(latency)
    }

    /// Looks for names and pieces of contents in everything that the relay has stored; first for a planted piece, to
    /// show that the search finds what is there.
    fn search(&self, samples: &tree::Tree) -> anyhow::Result<bool> {
        let needles = search::Needles::of(samples, &self.left.folder)?;
        let control = self.scratch.join("control");
        std::fs::create_dir(&control)?;
        std::fs::write(control.join("planted"), needles.plant())?;
        if needles.find_below(&[control])?.is_empty() {
            bail!("the search does not find a planted piece");
        }
        let files = search::relay_files(&self.left.home)?;
        if files.is_empty() {
            bail!("the relay has no files to search");
        }
        let found = needles.find_below(&files)?;
        self.say(format!(
            "Searched the relay's {} for {} names and pieces of contents (a planted one is found): {}.",
            search::described(&files)?,
            needles.count(),
            if found.is_empty() {
                "none is there".to_owned()
            } else {
                format!("FOUND in {}", found.join(", "))
            },
        ));
        Ok(!found.is_empty())
    }

    /// Shows what happens until Ctrl-C.
    async fn stay(&self) -> anyhow::Result<()> {
        println!("\nNow play: change something in either folder and watch the other.");
        println!("  {}\n  {}", self.left.folder.display(), self.right.folder.display());
        println!("Or talk to a daemon: zerokctl --home {} status", self.left.home.display());
        println!("Ctrl-C ends the demo and removes everything.\n");
        let left = show::Items::follow(&self.left.client, true).await;
        let right = show::Items::follow(&self.right.client, true).await;
        tokio::signal::ctrl_c().await?;
        left.stop();
        right.stop();
        Ok(())
    }
}
