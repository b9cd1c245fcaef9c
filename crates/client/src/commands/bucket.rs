//! `kennel bucket`: S3 from the command line.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use crate::client::Client;
use crate::error::ClientError;
use crate::output::{self, byte_bar, iso_time, line, note, table};
use crate::s3::Location;
use crate::target::TargetArguments;
use crate::transfer::{self, FILES_AT_ONCE, Pair, folder_prefix, parallel};

/// Arguments of `kennel bucket`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    target: TargetArguments,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Buckets, or what is below a prefix
    Ls {
        /// Where, as in s3://bucket/prefix [default: all buckets]
        place: Option<String>,
        /// Everything below, not only the next level
        #[arg(long, short)]
        recursive: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Make a bucket
    Mb {
        /// s3://bucket
        bucket: String,
    },
    /// Remove a bucket
    Rb {
        /// s3://bucket
        bucket: String,
        /// Remove what is in it first
        #[arg(long)]
        force: bool,
    },
    /// Copy files to, from or within S3
    Cp {
        /// File, folder or s3://bucket/key
        source: String,
        /// File, folder or s3://bucket/key
        destination: String,
        /// Everything below the source
        #[arg(long, short)]
        recursive: bool,
    },
    /// Copy what is missing or changed between a folder and S3; nothing is removed
    Sync {
        /// Folder or s3://bucket/prefix
        source: String,
        /// Folder or s3://bucket/prefix
        destination: String,
    },
    /// Remove objects
    Rm {
        /// s3://bucket/key
        place: String,
        /// Everything below the prefix
        #[arg(long, short)]
        recursive: bool,
    },
}

pub(super) fn run(arguments: Arguments) -> Result<(), ClientError> {
    let client = Client::new(arguments.target.resolve()?);
    match arguments.verb {
        Verb::Ls { place: None, json, .. } => buckets(&client, json),
        Verb::Ls { place: Some(place), recursive, json } => {
            list(&client, &Location::parse(&place)?, recursive, json)
        }
        Verb::Mb { bucket } => {
            let at = bucket_of(&bucket)?;
            client.create_bucket(&at.bucket)?;
            note(format!("made s3://{}", at.bucket));
            Ok(())
        }
        Verb::Rb { bucket, force } => {
            let at = bucket_of(&bucket)?;
            if force {
                empty(&client, &at)?;
            }
            client.delete_bucket(&at.bucket).map_err(|error| match error.service_code() {
                Some("BucketNotEmpty") => ClientError::Usage(format!(
                    "s3://{} is not empty\nhint: --force removes what is in it",
                    at.bucket
                )),
                _ => error,
            })?;
            note(format!("removed s3://{}", at.bucket));
            Ok(())
        }
        Verb::Cp { source, destination, recursive } => {
            copy(&client, &source, &destination, recursive)
        }
        Verb::Sync { source, destination } => sync(&client, &source, &destination),
        Verb::Rm { place, recursive } => remove(&client, &Location::parse(&place)?, recursive),
    }
}

/// `s3://bucket` or just `bucket`.
fn bucket_of(text: &str) -> Result<Location, ClientError> {
    let at = if Location::is_one(text) {
        Location::parse(text)?
    } else {
        Location::parse(&format!("s3://{text}"))?
    };
    if at.key.is_empty() {
        return Ok(at);
    }
    Err(ClientError::Usage(format!(
        "`{text}` names a key, not only a bucket\nhint: write s3://{}",
        at.bucket
    )))
}

fn buckets(client: &Client, json: bool) -> Result<(), ClientError> {
    let all = client.list_buckets()?;
    if json {
        let rows: Vec<_> =
            all.iter().map(|(name, made)| json!({"name": name, "creation_date": made})).collect();
        output::json(&rows.into());
        return Ok(());
    }
    line(table(["created", "bucket"], all.into_iter().map(|(name, made)| [iso_time(&made), name])));
    Ok(())
}

fn list(client: &Client, at: &Location, recursive: bool, json: bool) -> Result<(), ClientError> {
    let found = client.list(at, if recursive { None } else { Some("/") })?;
    if json {
        output::json(&json!({"objects": found.objects, "prefixes": found.prefixes}));
        return Ok(());
    }
    if found.objects.is_empty() && found.prefixes.is_empty() && !at.key.is_empty() {
        return Err(ClientError::Usage(format!(
            "there is nothing at `{at}`\nhint: see `kennel bucket ls s3://{}`",
            at.bucket
        )));
    }
    let prefixes = found.prefixes.into_iter().map(|p| [String::new(), String::new(), p]);
    let objects =
        found.objects.into_iter().map(|o| [iso_time(&o.last_modified), o.size.to_string(), o.key]);
    line(table(["modified", "bytes", "key"], prefixes.chain(objects)));
    Ok(())
}

fn copy(
    client: &Client,
    source: &str,
    destination: &str,
    recursive: bool,
) -> Result<(), ClientError> {
    match (Location::is_one(source), Location::is_one(destination)) {
        (false, true) => up(client, Path::new(source), &Location::parse(destination)?, recursive),
        (true, false) => down(client, &Location::parse(source)?, Path::new(destination), recursive),
        (true, true) => {
            across(client, &Location::parse(source)?, &Location::parse(destination)?, recursive)
        }
        (false, false) => Err(ClientError::Usage(
            "neither of the two is in S3\nhint: write s3://bucket/key for one of them".to_owned(),
        )),
    }
}

/// The last part of a path or key.
fn file_name(text: &str) -> &str {
    text.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
}

/// The key for a file put to a place: a prefix that ends with `/` (or a bare bucket) keeps its name.
fn key_for(to: &Location, name: &str) -> Location {
    if to.key.is_empty() || to.key.ends_with('/') {
        to.with_key(format!("{}{name}", to.key))
    } else {
        to.clone()
    }
}

fn up(client: &Client, source: &Path, to: &Location, recursive: bool) -> Result<(), ClientError> {
    let pairs = match (source.is_dir(), recursive) {
        (true, true) => transfer::plan_upload(source, to)?,
        (true, false) => {
            return Err(ClientError::Usage(format!(
                "`{}` is a folder\nhint: --recursive copies what is in it",
                source.display()
            )));
        }
        (false, _) => {
            let name = source.file_name().map(|n| n.to_string_lossy().into_owned());
            let at = key_for(to, &name.unwrap_or_default());
            vec![Pair { path: source.to_owned(), at }]
        }
    };
    put(client, &pairs, to)
}

fn put(client: &Client, pairs: &[Pair], to: &Location) -> Result<(), ClientError> {
    let mut total = 0;
    for pair in pairs {
        let meta = std::fs::metadata(&pair.path).map_err(ClientError::file("read", &pair.path))?;
        total += meta.len();
    }
    let bar = byte_bar("upload", total);
    let sent = transfer::upload(client, pairs, &|n| bar.inc(n))?;
    bar.finish_and_clear();
    note(format!("{} files, {}, to {to}", pairs.len(), output::size(sent)));
    Ok(())
}

fn down(client: &Client, from: &Location, to: &Path, recursive: bool) -> Result<(), ClientError> {
    let pairs = if recursive {
        transfer::plan_download(client, from, to)?
    } else {
        let name = file_name(&from.key);
        if name.is_empty() || from.key.ends_with('/') {
            return Err(ClientError::Usage(format!(
                "`{from}` names no object\nhint: --recursive copies what is below it"
            )));
        }
        let path: PathBuf = if to.is_dir() || to.to_string_lossy().ends_with('/') {
            if matches!(name, "." | "..") || name.contains('\\') {
                return Err(ClientError::Usage(format!(
                    "`{name}` is no file name\nhint: name the file to write"
                )));
            }
            to.join(name)
        } else {
            to.to_owned()
        };
        vec![Pair { path, at: from.clone() }]
    };
    if pairs.is_empty() {
        return Err(ClientError::Usage(format!("there is nothing at `{from}`")));
    }
    get(client, &pairs, to)
}

fn get(client: &Client, pairs: &[Pair], to: &Path) -> Result<(), ClientError> {
    let bar = byte_bar("download", 0);
    bar.set_style(indicatif::ProgressStyle::default_spinner());
    let got = transfer::download(client, pairs, &|n| bar.inc(n))?;
    bar.finish_and_clear();
    note(format!("{} files, {}, to {}", pairs.len(), output::size(got), to.display()));
    Ok(())
}

fn sync(client: &Client, source: &str, destination: &str) -> Result<(), ClientError> {
    match (Location::is_one(source), Location::is_one(destination)) {
        (false, true) => {
            let to = Location::parse(destination)?;
            let pairs = transfer::plan_upload(Path::new(source), &to)?;
            put(client, &transfer::changed(client, pairs, &to, true)?, &to)
        }
        (true, false) => {
            let (from, to) = (Location::parse(source)?, Path::new(destination));
            let pairs = transfer::plan_download(client, &from, to)?;
            get(client, &transfer::changed(client, pairs, &from, false)?, to)
        }
        _ => Err(ClientError::Usage(
            "one of the two has to be a folder and the other in S3\nhint: between two places in S3 use `kennel bucket cp --recursive`"
                .to_owned(),
        )),
    }
}

fn across(
    client: &Client,
    from: &Location,
    to: &Location,
    recursive: bool,
) -> Result<(), ClientError> {
    let pairs: Vec<(Location, Location)> = if recursive {
        let (from_prefix, to_prefix) = (folder_prefix(&from.key), folder_prefix(&to.key));
        let found = client.list(&from.with_key(from_prefix.clone()), None)?;
        let pair = |key: String| {
            let name = key.strip_prefix(&from_prefix).unwrap_or(&key).to_owned();
            (from.with_key(key), to.with_key(format!("{to_prefix}{name}")))
        };
        found.objects.into_iter().map(|o| pair(o.key)).collect()
    } else {
        vec![(from.clone(), key_for(to, file_name(&from.key)))]
    };
    parallel(&pairs, FILES_AT_ONCE, |(from, to)| client.copy_object(from, to))?;
    note(format!("{} objects to {to}", pairs.len()));
    Ok(())
}

fn empty(client: &Client, at: &Location) -> Result<usize, ClientError> {
    let keys: Vec<String> = client.list(at, None)?.objects.into_iter().map(|o| o.key).collect();
    client.delete_objects(&at.bucket, &keys)?;
    Ok(keys.len())
}

fn remove(client: &Client, at: &Location, recursive: bool) -> Result<(), ClientError> {
    if recursive {
        // `photos` is not to take `photos-old` along.
        let count = empty(client, &at.with_key(folder_prefix(&at.key)))?;
        note(format!("removed {count} objects below {at}"));
        return Ok(());
    }
    if at.key.is_empty() || at.key.ends_with('/') {
        return Err(ClientError::Usage(format!(
            "`{at}` names no object\nhint: --recursive removes what is below it"
        )));
    }
    client.delete_object(at)?;
    note(format!("removed {at}"));
    Ok(())
}
