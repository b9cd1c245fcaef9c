//! Where Kennel keeps what it makes for itself: a cache that may be deleted at any time and a data
//! folder that may not. Both follow the platform's custom and can be moved by a variable.

use std::path::PathBuf;

fn home() -> PathBuf {
    std::env::var_os("HOME")
        .or_else(|| std::env::var_os("USERPROFILE"))
        .filter(|v| !v.is_empty())
        .map_or_else(std::env::temp_dir, PathBuf::from)
}

fn folder(own: &str, custom: &str, fallback: &[&str]) -> PathBuf {
    if let Some(path) = std::env::var_os(own).filter(|v| !v.is_empty()) {
        return PathBuf::from(path);
    }
    let base = match std::env::var_os(custom).filter(|v| !v.is_empty()) {
        Some(path) => PathBuf::from(path),
        None => fallback.iter().fold(home(), |path, part| path.join(part)),
    };
    base.join("kennel")
}

/// Features, downloaded backbones: `KENNEL_CACHE`, else the platform's cache folder.
pub fn cache_folder() -> PathBuf {
    folder("KENNEL_CACHE", "XDG_CACHE_HOME", &[".cache"])
}

/// Installed engines: `KENNEL_DATA`, else the platform's data folder.
pub fn data_folder() -> PathBuf {
    folder("KENNEL_DATA", "XDG_DATA_HOME", &[".local", "share"])
}
