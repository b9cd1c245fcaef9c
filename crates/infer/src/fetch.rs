//! Fetching a photo from a URL that a stranger gave, for `kennel serve` and `kennel predict`.
//!
//! A model server that opens any URL is a door into the network it stands in, so every fetch
//! obeys the same rules:
//!
//! - The host is resolved once. Every address of the answer has to be public ([`is_public`]), and
//!   the connection goes to those very addresses: the HTTP client gets them from a resolver that
//!   knows nothing else, so a name that changes its mind between check and use changes nothing.
//! - Redirects are followed by hand, a few of them, each through the same checks.
//! - Only http and https, the ports 80 and 443, no credentials, no proxy from the environment.
//! - Size, time and content type are capped.
//!
//! Hosts that the operator opened by name are exempt from the address and port rules only.

use std::fmt::Debug;
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use ureq::http::{HeaderMap, Uri, header};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{Connector, NextTimeout, RustlsConnector, TcpConnector};

mod address;
mod error;
mod target;
#[cfg(test)]
mod tests;

pub use address::is_public;
pub use error::FetchError;

use error::shown;
use target::{Host, OpenHosts, Target};

/// How many names may be looked up at the same time. The system's resolver cannot be interrupted,
/// so a lookup that outlives its fetch keeps its thread; without a bound a stranger with a slow
/// name server could pile up threads.
const MAX_LOOKUPS: usize = 64;

/// The most addresses of one name that are tried, which is also what the HTTP client can hold.
const MAX_ADDRESSES: usize = 16;

/// The longest time limit that is honoured.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

/// What may be fetched, and how much of it.
#[derive(Debug, Clone)]
pub struct FetchOptions {
    /// Hosts opened by name (`--allow-url-host`), each `host` (every port) or `host:port`: they
    /// may have addresses that are not public and use any port that the entry covers.
    pub allow_hosts: Vec<String>,
    /// The largest body, in bytes.
    pub max_bytes: u64,
    /// The limit for one whole fetch: lookups, redirects and transfer together.
    pub timeout: Duration,
    /// How many redirects are followed.
    pub max_redirects: u32,
    /// Whether plain `http` URLs may be fetched. A redirect from https to http is refused anyway.
    pub allow_http: bool,
}

impl Default for FetchOptions {
    fn default() -> Self {
        Self {
            allow_hosts: Vec::new(),
            max_bytes: 10 * 1024 * 1024,
            timeout: Duration::from_secs(5),
            max_redirects: 3,
            allow_http: true,
        }
    }
}

/// What was fetched: the body as sent, not decoded yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedImage {
    /// The body.
    pub bytes: Vec<u8>,
    /// The content type without its parameters, in lower case, where the server named one.
    pub content_type: Option<String>,
}

/// Fetches photos under one set of [`FetchOptions`]; clones share everything and cost nothing.
#[derive(Debug, Clone)]
pub struct Fetcher {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    options: FetchOptions,
    open_hosts: OpenHosts,
    lookup: Arc<dyn Lookup>,
    lookups: Arc<AtomicUsize>,
}

/// The step from a name to addresses, apart so that tests can put their own in its place.
trait Lookup: Debug + Send + Sync {
    fn lookup(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
}

/// The operating system's resolver.
#[derive(Debug)]
struct SystemLookup;

impl Lookup for SystemLookup {
    fn lookup(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok((name, port).to_socket_addrs()?.collect())
    }
}

/// One fetch under way: what the messages name and when it has to be over.
#[derive(Debug)]
struct Fetch<'a> {
    inner: &'a Inner,
    shown: String,
    deadline: Instant,
    redirected: bool,
}

/// What one request of the chain led to.
enum Step {
    Done(FetchedImage),
    Redirect(Target),
}

impl Fetcher {
    /// A fetcher with these options.
    ///
    /// # Errors
    ///
    /// [`FetchError::BadAllowHost`] for an entry of `allow_hosts` that is not a host.
    pub fn new(options: FetchOptions) -> Result<Self, FetchError> {
        Self::with_lookup(options, Arc::new(SystemLookup))
    }

    fn with_lookup(options: FetchOptions, lookup: Arc<dyn Lookup>) -> Result<Self, FetchError> {
        Ok(Self {
            inner: Arc::new(Inner {
                open_hosts: OpenHosts::parse(&options.allow_hosts)?,
                options,
                lookup,
                lookups: Arc::default(),
            }),
        })
    }

    /// Fetches the photo at `url`; blocks for at most the timeout of the options.
    ///
    /// # Errors
    ///
    /// A [`FetchError`]; [`FetchError::is_callers_fault`] tells a bad or refused URL from a
    /// remote server that failed.
    pub fn get(&self, url: &str) -> Result<FetchedImage, FetchError> {
        let mut fetch = Fetch {
            inner: &self.inner,
            shown: shown(url),
            // A limit beyond any use is cut, so that the sum cannot overflow.
            deadline: Instant::now() + self.inner.options.timeout.min(LONGEST_TIMEOUT),
            redirected: false,
        };
        let mut target = Target::parse(url)?;
        let limit = self.inner.options.max_redirects;
        // The first request is no redirect, hence one more round than the limit.
        for _ in 0..=limit {
            match fetch.step(&target)? {
                Step::Done(image) => return Ok(image),
                Step::Redirect(next) => target = next,
            }
            fetch.redirected = true;
        }
        Err(FetchError::TooManyRedirects { url: fetch.shown, limit })
    }
}

impl Fetch<'_> {
    /// Checks one target, requests it and reads the answer.
    fn step(&self, target: &Target) -> Result<Step, FetchError> {
        let options = &self.inner.options;
        if !target.https && !options.allow_http {
            return Err(FetchError::HttpRefused { url: self.url() });
        }
        let addresses = self.checked_addresses(target)?;

        let config = ureq::config::Config::builder()
            .timeout_global(Some(self.remaining()?))
            .proxy(None)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .max_idle_connections(0)
            .user_agent(concat!("kennel/", env!("CARGO_PKG_VERSION")))
            .accept("image/*, application/octet-stream;q=0.9")
            .accept_encoding("identity")
            .build();
        // The chain is written out so that no connector takes part that would go through a proxy.
        let connector = ().chain(TcpConnector::default()).chain(RustlsConnector::default());
        let pinned = PinnedResolver { host: target.host.to_string(), addresses };
        let agent = ureq::Agent::with_parts(config, connector, pinned);
        let response = agent
            .get(target.canonical())
            .header(header::CONNECTION, "close")
            .call()
            .map_err(|source| self.failed(source))?;

        let status = response.status().as_u16();
        if matches!(status, 301 | 302 | 303 | 307 | 308) {
            return self.redirect(target, response.headers()).map(Step::Redirect);
        }
        if status != 200 {
            return Err(FetchError::Status { url: self.url(), status });
        }
        let content_type = self.content_type(response.headers())?;
        if response.body().content_length() > Some(options.max_bytes) {
            return Err(self.too_large());
        }
        let bytes = self.read(response.into_body().into_reader())?;
        Ok(Step::Done(FetchedImage { bytes, content_type }))
    }

    /// The addresses the connection may go to, every one of them checked.
    fn checked_addresses(&self, target: &Target) -> Result<Vec<SocketAddr>, FetchError> {
        let open = self.inner.open_hosts.contains(&target.host, target.port);
        if !open && target.port != 80 && target.port != 443 {
            return Err(FetchError::RefusedPort { url: self.url(), redirected: self.redirected });
        }
        let addresses = match &target.host {
            Host::Address(addr) => vec![SocketAddr::new(*addr, target.port)],
            Host::Name(name) => self.look_up(name, target.port)?,
        };
        // One bad address spoils the answer: whoever controls the name chose it.
        let refused = |addr: &SocketAddr| !is_public(addr.ip()) || addr.port() != target.port;
        if !open && addresses.iter().any(refused) {
            return Err(FetchError::RefusedAddress {
                url: self.url(),
                redirected: self.redirected,
            });
        }
        if addresses.is_empty() {
            return Err(FetchError::HostNotFound { url: self.url(), source: None });
        }
        Ok(addresses)
    }

    /// Asks the resolver, on a thread of its own because it cannot be given a time limit.
    fn look_up(&self, name: &str, port: u16) -> Result<Vec<SocketAddr>, FetchError> {
        let slot =
            Slot::take(&self.inner.lookups).ok_or_else(|| FetchError::Busy { url: self.url() })?;
        let lookup = Arc::clone(&self.inner.lookup);
        let name = name.to_owned();
        let (sender, receiver) = mpsc::sync_channel(1);
        let spawned = thread::Builder::new().name("kennel-lookup".to_owned()).spawn(move || {
            let answer = lookup.lookup(&name, port);
            drop(slot);
            // The receiver is gone when the fetch ran out of time; nobody needs the answer.
            let _ = sender.send(answer);
        });
        if let Err(source) = spawned {
            return Err(self.broken(source));
        }
        match receiver.recv_timeout(self.remaining()?) {
            Ok(Ok(mut addresses)) => {
                // Containers often have IPv6 addresses and no route for them.
                addresses.sort_by_key(|addr| matches!(addr.ip(), IpAddr::V6(_)));
                Ok(addresses)
            }
            Ok(Err(source)) => {
                Err(FetchError::HostNotFound { url: self.url(), source: Some(source.into()) })
            }
            Err(RecvTimeoutError::Timeout) => Err(self.timed_out()),
            Err(RecvTimeoutError::Disconnected) => {
                Err(FetchError::HostNotFound { url: self.url(), source: None })
            }
        }
    }

    /// Where a redirect leads; the checks of the new target follow in the next step.
    fn redirect(&self, from: &Target, headers: &HeaderMap) -> Result<Target, FetchError> {
        let bad = |reason| FetchError::BadRedirect { url: self.url(), reason };
        let location = headers
            .get(header::LOCATION)
            .and_then(|value| value.to_str().ok())
            .ok_or_else(|| bad("its server redirects without saying where to"))?;
        let next = from
            .join(location)
            .map_err(|_| bad("its server redirects to something that is not an http(s) URL"))?;
        if from.https && !next.https {
            return Err(bad("its server redirects from https to plain http"));
        }
        Ok(next)
    }

    /// Checks that the headers announce a picture, or at least nothing else.
    fn content_type(&self, headers: &HeaderMap) -> Result<Option<String>, FetchError> {
        let not_a_picture = |found: String| FetchError::NotAPicture { url: self.url(), found };
        // Identity was asked for. A compressed body would be decoded or not depending on how the
        // HTTP client was built, so it is refused in both cases.
        if let Some(encoding) = headers.get(header::CONTENT_ENCODING)
            && !encoding.as_bytes().eq_ignore_ascii_case(b"identity")
        {
            return Err(not_a_picture("a compressed body".to_owned()));
        }
        let Some(value) = headers.get(header::CONTENT_TYPE) else {
            return Ok(None);
        };
        let value = String::from_utf8_lossy(value.as_bytes());
        let essence = value.split(';').next().unwrap_or("").trim();
        let essence = essence.to_ascii_lowercase();
        // `binary/octet-stream` is what S3 says of an object that was stored without a type.
        let unknown = ["", "application/octet-stream", "binary/octet-stream"];
        if unknown.contains(&essence.as_str()) || essence.starts_with("image/") {
            Ok(Some(essence).filter(|essence| !essence.is_empty()))
        } else {
            let quoted: String = essence.chars().take(60).flat_map(char::escape_debug).collect();
            Err(not_a_picture(format!("`{quoted}`")))
        }
    }

    /// Reads the body up to the limits of size and time.
    fn read(&self, mut body: impl Read) -> Result<Vec<u8>, FetchError> {
        let limit = self.inner.options.max_bytes;
        let mut bytes = Vec::new();
        let mut piece = vec![0; 64 * 1024];
        loop {
            // The client checks the time too; this check does not depend on how it does that.
            self.remaining()?;
            let count = match body.read(&mut piece) {
                Ok(0) => return Ok(bytes),
                Ok(count) => count,
                Err(source) if source.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(self.failed(source.into())),
            };
            bytes.extend_from_slice(&piece[..count]);
            if bytes.len() as u64 > limit {
                return Err(self.too_large());
            }
        }
    }

    fn url(&self) -> String {
        self.shown.clone()
    }

    /// The time left, or the error that there is none.
    fn remaining(&self) -> Result<Duration, FetchError> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(self.timed_out()) } else { Ok(left) }
    }

    fn timed_out(&self) -> FetchError {
        FetchError::Timeout { url: self.url(), seconds: self.inner.options.timeout.as_secs_f64() }
    }

    fn too_large(&self) -> FetchError {
        FetchError::TooLarge { url: self.url(), limit: self.inner.options.max_bytes }
    }

    fn failed(&self, source: ureq::Error) -> FetchError {
        let late = match &source {
            ureq::Error::Timeout(_) => true,
            ureq::Error::Io(source) => source.kind() == io::ErrorKind::TimedOut,
            _ => false,
        };
        if late || self.remaining().is_err() { self.timed_out() } else { self.broken(source) }
    }

    fn broken(&self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> FetchError {
        FetchError::Connection { url: self.url(), source: Some(source.into()) }
    }
}

/// One of the [`MAX_LOOKUPS`] places, given back when dropped.
#[derive(Debug)]
struct Slot {
    taken: Arc<AtomicUsize>,
}

impl Slot {
    fn take(taken: &Arc<AtomicUsize>) -> Option<Self> {
        let slot = Self { taken: Arc::clone(taken) };
        (taken.fetch_add(1, Ordering::AcqRel) < MAX_LOOKUPS).then_some(slot)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.taken.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Answers with the addresses that were checked, for the one host they were checked for.
#[derive(Debug)]
struct PinnedResolver {
    host: String,
    addresses: Vec<SocketAddr>,
}

impl Resolver for PinnedResolver {
    fn resolve(
        &self,
        uri: &Uri,
        _config: &ureq::config::Config,
        _timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        // INVARIANT: an agent lives for one request to one host. Should the client ever come
        // here with another host, no address is better than one that was checked for this one.
        if uri.host() != Some(self.host.as_str()) {
            return Err(ureq::Error::HostNotFound);
        }
        let mut answer = self.empty();
        for &addr in self.addresses.iter().take(MAX_ADDRESSES) {
            answer.push(addr);
        }
        Ok(answer)
    }
}
