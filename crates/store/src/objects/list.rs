//! Listing in the order of keys. A common prefix is found by its first key and then skipped by one
//! seek, so that a listing costs what it answers and not what lies below.

use rusqlite::{Connection, params};

use super::error::ObjectError;
use super::rows::{LISTED, listed, need_bucket};
use super::types::{ListOptions, Listing};

/// The least byte string that is greater than all that begin with `prefix` (valid UTF-8, not empty).
fn successor(prefix: &str) -> Vec<u8> {
    let mut bytes = prefix.as_bytes().to_vec();
    if let Some(last) = bytes.last_mut() {
        // UTF-8 has no byte 0xff.
        *last += 1;
    }
    bytes
}

/// The common prefix of a key, if it has the delimiter after the prefix.
pub(super) fn common<'a>(key: &'a str, options: &ListOptions) -> Option<&'a str> {
    let delimiter = options.delimiter.as_deref().filter(|d| !d.is_empty())?;
    let rest = key.get(options.prefix.len()..)?;
    key.get(..options.prefix.len() + rest.find(delimiter)? + delimiter.len())
}

/// Where a listing begins.
fn start(options: &ListOptions) -> Vec<u8> {
    let prefix = options.prefix.as_bytes().to_vec();
    let Some(after) = options.after.as_deref() else { return prefix };
    let start = if after.starts_with(&options.prefix) && common(after, options) == Some(after) {
        successor(after)
    } else {
        [after.as_bytes(), &[0]].concat()
    };
    start.max(prefix)
}

/// Keys in order from some bytes on.
pub(super) fn sql() -> String {
    format!("SELECT {LISTED} FROM objects WHERE bucket = ?1 AND key >= ?2 ORDER BY key")
}

pub(super) fn list(
    db: &Connection,
    bucket: &str,
    options: &ListOptions,
) -> Result<Listing, ObjectError> {
    need_bucket(db, bucket)?;
    let mut listing = Listing::default();
    if options.max == 0 {
        return Ok(listing);
    }
    let mut statement = db.prepare_cached(&sql())?;
    let mut cursor = start(options);
    let mut last = String::new();
    'seek: loop {
        let mut rows = statement.query(params![bucket, cursor])?;
        while let Some(row) = rows.next()? {
            let info = listed(row)?;
            if !info.key.starts_with(&options.prefix) {
                break 'seek;
            }
            if listing.objects.len() + listing.prefixes.len() == options.max {
                listing.next = Some(last);
                break 'seek;
            }
            match common(&info.key, options) {
                Some(prefix) => {
                    last = prefix.to_owned();
                    cursor = successor(prefix);
                    listing.prefixes.push(last.clone());
                    continue 'seek;
                }
                None => {
                    last.clone_from(&info.key);
                    listing.objects.push(info);
                }
            }
        }
        break;
    }
    Ok(listing)
}
