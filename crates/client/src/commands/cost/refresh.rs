//! `kennel cost refresh`: AWS's public price list, which needs no account
//! (<https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/using-the-aws-price-list-bulk-api.html>).
//! EC2's file has hundreds of megabytes; all are read line by line and only what the catalogue has a place for
//! is kept.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::time::Duration;

use clap::Args;
use kennel_cost::{Catalogue, MAX_LINE, OfferKind, OfferReader, Offered, merge};
use serde_json::json;

use super::{prices, region};
use crate::clock;
use crate::error::ClientError;
use crate::files::{read_if_any, write_aside};
use crate::output::{self, Spinner, line, note};
use crate::target::TargetArguments;

/// Where the price list is.
const PRICE_LIST: &str = "https://pricing.us-east-1.amazonaws.com";
/// Most bytes of one file: EC2's has 300 MB for the largest region.
const MAX_BYTES: u64 = 4 << 30;

/// Arguments of `kennel cost refresh`.
#[derive(Debug, Args)]
pub(super) struct Refresh {
    /// Leave EC2 out, whose file has hundreds of megabytes
    #[arg(long)]
    no_ec2: bool,
    /// Address of the price list
    #[arg(long, value_name = "URL", default_value = PRICE_LIST, hide = true)]
    from: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(target: &TargetArguments, arguments: &Refresh) -> Result<(), ClientError> {
    let region = region(target);
    let regular = region.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if region.is_empty() || !regular {
        return Err(ClientError::Usage(format!("`{region}` is no region of AWS's")));
    }
    let path = prices::file();
    let mut offers = Vec::new();
    let mut spinner = Spinner::start();
    for kind in OfferKind::ALL {
        if kind == OfferKind::Ec2 && arguments.no_ec2 {
            continue;
        }
        let offer = fetch(&arguments.from, kind, &region, &mut spinner).map_err(|error| {
            // What was fetched before, or is built in, is untouched.
            match error {
                ClientError::Usage(why) | ClientError::Failed(why) => ClientError::Failed(format!(
                    "the price list of {} cannot be used: {why}\nhint: the prices that are there stay in use",
                    kind.code()
                )),
                other => other,
            }
        })?;
        offers.push(offer);
    }
    drop(spinner);
    let day: String = clock::iso(clock::epoch_millis() / 1000).chars().take(10).collect();
    write(&path, &offers, &day)?;
    let told: Vec<_> = offers
        .iter()
        .map(|offer| {
            let count = offer.hourly.values().map(|h| h.len()).sum::<usize>() + offer.units.len();
            json!({"offer": offer.kind.code(), "region": offer.region, "published": offer.published, "prices": count})
        })
        .collect();
    if arguments.json {
        output::json(&json!({"file": path.display().to_string(), "offers": told}));
        return Ok(());
    }
    for offer in &told {
        line(format!(
            "{}: {} prices in {}, published {}",
            offer["offer"].as_str().unwrap_or_default(),
            offer["prices"],
            region,
            offer["published"].as_str().unwrap_or_default()
        ));
    }
    note(format!("kept in `{}`; remove it to go back to the built-in prices", path.display()));
    note("spot prices are not in the price list and stay as they are");
    Ok(())
}

/// Lays the offers over what was fetched before, and checks that the catalogue takes it.
fn write(path: &Path, offers: &[Offered], day: &str) -> Result<(), ClientError> {
    let before = read_if_any(path)?.and_then(|bytes| String::from_utf8(bytes).ok());
    // A file that is broken is not continued.
    let before = before.filter(|text| Catalogue::built_in().with_fetched(text).is_ok());
    let text = merge(offers, before.as_deref(), &format!("fetched {day}"))?;
    let (_, taken) = Catalogue::built_in().with_fetched(&text)?;
    if !taken {
        return Err(ClientError::Failed(
            "the price list is older than the built-in prices\nhint: those stay in use".to_owned(),
        ));
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(ClientError::file("make", folder))?;
    }
    write_aside(path, text.as_bytes(), 0o644)
}

/// One file, line by line.
fn fetch(
    from: &str,
    kind: OfferKind,
    region: &str,
    spinner: &mut Spinner,
) -> Result<Offered, ClientError> {
    let url = format!("{}{}", from.trim_end_matches('/'), kind.path(region));
    spinner.say(format!("fetching {}", kind.code()));
    let transport = |reason: String| ClientError::Transport {
        operation: format!("price list of {}", kind.code()),
        host: from.to_owned(),
        reason: format!("{reason} (the prices that are there stay in use)"),
    };
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_connect(Some(Duration::from_secs(10)))
        .timeout_recv_response(Some(Duration::from_secs(60)))
        .user_agent(concat!("kennel/", env!("CARGO_PKG_VERSION")))
        .build()
        .into();
    let response = agent.get(&url).call().map_err(|error| transport(error.to_string()))?;
    match response.status().as_u16() {
        200 => {}
        403 | 404 => {
            return Err(ClientError::Failed(format!("there is none for `{region}`")));
        }
        status => return Err(transport(format!("HTTP {status}"))),
    }
    let body = response.into_body().into_with_config().limit(MAX_BYTES).reader();
    let mut reader = OfferReader::new(kind, region, &Catalogue::built_in());
    let mut seen: u64 = 0;
    let mut told = 0;
    lines(BufReader::with_capacity(256 * 1024, body), |text| {
        seen += text.len() as u64 + 1;
        if seen >> 24 != told {
            told = seen >> 24;
            spinner.say(format!("fetching {}: {} MB", kind.code(), seen >> 20));
        }
        reader.line(text)
    })
    .map_err(|stop| match stop {
        Stop::Read(error) => transport(error.to_string()),
        Stop::Line(error) => error.into(),
    })?;
    Ok(reader.finish()?)
}

/// Why reading lines ended early.
#[derive(Debug)]
enum Stop {
    Read(std::io::Error),
    Line(kennel_cost::CostError),
}

/// Hands on line by line and never holds more than one, whose length is bounded: the rest of a longer one is
/// left out.
fn lines(
    mut from: impl BufRead,
    mut each: impl FnMut(&str) -> Result<(), kennel_cost::CostError>,
) -> Result<(), Stop> {
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        let taken = from
            .by_ref()
            .take(MAX_LINE as u64)
            .read_until(b'\n', &mut bytes)
            .map_err(Stop::Read)?;
        if taken == 0 {
            return Ok(());
        }
        let whole = bytes.last() == Some(&b'\n') || taken < MAX_LINE;
        each(&String::from_utf8_lossy(&bytes)).map_err(Stop::Line)?;
        if !whole {
            skip(&mut from).map_err(Stop::Read)?;
        }
    }
}

/// Leaves the rest of a line out.
fn skip(from: &mut impl BufRead) -> std::io::Result<()> {
    loop {
        let held = from.fill_buf()?;
        let (used, ended) = match held.iter().position(|byte| *byte == b'\n') {
            Some(at) => (at + 1, true),
            None => (held.len(), held.is_empty()),
        };
        from.consume(used);
        if ended {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests;
