//! Looking at one path: what stands there, its contents hashed if they may be other than the index says.

use std::fs::File;
use std::io::{self, Read};

use bytes::Bytes;
use zerok_core::reconcile::{DiskState, Observed};
use zerok_core::{INLINE_MAX, Kind};
use zerok_protocol::Hash;

use super::disk_path::DiskPath;
use super::ignore::Ignores;
use super::index::rows::PathRow;
use super::root::Dirs;
use super::stat::{self, Stat};

/// Up to this size a file is hashed on the folder's own thread, in bytes; a larger one must not hold up the others.
pub(crate) const HASH_HERE: u64 = 4 << 20;

/// The contents of a file, as they were while its stat was this.
#[derive(Debug, Clone)]
pub(crate) struct Hashed {
    /// The file's stat, the same before and after.
    pub(crate) stat: Stat,
    /// BLAKE3 of the contents.
    pub(crate) hash: Hash,
    /// The contents, if they fit a record.
    pub(crate) inline: Option<Bytes>,
}

/// What was found.
#[derive(Debug)]
pub(crate) struct Seen {
    /// For reconciling.
    pub(crate) observed: Observed,
    /// The stat, if something is there.
    pub(crate) stat: Option<Stat>,
    /// The contents, if they were read whole.
    pub(crate) inline: Option<Bytes>,
    /// Why nothing can be said, or why it cannot be synced.
    pub(crate) trouble: Option<Trouble>,
}

/// Why a path cannot be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It may not be read, or its directory may not.
    Unreadable(io::ErrorKind),
    /// It changed while it was read.
    Changing,
    /// It is large: to be hashed elsewhere.
    Large,
    /// A FIFO, socket or device.
    Unsyncable,
    /// A link whose target is not UTF-8.
    Target,
    /// It lies on another file system than the folder.
    OtherDevice,
}

impl Seen {
    fn nothing(observed: Observed, trouble: Option<Trouble>) -> Self {
        Self { observed, stat: None, inline: None, trouble }
    }

    fn unknown(trouble: Trouble) -> Self {
        Self::nothing(Observed::Unknown, Some(trouble))
    }
}

/// Looks at `path`. `hashed` is what was found out elsewhere; it counts only while the stat is the same.
pub(crate) fn observe(
    dirs: &mut Dirs<'_>,
    ignores: &mut Ignores,
    path: &DiskPath,
    row: Option<&PathRow>,
    hashed: Option<&Hashed>,
) -> Seen {
    let stat = match look(dirs, path) {
        Ok(stat) => stat,
        Err(trouble) => return Seen::unknown(trouble),
    };
    let is_dir = match &stat {
        Some(stat) => stat.kind == stat::Kind::Directory,
        None => row.and_then(|r| r.row.state.as_ref()).is_some_and(|s| s.kind == Kind::Directory),
    };
    if ignores.matches(dirs, path, is_dir) {
        return Seen::nothing(Observed::Ignored, None);
    }
    let Some(stat) = stat else { return Seen::nothing(Observed::Absent, None) };
    // Only directories tell: some file systems give each file a device of its own.
    if is_dir && stat.device != dirs.root().stat().device {
        return Seen { stat: Some(stat), ..Seen::unknown(Trouble::OtherDevice) };
    }
    let mut seen = match stat.kind {
        stat::Kind::Other => Seen::nothing(Observed::Unsupported, Some(Trouble::Unsyncable)),
        stat::Kind::Directory => present(&stat, Kind::Directory, None),
        stat::Kind::Symlink => link(dirs, path, &stat),
        stat::Kind::File => file(dirs, path, stat, row, hashed),
    };
    seen.stat = seen.stat.or(Some(stat));
    seen
}

/// The stat of a path; `None` if it, or a directory on the way, is absent or something else.
fn look(dirs: &mut Dirs<'_>, path: &DiskPath) -> Result<Option<Stat>, Trouble> {
    let unreadable = |e: io::Error| Trouble::Unreadable(e.kind());
    let Some((parent, name)) = path.split() else { return Ok(Some(*dirs.root().stat())) };
    match dirs.open(&parent) {
        Ok(dir) => {
            if Stat::of_open(&*dir).map_err(unreadable)?.device != dirs.root().stat().device {
                return Err(Trouble::OtherDevice);
            }
            Stat::of(&*dir, name).map_err(unreadable)
        }
        Err(e) => match e.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(None),
            // A link where the directory was: what was in the directory is not there any more.
            _ if e.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => Ok(None),
            _ => Err(unreadable(e)),
        },
    }
}

fn present(stat: &Stat, kind: Kind, hash: Option<Hash>) -> Seen {
    let state = DiskState {
        size: if kind == Kind::File { stat.size } else { 0 },
        mtime_ns: stat.mtime_ns,
        executable: stat.executable(),
        owner_only: stat.owner_only(),
        hash,
        kind,
    };
    Seen::nothing(Observed::Present(state), None)
}

fn link(dirs: &mut Dirs<'_>, path: &DiskPath, stat: &Stat) -> Seen {
    let mut read = || -> io::Result<Vec<u8>> {
        let (parent, name) = path.split().ok_or(io::ErrorKind::InvalidInput)?;
        Ok(rustix::fs::readlinkat(&*dirs.open(&parent)?, name, Vec::new())?.into_bytes())
    };
    match read().map(String::from_utf8) {
        Ok(Ok(target)) => present(stat, Kind::Symlink { target }, None),
        Ok(Err(_)) => Seen::nothing(Observed::Unsupported, Some(Trouble::Target)),
        Err(e) => Seen::unknown(Trouble::Unreadable(e.kind())),
    }
}

fn file(
    dirs: &mut Dirs<'_>,
    path: &DiskPath,
    stat: Stat,
    row: Option<&PathRow>,
    hashed: Option<&Hashed>,
) -> Seen {
    if let Some(hashed) = hashed.filter(|h| h.stat.same_content_as(&stat)) {
        let seen = present(&stat, Kind::File, Some(hashed.hash));
        return Seen { inline: hashed.inline.clone(), ..seen };
    }
    let known = row.filter(|r| !r.racy && r.stat.same_content_as(&stat)).and_then(|r| r.row.state.as_ref());
    if let Some(hash) = known.and_then(|state| state.hash) {
        return present(&stat, Kind::File, Some(hash));
    }
    if stat.size > HASH_HERE {
        return Seen { stat: Some(stat), ..Seen::unknown(Trouble::Large) };
    }
    let open = dirs.root().open_file(dirs, path);
    match open.and_then(|mut file| hash(&mut file)) {
        Ok(Some(hashed)) => Seen {
            stat: Some(hashed.stat),
            inline: hashed.inline,
            ..present(&hashed.stat, Kind::File, Some(hashed.hash))
        },
        Ok(None) => Seen::unknown(Trouble::Changing),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Seen::unknown(Trouble::Changing),
        Err(e) => Seen::unknown(Trouble::Unreadable(e.kind())),
    }
}

/// Hashes an open file; `None` if it changed meanwhile.
///
/// # Errors
/// It cannot be read.
pub(crate) fn hash(file: &mut File) -> io::Result<Option<Hashed>> {
    let before = Stat::of_open(&*file)?;
    let small = usize::try_from(before.size).is_ok_and(|size| size <= INLINE_MAX);
    let (hash, inline, read) = if small {
        let mut bytes = Vec::with_capacity(usize::try_from(before.size).unwrap_or(0) + 1);
        file.take(before.size + 1).read_to_end(&mut bytes)?;
        let read = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        (Hash::of(&bytes), Some(Bytes::from(bytes)), read)
    } else {
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; 256 << 10];
        let mut read = 0;
        while read <= before.size {
            let n = match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
            hasher.update(buffer.get(..n).unwrap_or_default());
            read += u64::try_from(n).unwrap_or(0);
        }
        (Hash(*hasher.finalize().as_bytes()), None, read)
    };
    let after = Stat::of_open(&*file)?;
    let rested = before.same_content_as(&after) && read == before.size;
    Ok(rested.then_some(Hashed { stat: after, hash, inline }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::root::Root;

    fn seen(root: &Root, path: &str) -> Seen {
        let mut ignores = Ignores::new(root.path().to_owned());
        let path = DiskPath::parse(path.as_bytes()).unwrap();
        observe(&mut Dirs::new(root), &mut ignores, &path, None, None)
    }

    fn root() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        (dir, root)
    }

    #[test]
    fn a_small_file_is_read_whole_and_a_large_one_is_left_to_others() {
        let (dir, root) = root();
        std::fs::write(dir.path().join("small"), b"abc").unwrap();
        std::fs::File::create(dir.path().join("large")).unwrap().set_len(HASH_HERE + 1).unwrap();
        let small = seen(&root, "small");
        assert_eq!(small.inline.as_deref(), Some(&b"abc"[..]));
        let Observed::Present(state) = small.observed else { panic!("{small:?}") };
        assert_eq!((state.size, state.hash), (3, Some(Hash::of(b"abc"))));
        assert_eq!(seen(&root, "large").trouble, Some(Trouble::Large));
    }

    #[test]
    fn absent_is_only_what_a_listed_directory_lacks() {
        let (dir, root) = root();
        std::fs::create_dir(dir.path().join("d")).unwrap();
        std::fs::write(dir.path().join("f"), "").unwrap();
        std::os::unix::fs::symlink("/etc", dir.path().join("l")).unwrap();
        for path in ["x", "d/x", "gone/x", "f/x", "l/passwd"] {
            assert_eq!(seen(&root, path).observed, Observed::Absent, "{path}");
        }
    }

    #[test]
    fn what_is_ignored_is_not_looked_at() {
        let (dir, root) = root();
        std::fs::write(dir.path().join(".zerokignore"), "*.log\n").unwrap();
        std::fs::write(dir.path().join("a.log"), "x").unwrap();
        assert_eq!(seen(&root, "a.log").observed, Observed::Ignored);
        assert_eq!(seen(&root, "gone.log").observed, Observed::Ignored);
    }

    #[test]
    fn a_link_is_its_target_and_a_socket_is_not_syncable() {
        let (dir, root) = root();
        std::os::unix::fs::symlink("../up", dir.path().join("l")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("s")).unwrap();
        let Observed::Present(state) = seen(&root, "l").observed else { panic!() };
        assert_eq!(state.kind, Kind::Symlink { target: "../up".into() });
        assert_eq!(seen(&root, "s").observed, Observed::Unsupported);
    }
}
