//! Chunk files: `<group>/<first byte>/<address>`. One thread writes and removes, in the order it is told; reading is
//! elsewhere. Nothing is synced: a torn file is noticed by its hash.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;
use tokio::sync::mpsc;
use zerok_protocol::{GroupId, Hash};

enum Job {
    Write(PathBuf, Bytes, Box<dyn FnOnce(bool) + Send>),
    Remove(PathBuf),
}

/// The files and the thread that writes them.
pub(super) struct Disk {
    dir: PathBuf,
    // Unbounded, but every write holds part of its connection's budget.
    jobs: mpsc::UnboundedSender<Job>,
}

impl Disk {
    pub(super) fn start(dir: &Path) -> io::Result<Self> {
        let (jobs, mut inbox) = mpsc::unbounded_channel();
        std::thread::Builder::new().name("relay-chunks".into()).spawn(move || {
            while let Some(job) = inbox.blocking_recv() {
                match job {
                    Job::Write(path, data, done) => done(written(&path, &data)),
                    Job::Remove(path) => drop(fs::remove_file(path)),
                }
            }
        })?;
        Ok(Self { dir: dir.to_owned(), jobs })
    }

    pub(super) fn path(&self, group: &GroupId, address: &Hash) -> PathBuf {
        let name = address.to_hex();
        let first: String = name.chars().take(2).collect();
        self.dir.join(group.to_hex()).join(first).join(name)
    }

    pub(super) fn write(
        &self,
        group: GroupId,
        address: Hash,
        data: Bytes,
        done: impl FnOnce(bool) + Send + 'static,
    ) {
        let job = Job::Write(self.path(&group, &address), data, Box::new(done));
        if let Err(mpsc::error::SendError(Job::Write(_, _, done))) = self.jobs.send(job) {
            done(false);
        }
    }

    pub(super) fn remove(&self, chunks: Vec<(GroupId, Hash)>) {
        for (group, address) in chunks {
            // The thread is gone only when the relay is.
            let _ = self.jobs.send(Job::Remove(self.path(&group, &address)));
        }
    }
}

fn written(path: &Path, data: &[u8]) -> bool {
    let result = fs::write(path, data).or_else(|e| match (e.kind(), path.parent()) {
        (ErrorKind::NotFound, Some(parent)) => {
            fs::create_dir_all(parent).and_then(|()| fs::write(path, data))
        }
        _ => Err(e),
    });
    if let Err(e) = &result {
        tracing::warn!(kind = ?e.kind(), "a chunk could not be written");
        // Half a chunk takes room for nothing.
        let _ = fs::remove_file(path);
    }
    result.is_ok()
}

/// A chunk file.
pub(crate) struct Found {
    pub(crate) path: PathBuf,
    pub(crate) group: GroupId,
    pub(crate) address: Hash,
    pub(crate) size: u64,
    pub(crate) modified: SystemTime,
}

/// Makes the directory if it is missing, for its owner alone: names in it tell of groups. Of groups that are gone nothing
/// stays but empty directories, and these go here.
pub(super) fn prepare(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    for group in fs::read_dir(dir)? {
        let group = group?;
        if group.file_name().to_str().is_none_or(|name| name.parse::<GroupId>().is_err()) {
            continue;
        }
        for sub in fs::read_dir(group.path())? {
            // Refused for what is not empty.
            let _ = fs::remove_dir(sub?.path());
        }
        let _ = fs::remove_dir(group.path());
    }
    Ok(())
}

/// What is on disk. What is no chunk by its name is left alone.
pub(crate) fn scan(dir: &Path) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    for group_dir in fs::read_dir(dir)? {
        let group_dir = group_dir?;
        let Some(Ok(group)) = group_dir.file_name().to_str().map(str::parse::<GroupId>) else { continue };
        for sub in fs::read_dir(group_dir.path())? {
            let sub = sub?;
            if !sub.file_type()?.is_dir() {
                continue;
            }
            for file in fs::read_dir(sub.path())? {
                let file = file?;
                let Some(Ok(address)) = file.file_name().to_str().map(str::parse::<Hash>) else { continue };
                let metadata = file.metadata()?;
                let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                found.push(Found { path: file.path(), group, address, size: metadata.len(), modified });
            }
        }
    }
    Ok(found)
}
