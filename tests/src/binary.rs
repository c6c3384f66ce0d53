//! Where the binaries under test are: beside the test executable, in `target/<profile>/`.

use std::path::PathBuf;

/// The path of one of the workspace's binaries.
///
/// # Panics
/// It has not been built; the message names the command that builds it.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    let mut folder = std::env::current_exe().expect("a running test has an executable");
    folder.pop();
    if folder.ends_with("deps") {
        folder.pop();
    }
    let path = folder.join(name);
    let release = if folder.ends_with("release") { " --release" } else { "" };
    assert!(
        path.is_file(),
        "{} is missing: build the binaries first with `cargo build{release} --workspace --bins` \
         (`cargo test --workspace` does so by itself)",
        path.display()
    );
    path
}
