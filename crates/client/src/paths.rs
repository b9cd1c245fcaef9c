//! Where the platform keeps its data, and the names that the server and its clients agree on.

use std::path::PathBuf;

/// File of the data folder that says where the server listens; `kennel up` writes it.
pub const SERVER_FILE: &str = "server.json";
/// File of the data folder with the root keys, mode 0600.
pub const ROOT_CREDENTIALS_FILE: &str = "root-credentials.json";
/// The execution role that every new platform has, under the path `/service-role/`.
pub const DEFAULT_EXECUTION_ROLE: &str = "AmazonSageMaker-ExecutionRole";
/// The image of the built-in trainer and model server.
pub const NATIVE_IMAGE: &str = "kennel/image-classification:1";

/// The platform's data folder: `KENNEL_DATA_DIR`, else `$XDG_DATA_HOME/kennel/platform`, else
/// `~/.local/share/kennel/platform`.
pub fn default_data_dir() -> PathBuf {
    data_dir(|name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from))
}

fn data_dir(variable: impl Fn(&str) -> Option<PathBuf>) -> PathBuf {
    if let Some(own) = variable("KENNEL_DATA_DIR") {
        return own;
    }
    let base = variable("XDG_DATA_HOME").unwrap_or_else(|| {
        let home = variable("HOME").or_else(|| variable("USERPROFILE"));
        home.unwrap_or_else(std::env::temp_dir).join(".local").join("share")
    });
    base.join("kennel").join("platform")
}

/// `~/.aws/NAME` unless a variable says otherwise.
pub(crate) fn aws_file(variable: &str, name: &str) -> PathBuf {
    if let Some(path) = std::env::var_os(variable).filter(|v| !v.is_empty()) {
        return PathBuf::from(path);
    }
    let home = std::env::var_os("HOME")
        .or_else(|| std::env::var_os("USERPROFILE"))
        .filter(|v| !v.is_empty())
        .map_or_else(std::env::temp_dir, PathBuf::from);
    home.join(".aws").join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_variable_beats_custom_beats_home() {
        let with = |known: &'static [(&str, &str)]| {
            data_dir(move |n| known.iter().find(|k| k.0 == n).map(|k| PathBuf::from(k.1)))
        };
        let all = &[("KENNEL_DATA_DIR", "/a"), ("XDG_DATA_HOME", "/b"), ("HOME", "/c")];
        assert_eq!(with(all), PathBuf::from("/a"));
        assert_eq!(with(&[("XDG_DATA_HOME", "/b")]), PathBuf::from("/b/kennel/platform"));
        assert_eq!(with(&[("HOME", "/c")]), PathBuf::from("/c/.local/share/kennel/platform"));
    }
}
