//! Folders that are kept in step: the handle to all of them.
//!
//! Each folder that is at home on this device has a thread ([`engine`]). The channel `$folders` says which folders a
//! group has ([`announce`]); one that is only offered has no thread.

mod announce;
mod apply;
mod chunks;
mod contents;
mod dirty;
mod disk_path;
mod elsewhere;
mod engine;
mod engine_error;
mod ignore;
mod inbox;
mod index;
mod keeper;
mod list;
mod live;
mod marker;
mod merge;
mod observe;
mod place;
mod record_change;
mod refuse;
mod root;
mod scan;
mod settle;
mod sources;
mod stage;
mod stat;
mod status;
mod step;
mod trouble;
mod versions;
mod watch;
mod work;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch as signal};
use tokio::task::JoinHandle;
use zerok_client::types::{Folder, FolderState, FolderStatus};
use zerok_client::{ApiError, ErrorKind};
use zerok_core::{FolderId, check_name};

use self::chunks::Chunks;
use self::engine::Spec;
use self::inbox::Inbox;
use self::index::FolderRow;
use self::index::folders::{self, FolderInfo};
use self::keeper::Apart;
use self::live::Live;
use self::refuse::Refused;
use self::root::Root;
use self::sources::FolderSources;
use crate::clock;
use crate::content::{Content, Gone};
use crate::context::Context;
use crate::group::Group;
use crate::store::StoreError;
use crate::store::log::GroupRow;

/// Handle to all folders; cheap to clone.
#[derive(Clone)]
pub(crate) struct Folders {
    inner: Arc<Inner>,
}

struct Inner {
    context: Context,
    content: Content,
    running: Mutex<HashMap<FolderRow, Running>>,
    // Adding, joining and removing, one at a time.
    changing: tokio::sync::Mutex<()>,
}

/// A folder's thread.
struct Running {
    inbox: Arc<Inbox>,
    live: Live,
    grp: GroupRow,
    thread: JoinHandle<()>,
}

impl Folders {
    /// Starts the thread of every folder at home here, and the task that takes in announcements.
    ///
    /// # Errors
    /// The database.
    #[expect(clippy::unused_async, reason = "starts tasks: only to be called where tasks can run")]
    pub(crate) async fn start(context: Context, content: Content) -> Result<Self, StoreError> {
        // Files that are not any more what was to be uploaded; somebody else may follow them already.
        let changed = content.gone().unwrap_or_else(|| mpsc::channel(1).1);
        content.set_sources(Arc::new(FolderSources { store: context.store.clone() }));
        let inner = Inner {
            context: context.clone(),
            content,
            running: Mutex::default(),
            changing: tokio::sync::Mutex::default(),
        };
        let folders = Self { inner: Arc::new(inner) };
        for group in context.groups.all() {
            while announce::take_in(&context.store, group.row)? {}
        }
        let known = context.store.read_blocking(|connection| folders::all(connection, None))?;
        for info in known {
            folders.run(&info);
        }
        context.tracker.spawn(folders.clone().follow(changed));
        Ok(folders)
    }

    /// Stops every folder's thread and waits for it.
    pub(crate) async fn stop(&self) {
        let running: Vec<Running> = self
            .inner
            .running
            .lock()
            .expect("nobody panics while holding it")
            .drain()
            .map(|(_, r)| r)
            .collect();
        for folder in &running {
            folder.inbox.stop();
        }
        for folder in running {
            drop(folder.thread.await);
        }
    }

    /// Wakes folders when logs grow, files changed under an upload, or announcements came.
    async fn follow(self, mut changed: mpsc::Receiver<Gone>) {
        let context = self.inner.context.clone();
        let mut released: signal::Receiver<u64> = context.store.released_ours();
        loop {
            tokio::select! {
                () = context.cancel.cancelled() => return,
                Ok(()) = released.changed() => self.grown().await,
                Some(gone) = changed.recv() => self.each(|folder| {
                    if folder.grp == gone.grp {
                        folder.inbox.rescan();
                    }
                }),
            }
        }
    }

    async fn grown(&self) {
        self.each(|folder| folder.inbox.wake());
        let (store, groups) = (self.inner.context.store.clone(), self.inner.context.groups.all());
        let taken = tokio::task::spawn_blocking(move || {
            groups.iter().try_for_each(|group| {
                while announce::take_in(&store, group.row)? {}
                Ok::<_, StoreError>(())
            })
        });
        if let Ok(Err(e)) = taken.await {
            tracing::warn!(error = %e, "announcements could not be taken in");
        }
    }

    fn each(&self, what: impl Fn(&Running)) {
        self.inner.running.lock().expect("nobody panics while holding it").values().for_each(what);
    }

    /// Starts a folder's thread, if the folder is at home here.
    fn run(&self, info: &FolderInfo) {
        let context = &self.inner.context;
        let (Some(path), Some(group)) = (info.path.clone(), context.groups.by_row(info.grp)) else { return };
        let inbox = Arc::new(Inbox::default());
        let live = Live::new(context.events.clone(), group.id, info.id);
        let spec = Spec {
            info: info.clone(),
            store: context.store.clone(),
            device: context.keys.id(),
            chain: group.chain,
            contents: Arc::new(Chunks { content: self.inner.content.clone(), group }),
            live: live.clone(),
            inbox: inbox.clone(),
            tracker: context.tracker.clone(),
            runtime: Handle::current(),
        };
        let apart =
            Apart { folders: self.paths(Some(info.row)).unwrap_or_default(), daemon: self.own_directories() };
        let thread = context.tracker.spawn_blocking(move || keeper::keep(&spec, &path, &apart));
        let running = Running { inbox, live, grp: info.grp, thread };
        self.inner.running.lock().expect("nobody panics while holding it").insert(info.row, running);
    }

    /// Where the folders are, except one.
    fn paths(&self, except: Option<FolderRow>) -> Result<Vec<PathBuf>, StoreError> {
        let all = self.inner.context.store.read_blocking(|connection| folders::all(connection, None))?;
        Ok(all.into_iter().filter(|f| Some(f.row) != except).filter_map(|f| f.path).collect())
    }

    /// The daemon's own directories. One that others may write to too (a socket put into /tmp) is not its own.
    fn own_directories(&self) -> Vec<PathBuf> {
        use std::os::unix::fs::PermissionsExt;
        let paths = &self.inner.context.paths;
        let private = |dir: &Path| std::fs::metadata(dir).is_ok_and(|m| m.permissions().mode() & 0o077 == 0);
        let mut own = vec![paths.data.clone()];
        let others = [paths.config.parent(), paths.socket.parent()].into_iter().flatten();
        own.extend(others.filter(|dir| private(dir)).map(Path::to_owned));
        own
    }

    /// Shares a directory with a group.
    ///
    /// # Errors
    /// The directory may not be a folder, or the name is taken.
    pub(crate) async fn add(
        &self,
        group: Arc<Group>,
        path: PathBuf,
        name: Option<String>,
    ) -> Result<Folder, ApiError> {
        self.in_one_step(move |folders| async move { folders.add_now(&group, &path, name).await }).await
    }

    async fn add_now(&self, group: &Group, path: &Path, name: Option<String>) -> Result<Folder, ApiError> {
        let path = self.allowed(path, None).await?;
        let name = match name {
            Some(name) => name,
            None => path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default(),
        };
        check_name(&name).map_err(|e| ApiError::invalid("name", e))?;
        if self.known(group.row)?.iter().any(|folder| folder.name == name) {
            return Err(ApiError::new(
                ErrorKind::Conflict,
                "name: the group has a folder of that name already",
            )
            .hint("take that one: zerokctl folder join; or give this one another name: --name"));
        }
        let id = FolderId::from(clock::random::<16>());
        let device = self.inner.context.keys.id();
        self.mark(&path, id).await?;
        let grp = group.row;
        let info = self
            .inner
            .context
            .store
            .write(move |connection| {
                announce::announce(connection, grp, &id, &name, device)?;
                folders::settle_at(connection, grp, &id, &path)
            })
            .await?;
        self.run(&info);
        Ok(self.view(&info))
    }

    /// Takes an offered folder into a directory, which is made when it is absent.
    ///
    /// # Errors
    /// There is no such folder, it is here already, or the directory may not be a folder.
    pub(crate) async fn join(
        &self,
        group: Arc<Group>,
        folder: String,
        path: PathBuf,
    ) -> Result<Folder, ApiError> {
        self.in_one_step(move |folders| async move { folders.join_now(&group, &folder, &path).await }).await
    }

    async fn join_now(&self, group: &Group, folder: &str, path: &Path) -> Result<Folder, ApiError> {
        let info = self.find(group.row, folder)?;
        if info.path.is_some() {
            return Err(ApiError::new(ErrorKind::Conflict, "folder: it is kept in step here already")
                .hint("zerokctl folder list shows where"));
        }
        if path.is_absolute() {
            let made = path.to_owned();
            blocking(move || std::fs::create_dir_all(made))
                .await?
                .map_err(|e| ApiError::invalid("path", e))?;
        }
        let path = self.allowed(path, Some(info.row)).await?;
        self.mark(&path, info.id).await?;
        let (grp, id) = (group.row, info.id);
        let store = &self.inner.context.store;
        let info = store.write(move |connection| folders::settle_at(connection, grp, &id, &path)).await?;
        self.run(&info);
        Ok(self.view(&info))
    }

    /// Stops keeping a folder in step here. Its files stay.
    ///
    /// # Errors
    /// There is no such folder, or it is not here.
    pub(crate) async fn remove(&self, group: Arc<Group>, folder: String) -> Result<(), ApiError> {
        self.in_one_step(move |folders| async move { folders.remove_now(&group, &folder).await }).await
    }

    async fn remove_now(&self, group: &Group, folder: &str) -> Result<(), ApiError> {
        let info = self.find(group.row, folder)?;
        let Some(path) = info.path.clone() else {
            return Err(ApiError::new(
                ErrorKind::UnknownFolder,
                "folder: it is not kept in step on this device",
            ));
        };
        let running = self.inner.running.lock().expect("nobody panics while holding it").remove(&info.row);
        if let Some(running) = running {
            running.inbox.stop();
            drop(running.thread.await);
        }
        self.inner.context.store.write(move |connection| folders::leave(connection, info.row)).await?;
        // A directory that is gone has no marker to remove.
        drop(blocking(move || Root::open(&path).and_then(|root| marker::remove(&root))).await?);
        Ok(())
    }

    /// The folders of a group, offered ones included.
    ///
    /// # Errors
    /// The database.
    pub(crate) fn list(&self, group: &Group) -> Result<Vec<Folder>, ApiError> {
        Ok(self.known(group.row)?.iter().map(|info| self.view(info)).collect())
    }

    /// One folder with counts and problems.
    ///
    /// # Errors
    /// There is no such folder.
    pub(crate) async fn status(&self, group: &Group, folder: &str) -> Result<FolderStatus, ApiError> {
        let info = self.find(group.row, folder)?;
        Ok(status::of(&self.inner.context.store, info.clone(), self.state(&info)).await?)
    }

    /// Every folder of every group, with counts and problems.
    ///
    /// # Errors
    /// The database.
    pub(crate) async fn statuses(&self) -> Result<Vec<FolderStatus>, ApiError> {
        let store = &self.inner.context.store;
        let mut statuses = Vec::new();
        for info in store.read(|connection| folders::all(connection, None)).await? {
            let state = self.state(&info);
            statuses.push(status::of(store, info, state).await?);
        }
        Ok(statuses)
    }

    fn known(&self, grp: GroupRow) -> Result<Vec<FolderInfo>, StoreError> {
        self.inner.context.store.read_blocking(|connection| folders::all(connection, Some(grp)))
    }

    /// The folder that an id or a name means.
    fn find(&self, grp: GroupRow, named: &str) -> Result<FolderInfo, ApiError> {
        let mut fitting: Vec<FolderInfo> =
            self.known(grp)?.into_iter().filter(|f| f.name == named || f.id.to_hex() == named).collect();
        match (fitting.len(), fitting.pop()) {
            (1, Some(folder)) => Ok(folder),
            (_, None) => {
                Err(ApiError::new(ErrorKind::UnknownFolder, "folder: there is none of that name or id"))
            }
            (_, Some(last)) => {
                let ids: Vec<String> = fitting.iter().chain([&last]).map(|f| f.id.to_hex()).collect();
                let text = "several folders have that name";
                Err(ApiError::invalid("folder", text).hint(format!("name one by its id: {}", ids.join(", "))))
            }
        }
    }

    fn state(&self, info: &FolderInfo) -> FolderState {
        let running = self.inner.running.lock().expect("nobody panics while holding it");
        match (running.get(&info.row), &info.path) {
            (Some(running), _) => running.live.state(),
            (None, Some(_)) => FolderState::Stopped,
            (None, None) => FolderState::Offered,
        }
    }

    fn view(&self, info: &FolderInfo) -> Folder {
        Folder {
            id: info.id.to_hex(),
            name: info.name.clone(),
            path: info.path.as_ref().map(|p| p.to_string_lossy().into_owned()),
            state: self.state(info),
        }
    }

    /// The directory's canonical path, if it may be a folder.
    async fn allowed(&self, path: &Path, except: Option<FolderRow>) -> Result<PathBuf, ApiError> {
        let (folders, daemon, path) = (self.paths(except)?, self.own_directories(), path.to_owned());
        blocking(move || refuse::check(&path, &folders, &daemon)).await?.map_err(|e| {
            let kind = match e {
                Refused::Folder | Refused::Daemon => ErrorKind::Conflict,
                _ => ErrorKind::InvalidArgument,
            };
            ApiError::new(kind, e.to_string()).hint("name another directory by its absolute path")
        })
    }

    async fn mark(&self, path: &Path, id: FolderId) -> Result<(), ApiError> {
        let (path, device) = (path.to_owned(), self.inner.context.keys.id());
        let marked =
            blocking(move || Root::open(&path).and_then(|root| marker::write(&root, &id, &device))).await?;
        marked.map_err(|e| ApiError::new(ErrorKind::Io, format!("path: {e}")))
    }

    /// Runs a change to its end, whether or not the caller waits for it.
    async fn in_one_step<T, F>(&self, change: impl FnOnce(Self) -> F) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, ApiError>> + Send + 'static,
    {
        let change = change(self.clone());
        let folders = self.clone();
        let task = async move {
            let _alone = folders.inner.changing.lock().await;
            change.await
        };
        self.inner.context.tracker.spawn(task).await.map_err(|_| stopping())?
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| stopping())
}

fn stopping() -> ApiError {
    ApiError::new(ErrorKind::ShuttingDown, "the daemon is stopping")
}

#[cfg(test)]
mod tests;
