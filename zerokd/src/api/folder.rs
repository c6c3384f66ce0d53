//! `folder.*`

use std::path::PathBuf;

use jsonrpsee::core::async_trait;
use zerok_client::ApiError;
use zerok_client::api::FoldersServer;
use zerok_client::types::{Done, Folder, FolderList, FolderStatus};

use super::Api;

#[async_trait]
impl FoldersServer for Api {
    async fn folder_add(
        &self,
        path: String,
        name: Option<String>,
        group: Option<String>,
    ) -> Result<Folder, ApiError> {
        self.folders.add(self.group(group.as_deref())?, PathBuf::from(path), name).await
    }

    async fn folder_join(
        &self,
        folder: String,
        path: String,
        group: Option<String>,
    ) -> Result<Folder, ApiError> {
        self.folders.join(self.group(group.as_deref())?, folder, PathBuf::from(path)).await
    }

    async fn folder_list(&self, group: Option<String>) -> Result<FolderList, ApiError> {
        let mut folders = Vec::new();
        for group in self.groups_of(group.as_deref())? {
            folders.extend(self.folders.list(&group)?);
        }
        Ok(FolderList { folders })
    }

    async fn folder_status(&self, folder: String, group: Option<String>) -> Result<FolderStatus, ApiError> {
        self.folders.status(&*self.group(group.as_deref())?, &folder).await
    }

    async fn folder_remove(&self, folder: String, group: Option<String>) -> Result<Done, ApiError> {
        self.folders.remove(self.group(group.as_deref())?, folder).await?;
        Ok(Done {})
    }
}
