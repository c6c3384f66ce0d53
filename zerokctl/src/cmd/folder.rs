//! `zerokctl folder`.

use std::path::Path;

use serde::Serialize;
use zerok_client::api::{DaemonClient, FoldersClient};
use zerok_client::types::{Folder as FolderInfo, FolderState, FolderStatus};

use super::Context;
use crate::args::Folder;
use crate::exit::Failure;
use crate::output::{Table, bytes, plain};

pub(super) async fn run(ctx: &Context, command: Folder) -> Result<(), Failure> {
    match command {
        Folder::Add { path, name, group } => {
            let path = absolute(&path)?;
            let folder = ctx.client().await?.folder_add(path, name, group.group).await?;
            ctx.out.answer(&folder, || list(std::slice::from_ref(&folder)).to_string())
        }
        Folder::Join { folder, path, group } => {
            let path = absolute(&path)?;
            let folder = ctx.client().await?.folder_join(folder, path, group.group).await?;
            ctx.out.answer(&folder, || list(std::slice::from_ref(&folder)).to_string())
        }
        Folder::List { group } => {
            let folders = ctx.client().await?.folder_list(group.group).await?;
            ctx.out.answer(&folders, || list(&folders.folders).to_string())
        }
        Folder::Status { folder: Some(folder), group } => {
            let status = ctx.client().await?.folder_status(folder, group.group).await?;
            ctx.out.answer(&status, || text(std::slice::from_ref(&status)))
        }
        Folder::Status { folder: None, .. } => {
            let folders = ctx.client().await?.daemon_status().await?.folders;
            let all = All { folders };
            ctx.out.answer(&all, || text(&all.folders))
        }
        Folder::Remove { folder, group } => {
            let done = ctx.client().await?.folder_remove(folder, group.group).await?;
            ctx.out.answer(&done, || "removed; the files stay where they are\n".to_owned())
        }
    }
}

#[derive(Serialize)]
struct All {
    folders: Vec<FolderStatus>,
}

/// The daemon has another working directory, so it is told absolute paths.
fn absolute(path: &Path) -> Result<String, Failure> {
    let path = std::path::absolute(path)?;
    path.into_os_string().into_string().map_err(|path| {
        let shown = path.to_string_lossy().into_owned();
        Failure::usage(format!("path is not UTF-8: {shown}"), "rename the directory")
    })
}

fn list(folders: &[FolderInfo]) -> Table {
    let mut table = Table::new(["NAME", "STATE", "PATH", "ID"]);
    for folder in folders {
        let path = folder.path.as_deref().unwrap_or("-");
        table.row([&folder.name, state(folder.state), path, &folder.id]);
    }
    table
}

fn text(folders: &[FolderStatus]) -> String {
    let problems = folders.iter().flat_map(|folder| folder.problems.iter().map(|p| problem(&folder.name, p)));
    let problems: String = problems.collect();
    format!("{}{problems}", table(folders))
}

/// One row per folder, with counts and progress.
pub(super) fn table(folders: &[FolderStatus]) -> Table {
    let mut table = Table::new(["NAME", "STATE", "FILES", "SIZE", "PATH"]);
    for folder in folders {
        let state = match folder.progress {
            Some(p) => format!("{} {}/{}", state(folder.state), p.files_done, p.files_total),
            None => state(folder.state).to_owned(),
        };
        let path = folder.path.as_deref().unwrap_or("-");
        table.row([&folder.name, &state, &folder.files.to_string(), &bytes(folder.bytes), path]);
    }
    table
}

fn problem(folder: &str, p: &zerok_client::types::FolderProblem) -> String {
    let item = p.path.as_deref().map(|path| format!("/{path}")).unwrap_or_default();
    format!("{}: {}\n  hint: {}\n", plain(&format!("{folder}{item}")), plain(&p.text), plain(&p.hint))
}

fn state(state: FolderState) -> &'static str {
    match state {
        FolderState::Offered => "offered",
        FolderState::Scanning => "scanning",
        FolderState::Syncing => "syncing",
        FolderState::Idle => "idle",
        FolderState::Stopped => "stopped",
        FolderState::Unknown => "unknown",
    }
}
