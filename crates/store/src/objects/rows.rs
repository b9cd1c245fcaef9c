//! The tables of the object store and the statements on them.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::error::ObjectError;
use super::files::FileId;
use super::types::{
    BucketInfo, Checksum, Condition, Metadata, NewUpload, ObjectInfo, PartInfo, Tags, UploadInfo,
};
use crate::state::Migrations;

/// The schema, for [`crate::state::Database::open`]. Keys are blobs: their order is that of their
/// UTF-8 bytes, which is S3's.
pub const MIGRATIONS: Migrations = Migrations {
    component: "objects",
    scripts: &["
    CREATE TABLE object_buckets (
        name TEXT PRIMARY KEY, region TEXT NOT NULL, created INTEGER NOT NULL, tags TEXT NOT NULL
    ) WITHOUT ROWID, STRICT;
    CREATE TABLE objects (
        bucket TEXT NOT NULL, key BLOB NOT NULL, size INTEGER NOT NULL, etag TEXT NOT NULL,
        modified INTEGER NOT NULL, meta TEXT NOT NULL, tags TEXT NOT NULL, files TEXT NOT NULL,
        parts TEXT NOT NULL, PRIMARY KEY (bucket, key)
    ) WITHOUT ROWID, STRICT;
    CREATE TABLE object_uploads (
        id TEXT PRIMARY KEY, bucket TEXT NOT NULL, key BLOB NOT NULL, upload TEXT NOT NULL
    ) WITHOUT ROWID, STRICT;
    CREATE INDEX object_uploads_by_key ON object_uploads (bucket, key, id);
    CREATE TABLE object_parts (
        upload TEXT NOT NULL, number INTEGER NOT NULL, file TEXT NOT NULL, part TEXT NOT NULL,
        PRIMARY KEY (upload, number)
    ) WITHOUT ROWID, STRICT;
    "],
};

/// A file with some of an object's bytes, and how many.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Segment(pub(super) FileId, pub(super) u64);

/// The `meta` column.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Meta {
    #[serde(default)]
    pub(super) m: Metadata,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) c: Option<Checksum>,
}

pub(super) type Outcome<T> = Result<T, ObjectError>;

fn json<T: Serialize>(what: &str, value: &T) -> Outcome<String> {
    serde_json::to_string(value).map_err(|e| ObjectError::Malformed(what.to_owned(), e.to_string()))
}

fn parsed<T: DeserializeOwned>(what: &str, text: &str) -> Outcome<T> {
    serde_json::from_str(text).map_err(|e| ObjectError::Malformed(what.to_owned(), e.to_string()))
}

fn text_of(key: Vec<u8>) -> Outcome<String> {
    String::from_utf8(key).map_err(|e| {
        let text = String::from_utf8_lossy(e.as_bytes()).into_owned();
        ObjectError::Malformed(text, "the key is no UTF-8".to_owned())
    })
}

fn number(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

pub(super) fn bucket(db: &Connection, name: &str) -> Outcome<BucketInfo> {
    let row = db
        .prepare_cached("SELECT region, created, tags FROM object_buckets WHERE name = ?1")?
        .query_row([name], |r| Ok((r.get(0)?, r.get(1)?, r.get::<_, String>(2)?)))
        .optional()?;
    let (region, created, tags) = row.ok_or_else(|| ObjectError::NoSuchBucket(name.to_owned()))?;
    Ok(BucketInfo { name: name.to_owned(), region, created, tags: parsed(name, &tags)? })
}

pub(super) fn need_bucket(db: &Connection, name: &str) -> Outcome<()> {
    if db.prepare_cached("SELECT 1 FROM object_buckets WHERE name = ?1")?.exists([name])? {
        Ok(())
    } else {
        Err(ObjectError::NoSuchBucket(name.to_owned()))
    }
}

pub(super) fn buckets(db: &Connection) -> Outcome<Vec<BucketInfo>> {
    let names: Vec<String> = db
        .prepare_cached("SELECT name FROM object_buckets ORDER BY name")?
        .query_map([], |r| r.get(0))?
        .collect::<Result<_, _>>()?;
    names.iter().map(|name| bucket(db, name)).collect()
}

pub(super) fn create_bucket(db: &Connection, name: &str, region: &str, now: i64) -> Outcome<bool> {
    let made = db
        .prepare_cached(
            "INSERT INTO object_buckets VALUES (?1, ?2, ?3, '[]') ON CONFLICT DO NOTHING",
        )?
        .execute(params![name, region, now])?;
    Ok(made > 0)
}

/// Answers the files of the bucket's unfinished uploads.
pub(super) fn delete_bucket(db: &Connection, name: &str) -> Outcome<Vec<FileId>> {
    need_bucket(db, name)?;
    if db.prepare_cached("SELECT 1 FROM objects WHERE bucket = ?1 LIMIT 1")?.exists([name])? {
        return Err(ObjectError::BucketNotEmpty(name.to_owned()));
    }
    let ids: Vec<String> = db
        .prepare_cached("SELECT id FROM object_uploads WHERE bucket = ?1")?
        .query_map([name], |r| r.get(0))?
        .collect::<Result<_, _>>()?;
    let mut files = Vec::new();
    for id in ids {
        files.extend(drop_upload(db, &id)?);
    }
    db.prepare_cached("DELETE FROM object_buckets WHERE name = ?1")?.execute([name])?;
    Ok(files)
}

pub(super) fn set_bucket_tags(db: &Connection, name: &str, tags: &Tags) -> Outcome<()> {
    let changed = db
        .prepare_cached("UPDATE object_buckets SET tags = ?2 WHERE name = ?1")?
        .execute(params![name, json(name, tags)?])?;
    if changed == 0 { Err(ObjectError::NoSuchBucket(name.to_owned())) } else { Ok(()) }
}

/// Columns of an object that listings need, in the order that [`listed`] reads.
pub(super) const LISTED: &str = "key, size, etag, modified, meta, tags";

pub(super) fn listed(row: &Row<'_>) -> Outcome<ObjectInfo> {
    let key = text_of(row.get(0)?)?;
    let meta: Meta = parsed(&key, row.get_ref(4)?.as_str().unwrap_or_default())?;
    let tags = parsed(&key, row.get_ref(5)?.as_str().unwrap_or_default())?;
    Ok(ObjectInfo {
        size: u64::try_from(row.get::<_, i64>(1)?).unwrap_or_default(),
        etag: row.get(2)?,
        modified: row.get(3)?,
        metadata: meta.m,
        checksum: meta.c,
        tags,
        parts: Vec::new(),
        key,
    })
}

pub(super) fn find(
    db: &Connection,
    bucket: &str,
    key: &str,
) -> Outcome<Option<(ObjectInfo, Vec<Segment>)>> {
    let sql = "SELECT key, size, etag, modified, meta, tags, files, parts FROM objects
               WHERE bucket = ?1 AND key = ?2";
    let mut statement = db.prepare_cached(sql)?;
    let mut rows = statement.query(params![bucket, key.as_bytes()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let mut info = listed(row)?;
    info.parts = parsed(key, &row.get::<_, String>(7)?)?;
    Ok(Some((info, parsed(key, &row.get::<_, String>(6)?)?)))
}

pub(super) fn object(
    db: &Connection,
    bucket: &str,
    key: &str,
) -> Outcome<(ObjectInfo, Vec<Segment>)> {
    match find(db, bucket, key)? {
        Some(found) => Ok(found),
        None => {
            need_bucket(db, bucket)?;
            Err(ObjectError::NoSuchKey(key.to_owned()))
        }
    }
}

/// Checks a condition against what is there.
pub(super) fn check(condition: &Condition, key: &str, etag: Option<&str>) -> Outcome<()> {
    if condition.if_none_match && etag.is_some() {
        return Err(ObjectError::PreconditionFailed("If-None-Match"));
    }
    match (&condition.if_match, etag) {
        (None, _) => Ok(()),
        (Some(_), None) => Err(ObjectError::NoSuchKey(key.to_owned())),
        (Some(wanted), Some(etag)) if wanted == "*" || wanted == etag => Ok(()),
        _ => Err(ObjectError::PreconditionFailed("If-Match")),
    }
}

/// Stores an object's row; answers the files of the one it replaces.
pub(super) fn replace(
    db: &Connection,
    bucket: &str,
    info: &ObjectInfo,
    files: &[Segment],
    condition: &Condition,
) -> Outcome<Vec<FileId>> {
    need_bucket(db, bucket)?;
    let key = info.key.as_bytes();
    let before: Option<(String, String)> = db
        .prepare_cached("SELECT etag, files FROM objects WHERE bucket = ?1 AND key = ?2")?
        .query_row(params![bucket, key], |r| Ok((r.get(0)?, r.get(1)?)))
        .optional()?;
    check(condition, &info.key, before.as_ref().map(|(etag, _)| etag.as_str()))?;
    let meta = Meta { m: info.metadata.clone(), c: info.checksum.clone() };
    db.prepare_cached(
        "INSERT INTO objects VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
         ON CONFLICT (bucket, key) DO UPDATE SET size = excluded.size, etag = excluded.etag,
         modified = excluded.modified, meta = excluded.meta, tags = excluded.tags,
         files = excluded.files, parts = excluded.parts",
    )?
    .execute(params![
        bucket,
        key,
        number(info.size),
        info.etag,
        info.modified,
        json(&info.key, &meta)?,
        json(&info.key, &info.tags)?,
        json(&info.key, &files)?,
        json(&info.key, &info.parts)?,
    ])?;
    match before {
        Some((_, files)) => ids(&info.key, &files),
        None => Ok(Vec::new()),
    }
}

fn ids(what: &str, files: &str) -> Outcome<Vec<FileId>> {
    Ok(parsed::<Vec<Segment>>(what, files)?.into_iter().map(|s| s.0).collect())
}

/// Removes an object's row; answers its files, or nothing when there was none.
pub(super) fn delete(
    db: &Connection,
    bucket: &str,
    key: &str,
    if_match: Option<&str>,
) -> Outcome<Option<Vec<FileId>>> {
    if let Some(wanted) = if_match {
        let etag = find(db, bucket, key)?.map(|(info, _)| info.etag);
        let condition = Condition { if_match: Some(wanted.to_owned()), if_none_match: false };
        check(&condition, key, etag.as_deref())?;
    }
    let files: Option<String> = db
        .prepare_cached("DELETE FROM objects WHERE bucket = ?1 AND key = ?2 RETURNING files")?
        .query_row(params![bucket, key.as_bytes()], |r| r.get(0))
        .optional()?;
    files.map(|files| ids(key, &files)).transpose()
}

pub(super) fn set_tags(db: &Connection, bucket: &str, key: &str, tags: &Tags) -> Outcome<()> {
    let changed = db
        .prepare_cached("UPDATE objects SET tags = ?3 WHERE bucket = ?1 AND key = ?2")?
        .execute(params![bucket, key.as_bytes(), json(key, tags)?])?;
    if changed > 0 {
        return Ok(());
    }
    need_bucket(db, bucket)?;
    Err(ObjectError::NoSuchKey(key.to_owned()))
}

pub(super) fn create_upload(
    db: &Connection,
    bucket: &str,
    key: &str,
    id: &str,
    upload: &NewUpload,
) -> Outcome<()> {
    need_bucket(db, bucket)?;
    db.prepare_cached("INSERT INTO object_uploads VALUES (?1, ?2, ?3, ?4)")?.execute(params![
        id,
        bucket,
        key.as_bytes(),
        json(key, upload)?
    ])?;
    Ok(())
}

pub(super) fn upload(db: &Connection, bucket: &str, key: &str, id: &str) -> Outcome<UploadInfo> {
    let text: Option<String> = db
        .prepare_cached(
            "SELECT upload FROM object_uploads WHERE id = ?1 AND bucket = ?2 AND key = ?3",
        )?
        .query_row(params![id, bucket, key.as_bytes()], |r| r.get(0))
        .optional()?;
    let Some(text) = text else {
        need_bucket(db, bucket)?;
        return Err(ObjectError::NoSuchUpload(id.to_owned()));
    };
    Ok(UploadInfo { id: id.to_owned(), key: key.to_owned(), upload: parsed(key, &text)? })
}

pub(super) fn uploads(
    db: &Connection,
    bucket: &str,
    prefix: &str,
    after: (&str, &str),
    max: usize,
) -> Outcome<(Vec<UploadInfo>, bool)> {
    need_bucket(db, bucket)?;
    let sql = "SELECT key, id, upload FROM object_uploads
               WHERE bucket = ?1 AND key >= ?2 AND (key, id) > (?3, ?4) ORDER BY key, id";
    let mut statement = db.prepare_cached(sql)?;
    let key_after = after.0.as_bytes();
    let mut rows = statement.query(params![bucket, prefix.as_bytes(), key_after, after.1])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let key = text_of(row.get(0)?)?;
        if !key.starts_with(prefix) {
            break;
        }
        if found.len() == max {
            return Ok((found, true));
        }
        let upload = parsed(&key, &row.get::<_, String>(2)?)?;
        found.push(UploadInfo { id: row.get(1)?, key, upload });
    }
    Ok((found, false))
}

/// Stores a part's row; answers the file it replaces.
pub(super) fn put_part(
    db: &Connection,
    id: &str,
    part: &PartInfo,
    file: &str,
) -> Outcome<Option<FileId>> {
    let before = db
        .prepare_cached("SELECT file FROM object_parts WHERE upload = ?1 AND number = ?2")?
        .query_row(params![id, part.number], |r| r.get(0))
        .optional()?;
    db.prepare_cached("INSERT OR REPLACE INTO object_parts VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![id, part.number, file, json(id, part)?])?;
    Ok(before)
}

pub(super) fn parts(db: &Connection, id: &str) -> Outcome<BTreeMap<u32, (PartInfo, FileId)>> {
    let mut statement =
        db.prepare_cached("SELECT part, file FROM object_parts WHERE upload = ?1 ORDER BY number")?;
    let mut rows = statement.query([id])?;
    let mut found = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let part: PartInfo = parsed(id, &row.get::<_, String>(0)?)?;
        found.insert(part.number, (part, row.get(1)?));
    }
    Ok(found)
}

/// Removes an upload and its parts' rows; answers the parts' files.
pub(super) fn drop_upload(db: &Connection, id: &str) -> Outcome<Vec<FileId>> {
    let files = db
        .prepare_cached("DELETE FROM object_parts WHERE upload = ?1 RETURNING file")?
        .query_map([id], |r| r.get(0))?
        .collect::<Result<_, _>>()?;
    db.prepare_cached("DELETE FROM object_uploads WHERE id = ?1")?.execute([id])?;
    Ok(files)
}

/// All files that rows name.
pub(super) fn named_files(db: &Connection) -> Outcome<std::collections::HashSet<FileId>> {
    let sql = "SELECT f.value ->> 0 FROM objects, json_each(objects.files) f
               UNION ALL SELECT file FROM object_parts";
    let mut statement = db.prepare(sql)?;
    let named = statement.query_map([], |r| r.get(0))?.collect::<Result<_, _>>()?;
    Ok(named)
}
