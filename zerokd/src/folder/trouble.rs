//! What to tell a person about a path that cannot be kept in step, and what to do about it.

use std::io;

use super::contents::Unfetched;
use super::index::problems::FolderProblem;
use super::observe::Trouble;

/// The problem that an error of the disk is.
pub(crate) fn disk(key: &str, error: &io::Error) -> FolderProblem {
    use io::ErrorKind as E;
    let (code, text, hint) = match error.kind() {
        E::PermissionDenied | E::ReadOnlyFilesystem => (
            "permission",
            "it may not be written here",
            "give yourself permission to write it and its directory",
        ),
        E::StorageFull | E::QuotaExceeded => ("disk_full", "the disk is full", "free space on the disk"),
        E::InvalidFilename | E::InvalidInput => {
            ("name", "this disk cannot hold its name", "rename it on the device that made it")
        }
        E::NotADirectory => {
            ("blocked", "something else stands where its directory should be", "move that away")
        }
        E::AlreadyExists => ("blocked", "something else stands in its place", "move that away"),
        _ if is_loop(error) => (
            "blocked",
            "a link stands where its directory should be",
            "move the link away; links are not followed",
        ),
        _ => return problem(key, "io", format!("the disk refuses: {}", error.kind()), "check the disk"),
    };
    problem(key, code, text.to_owned(), hint)
}

fn is_loop(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}

/// The problem that something seen on disk is; `None` where it is only to be looked at again.
pub(crate) fn seen(key: &str, trouble: Trouble) -> Option<FolderProblem> {
    Some(match trouble {
        Trouble::Changing | Trouble::Large => return None,
        Trouble::Unreadable(kind) => problem(
            key,
            "unreadable",
            format!("it cannot be read: {kind}"),
            "give yourself permission to read it; until then it is left as it is",
        ),
        Trouble::Unsyncable => problem(
            key,
            "unsyncable",
            "it is a FIFO, socket or device and is left out".into(),
            "nothing, or name it in .zerokignore",
        ),
        Trouble::Target => {
            problem(key, "unsyncable", "the link's target is not UTF-8".into(), "make the link anew")
        }
        Trouble::OtherDevice => problem(
            key,
            "unsyncable",
            "another file system is mounted here and is left out".into(),
            "add it as a folder of its own",
        ),
    })
}

/// The problem that contents which did not come are.
pub(crate) fn fetched(key: &str, error: &Unfetched) -> Option<FolderProblem> {
    match error {
        Unfetched::Stopping => None,
        Unfetched::Io(e) => Some(disk(key, e)),
        Unfetched::Unavailable => Some(problem(
            key,
            "unavailable",
            "its contents are on no device that is online".into(),
            "start a device that has it; it is fetched then",
        )),
        Unfetched::Wrong => Some(problem(
            key,
            "damaged",
            "its contents are not what its record says".into(),
            "save it again on the device that made it",
        )),
    }
}

/// Something stands in the way that must not be touched.
pub(crate) fn blocked(key: &str) -> FolderProblem {
    let text = "something that cannot be synced stands in its place";
    problem(key, "blocked", text.into(), "move it away")
}

/// A problem of a path, or of the folder if the path is empty.
pub(crate) fn problem(key: &str, code: &str, text: String, hint: &str) -> FolderProblem {
    FolderProblem { path: key.to_owned(), code: code.to_owned(), text, hint: hint.to_owned() }
}
