//! Reading the URL that a stranger gave into the parts a connection is made from, and the list
//! of hosts that are open by name.
//!
//! The parts are put together again in one canonical form, and only that form goes to the HTTP
//! client: two parsers never look at the stranger's own spelling, so they cannot differ over
//! where the host begins. Host spellings that an operating system would take for an address
//! although they do not look like one (`0x7f.1`, `2130706433`, `0177.0.0.1`, `127.1`) are refused
//! instead of interpreted.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use super::error::FetchError;

#[cfg(test)]
mod tests;

/// URLs longer than this are refused; browsers and proxies stop at about the same length.
const MAX_URL_BYTES: usize = 8 * 1024;

/// How a host was written: the two ways need different checks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Host {
    /// A DNS name: lower case, no trailing dot.
    Name(String),
    /// An address in its ordinary spelling.
    Address(IpAddr),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(addr)) => write!(f, "{addr}"),
            Self::Address(IpAddr::V6(addr)) => write!(f, "[{addr}]"),
        }
    }
}

/// The parts of a URL that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) https: bool,
    pub(super) host: Host,
    pub(super) port: u16,
    /// Path with query, never empty, beginning with `/`, printable ASCII only.
    pub(super) path: String,
}

impl Target {
    /// Reads an absolute `http` or `https` URL.
    pub(super) fn parse(url: &str) -> Result<Self, FetchError> {
        let bad = |reason: &'static str| FetchError::bad_url(url, reason);
        let url = url.trim_matches(' ');
        if url.len() > MAX_URL_BYTES {
            return Err(bad("it is longer than 8 KiB"));
        }
        if url.chars().any(char::is_control) {
            return Err(bad("it holds a control character"));
        }
        let (scheme, rest) = url
            .split_once("://")
            .ok_or_else(|| bad("it does not begin with https:// or http://"))?;
        let https = if scheme.eq_ignore_ascii_case("https") {
            true
        } else if scheme.eq_ignore_ascii_case("http") {
            false
        } else {
            return Err(bad("only https:// and http:// can be fetched"));
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(end);
        if authority.contains('@') {
            return Err(bad("it carries a user name or a password"));
        }
        let (host, port) = split_port(authority).ok_or_else(|| bad("its port is not a number"))?;
        let host = parse_host(host).map_err(bad)?;
        let port = port.unwrap_or(if https { 443 } else { 80 });
        if port == 0 {
            return Err(bad("its port is 0"));
        }
        Ok(Self { https, host, port, path: canonical_path(tail) })
    }

    /// Follows the `Location` of a redirect, which may be relative to this URL.
    pub(super) fn join(&self, location: &str) -> Result<Self, FetchError> {
        let location = location.trim_matches(' ');
        let scheme = if self.https { "https" } else { "http" };
        let origin = format!("{scheme}://{}:{}", self.host, self.port);
        let path = self.path.split('?').next().unwrap_or("/");
        if has_scheme(location) {
            Self::parse(location)
        } else if location.starts_with("//") {
            Self::parse(&format!("{scheme}:{location}"))
        } else if location.starts_with('/') {
            Self::parse(&format!("{origin}{location}"))
        } else if location.is_empty() || location.starts_with(['?', '#']) {
            Self::parse(&format!("{origin}{path}{location}"))
        } else {
            let folder = path.rfind('/').map_or("/", |slash| &path[..=slash]);
            Self::parse(&format!("{origin}{folder}{location}"))
        }
    }

    /// The URL in the one spelling that goes to the HTTP client.
    pub(super) fn canonical(&self) -> String {
        let (scheme, usual) = if self.https { ("https", 443) } else { ("http", 80) };
        if self.port == usual {
            format!("{scheme}://{}{}", self.host, self.path)
        } else {
            format!("{scheme}://{}:{}{}", self.host, self.port, self.path)
        }
    }
}

/// The hosts opened by name, each for every port or for one.
#[derive(Debug, Clone, Default)]
pub(super) struct OpenHosts {
    entries: BTreeSet<(Host, Option<u16>)>,
}

impl OpenHosts {
    /// Reads entries of the form `host` or `host:port`.
    pub(super) fn parse(entries: &[String]) -> Result<Self, FetchError> {
        let read = |entry: &String| {
            let bad = || FetchError::BadAllowHost { entry: entry.clone() };
            let text = entry.trim();
            // A bare IPv6 address has colons of its own; everybody writes it so once.
            if let Ok(addr) = text.parse::<Ipv6Addr>() {
                return Ok((Host::Address(addr.into()), None));
            }
            let (host, port) = split_port(text).ok_or_else(bad)?;
            let host = parse_host(host).map_err(|_| bad())?;
            Ok((host, port))
        };
        Ok(Self { entries: entries.iter().map(read).collect::<Result<_, FetchError>>()? })
    }

    /// Whether the user opened this host, for any port or for this one.
    pub(super) fn contains(&self, host: &Host, port: u16) -> bool {
        self.entries.contains(&(host.clone(), None))
            || self.entries.contains(&(host.clone(), Some(port)))
    }
}

/// Whether `text` begins with a URL scheme, so that it is not relative.
fn has_scheme(text: &str) -> bool {
    text.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    })
}

/// Splits `host:port`; `None` when what follows the host is not a port number.
fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    // The colons inside the brackets of an IPv6 address are not the port's.
    let after_brackets = authority.rfind(']').map_or(0, |end| end + 1);
    let (_, tail) = authority.split_at(after_brackets);
    match tail.find(':') {
        None if after_brackets > 0 && !tail.is_empty() => None,
        None => Some((authority, None)),
        Some(at) if after_brackets > 0 && at > 0 => None,
        Some(at) => {
            let port = &tail[at + 1..];
            if port.is_empty() {
                return Some((&authority[..after_brackets + at], None));
            }
            // `u16::from_str` would take a sign.
            if !port.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            let port = port.parse().ok()?;
            Some((&authority[..after_brackets + at], Some(port)))
        }
    }
}

/// Reads a host; the error is the reason, as the end of a sentence.
fn parse_host(host: &str) -> Result<Host, &'static str> {
    if let Some(inner) = host.strip_prefix('[') {
        let inner = inner.strip_suffix(']').unwrap_or(inner);
        return inner
            .parse::<Ipv6Addr>()
            .map(|addr| Host::Address(addr.into()))
            .map_err(|_| "what stands in brackets is not an IPv6 address");
    }
    // Full-width digits and dots are folded into ASCII by some resolvers: names that are not
    // ASCII have to come in the form that DNS knows.
    if !host.is_ascii() {
        return Err("its host name is not ASCII (write it in its xn-- form)");
    }
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    if host.is_empty() {
        return Err("it has no host");
    }
    if host.len() > 253 {
        return Err("its host name is longer than DNS allows");
    }
    let mut last = "";
    for label in host.split('.') {
        let fits = (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if !fits {
            return Err("its host name is not one that DNS allows");
        }
        last = label;
    }
    // A name whose last part is a number is an address to the C library, in octal, hexadecimal
    // or with parts left out. Only the ordinary four decimal parts are taken; the standard
    // library's reader refuses leading zeros.
    let numeric = last.bytes().all(|b| b.is_ascii_digit())
        || last
            .strip_prefix("0x")
            .is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
    if numeric {
        return host
            .parse::<std::net::Ipv4Addr>()
            .map(|addr| Host::Address(addr.into()))
            .map_err(|_| "its host is a number, but not an address of four decimal parts");
    }
    Ok(Host::Name(host))
}

/// Path and query as they go into the request line: the fragment gone, everything that is not
/// printable ASCII (or that the client's parser refuses) percent-encoded as UTF-8.
fn canonical_path(tail: &str) -> String {
    let tail = tail.split('#').next().unwrap_or("");
    let mut path = String::with_capacity(tail.len() + 1);
    if !tail.starts_with('/') {
        path.push('/');
    }
    for byte in tail.bytes() {
        if byte.is_ascii_graphic() && !br#""<>\^`{|}"#.contains(&byte) {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("%{byte:02X}"));
        }
    }
    path
}
