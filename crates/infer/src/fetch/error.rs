//! What can go wrong when a photo is fetched, in words for the person who gave the URL.
//!
//! A message never says what a name resolved to or which step of a connection inside the network
//! failed: a stranger could map the network with that. The technical cause is kept as the source
//! for the log.

use std::error::Error as StdError;

/// Why a photo could not be fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The URL is not one that can be fetched at all.
    #[error("cannot fetch `{url}`: {reason}\nhint: give a URL like https://example.com/dog.jpg")]
    BadUrl {
        /// The URL, shortened, without credentials and query.
        url: String,
        /// What is wrong with it, as the end of a sentence.
        reason: &'static str,
    },
    /// Plain `http` was asked for and is switched off.
    #[error("cannot fetch `{url}`: plain http is switched off\nhint: use https://")]
    HttpRefused {
        /// The URL, shortened, without credentials and query.
        url: String,
    },
    /// The host's address, or one of them, is not a public one.
    #[error(
        "cannot fetch `{url}`: {} is not a public address\n\
         hint: send the photo itself; whoever runs the server can open a host with `--allow-url-host`",
        if *.redirected { "what it redirects to" } else { "its host" }
    )]
    RefusedAddress {
        /// The URL as given, shortened, without credentials and query.
        url: String,
        /// Whether the address came up only after a redirect.
        redirected: bool,
    },
    /// A port other than 80 and 443 on a host that is not opened by name.
    #[error(
        "cannot fetch `{url}`: {}only the ports 80 and 443 are open\n\
         hint: whoever runs the server can open a host with `--allow-url-host HOST:PORT`",
        if *.redirected { "it redirects to another port; " } else { "" }
    )]
    RefusedPort {
        /// The URL as given, shortened, without credentials and query.
        url: String,
        /// Whether the port came up only after a redirect.
        redirected: bool,
    },
    /// The host name is not known.
    #[error("cannot fetch `{url}`: its host was not found\nhint: check the spelling of the host")]
    HostNotFound {
        /// The URL as given, shortened, without credentials and query.
        url: String,
        /// The resolver's own error, for the log.
        #[source]
        source: Option<Box<dyn StdError + Send + Sync>>,
    },
    /// Connecting, the handshake or the transfer failed.
    #[error(
        "cannot fetch `{url}`: the connection failed\nhint: try again, or send the photo itself"
    )]
    Connection {
        /// The URL as given, shortened, without credentials and query.
        url: String,
        /// The cause, for the log.
        #[source]
        source: Option<Box<dyn StdError + Send + Sync>>,
    },
    /// The whole fetch took longer than allowed.
    #[error(
        "cannot fetch `{url}`: it took longer than {seconds} s\n\
         hint: try again, or send the photo itself"
    )]
    Timeout {
        /// The URL as given, shortened, without credentials and query.
        url: String,
        /// The limit in seconds.
        seconds: f64,
    },
    /// The remote server answered with something other than 200.
    #[error(
        "cannot fetch `{url}`: its server answered with status {status}\n\
         hint: check that the URL opens without signing in"
    )]
    Status {
        /// The URL as given, shortened, without credentials and query.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// A redirect without a usable target, or from https back to http.
    #[error("cannot fetch `{url}`: {reason}\nhint: give the URL that the photo finally has")]
    BadRedirect {
        /// The URL as given, shortened, without credentials and query.
        url: String,
        /// What is wrong with the redirect, as the end of a sentence.
        reason: &'static str,
    },
    /// More redirects than allowed.
    #[error(
        "cannot fetch `{url}`: it redirects more than {limit} times\n\
         hint: give the URL that the photo finally has"
    )]
    TooManyRedirects {
        /// The URL as given, shortened, without credentials and query.
        url: String,
        /// How many are followed.
        limit: u32,
    },
    /// The answer is not a picture by its content type, or is compressed on top.
    #[error(
        "cannot fetch `{url}`: its server sent {found} instead of a picture\n\
         hint: give the URL of the picture itself, not of a page that shows it"
    )]
    NotAPicture {
        /// The URL as given, shortened, without credentials and query.
        url: String,
        /// What came instead, quoted.
        found: String,
    },
    /// The body is larger than allowed.
    #[error(
        "cannot fetch `{url}`: it is larger than {limit} bytes\n\
         hint: give a smaller version of the picture"
    )]
    TooLarge {
        /// The URL as given, shortened, without credentials and query.
        url: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// Too many names are being looked up at this moment.
    #[error("cannot fetch `{url}`: too many fetches are waiting\nhint: try again in a few seconds")]
    Busy {
        /// The URL as given, shortened, without credentials and query.
        url: String,
    },
    /// An entry of the list of opened hosts cannot be read.
    #[error(
        "`{entry}` is not a host that can be opened\n\
         hint: write a host or host:port, such as photos.example.com or 10.0.0.5:9000"
    )]
    BadAllowHost {
        /// The entry as given.
        entry: String,
    },
}

impl FetchError {
    /// Whether the request was at fault (a server answers 400), rather than the remote server or
    /// the network (424 or 502) or this machine's configuration.
    pub fn is_callers_fault(&self) -> bool {
        match self {
            Self::BadUrl { .. }
            | Self::HttpRefused { .. }
            | Self::RefusedAddress { .. }
            | Self::RefusedPort { .. } => true,
            Self::HostNotFound { .. }
            | Self::Connection { .. }
            | Self::Timeout { .. }
            | Self::Status { .. }
            | Self::BadRedirect { .. }
            | Self::TooManyRedirects { .. }
            | Self::NotAPicture { .. }
            | Self::TooLarge { .. }
            | Self::Busy { .. }
            | Self::BadAllowHost { .. } => false,
        }
    }

    pub(super) fn bad_url(url: &str, reason: &'static str) -> Self {
        Self::BadUrl { url: shown(url), reason }
    }
}

/// A URL for a message: without credentials and without its query, which often is a signature,
/// with control characters escaped and cut to a length that fits a line or two.
pub(super) fn shown(url: &str) -> String {
    const LONGEST: usize = 160;
    let (place, query) = match url.find(['?', '#']) {
        Some(at) => (&url[..at], "?…"),
        None => (url, ""),
    };
    let start = place.find("://").map_or(0, |at| at + 3);
    let end = place[start..].find('/').map_or(place.len(), |at| start + at);
    let host = place[start..end].rfind('@').map_or(start, |at| start + at + 1);
    let mut text: String = place[..start].to_owned();
    if host > start {
        text.push_str("…@");
    }
    text.push_str(&place[host..]);
    let mut text: String = text.chars().flat_map(char::escape_debug).collect();
    if let Some((cut, _)) = text.char_indices().nth(LONGEST) {
        text.truncate(cut);
        text.push('…');
    }
    text.push_str(query);
    text
}
