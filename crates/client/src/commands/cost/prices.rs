//! The prices that are used: those that were fetched where they are newer, else those in the binary.

use std::path::PathBuf;

use kennel_cost::Catalogue;

use crate::output::note;

/// Largest file of fetched prices that is read; ours has some tens of kilobytes.
const MAX_FILE: u64 = 16 << 20;

/// The file of fetched prices: `KENNEL_PRICES`, else `$XDG_DATA_HOME/kennel/prices.json`, else
/// `~/.local/share/kennel/prices.json`.
pub(super) fn file() -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    if let Some(own) = variable("KENNEL_PRICES") {
        return own;
    }
    let base = variable("XDG_DATA_HOME").unwrap_or_else(|| {
        let home = variable("HOME").or_else(|| variable("USERPROFILE"));
        home.unwrap_or_else(std::env::temp_dir).join(".local").join("share")
    });
    base.join("kennel").join("prices.json")
}

/// The catalogue with what was fetched. A file that cannot be read is told of and left aside: the built-in
/// prices stay.
pub(in crate::commands) fn catalogue() -> Catalogue {
    let built_in = Catalogue::built_in();
    let path = file();
    let small = std::fs::metadata(&path).is_ok_and(|meta| meta.is_file() && meta.len() <= MAX_FILE);
    if !small {
        return built_in;
    }
    let read = std::fs::read_to_string(&path).map_err(|error| error.to_string());
    let laid = read.and_then(|text| built_in.with_fetched(&text).map_err(|e| e.to_string()));
    match laid {
        Ok((catalogue, _)) => catalogue,
        Err(why) => {
            note(format!(
                "note: the fetched prices in `{}` are not used: {why}\nhint: fetch them again with `kennel cost refresh`, or remove the file",
                path.display()
            ));
            built_in
        }
    }
}
