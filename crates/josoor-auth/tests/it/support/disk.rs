//! A small disk that can be filled and freed: a file system in memory where the tests may mount one, else a limit on the size of
//! files.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A disk of 16 MiB, more than the database needs with its log.
pub(crate) enum Disk {
    Mounted(PathBuf),
    Limited,
}

impl Disk {
    /// Mounts one at `folder`, where that is allowed.
    pub(crate) fn at(folder: &Path) -> Self {
        std::fs::create_dir_all(folder).expect("a folder");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=16m", "none"])
            .arg(folder)
            .output();
        if mounted.is_ok_and(|output| output.status.success()) {
            Self::Mounted(folder.to_owned())
        } else {
            Self::Limited
        }
    }

    /// No file of the process grows from now on.
    pub(crate) fn fill(&self, process: u32) {
        match self {
            Self::Mounted(folder) => {
                let junk = std::fs::File::create(folder.join("junk")).expect("a file");
                let mut size = 64 << 10;
                while size > 0 {
                    use std::io::Write as _;
                    if (&junk).write_all(&vec![1; size]).is_err() {
                        size /= 2;
                    }
                }
            }
            Self::Limited => limit(process, "1024"),
        }
    }

    pub(crate) fn free(&self, process: u32) {
        match self {
            Self::Mounted(folder) => std::fs::remove_file(folder.join("junk")).expect("it was there"),
            Self::Limited => limit(process, "unlimited"),
        }
    }
}

fn limit(process: u32, size: &str) {
    // The hard limit stays, or it could not be raised again.
    let done = Command::new("prlimit")
        .args([
            "--pid",
            &process.to_string(),
            &format!("--fsize={size}:unlimited"),
        ])
        .status();
    assert!(done.expect("prlimit is there").success());
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Self::Mounted(folder) = self {
            let _ = Command::new("umount").arg("--lazy").arg(folder).status();
        }
    }
}
