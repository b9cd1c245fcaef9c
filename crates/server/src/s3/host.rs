//! Which bucket the `Host` header names, in virtual-host style.

use std::sync::Arc;

use s3s::S3Result;
use s3s::host::{S3Host, VirtualHost};

/// The names of this server.
#[derive(Debug, Clone)]
pub(super) struct Hosts {
    /// Longest first, so that `bucket.s3.localhost` is not the bucket `bucket.s3` of `localhost`.
    domains: Arc<[String]>,
}

impl Hosts {
    pub(super) fn new(mut domains: Vec<String>) -> Self {
        domains.extend(["localhost".to_owned(), "s3.localhost".to_owned()]);
        for domain in &mut domains {
            domain.make_ascii_lowercase();
        }
        domains.sort_by_key(|d| std::cmp::Reverse(d.len()));
        Hosts { domains: domains.into() }
    }

    /// The bucket of a `Host` header; nothing in path style.
    pub(super) fn bucket(&self, host: &str) -> Option<String> {
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
            _ => host,
        };
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        if name.parse::<std::net::IpAddr>().is_ok() || name.starts_with('[') {
            return None;
        }
        for domain in self.domains.iter() {
            if name == *domain {
                return None;
            }
            if let Some(bucket) = name.strip_suffix(domain.as_str()) {
                return bucket.strip_suffix('.').filter(|b| !b.is_empty()).map(str::to_owned);
            }
        }
        aws(&name)
    }
}

/// `bucket.s3.amazonaws.com`, `bucket.s3.<region>.amazonaws.com`,
/// `bucket.s3.dualstack.<region>.amazonaws.com`, `bucket.s3-<region>.amazonaws.com`.
fn aws(name: &str) -> Option<String> {
    let name =
        name.strip_suffix(".amazonaws.com").or_else(|| name.strip_suffix(".amazonaws.com.cn"))?;
    let labels: Vec<&str> = name.split('.').collect();
    let endpoint = labels.iter().rposition(|l| *l == "s3" || l.starts_with("s3-"))?;
    if endpoint == 0 || labels.len() - endpoint > 3 {
        return None;
    }
    Some(labels.get(..endpoint)?.join("."))
}

impl S3Host for Hosts {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        let parsed = VirtualHost::new(host);
        Ok(match self.bucket(host) {
            Some(bucket) => parsed.with_bucket(bucket),
            None => parsed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Hosts;

    #[test]
    fn buckets_are_read_from_host_names() {
        let hosts = Hosts::new(vec!["kennel.example".to_owned()]);
        let bucket = |host| hosts.bucket(host);
        for (host, wanted) in [
            ("b.localhost:4566", "b"),
            ("b.s3.localhost", "b"),
            ("a.b.s3.localhost:80", "a.b"),
            ("b.kennel.example", "b"),
            ("b.s3.us-east-1.amazonaws.com", "b"),
            ("b.s3.amazonaws.com", "b"),
            ("b.s3.dualstack.eu-west-1.amazonaws.com", "b"),
            ("B.s3-eu-west-1.amazonaws.com:443", "b"),
        ] {
            assert_eq!(bucket(host).as_deref(), Some(wanted), "{host}");
        }
        for host in [
            "localhost",
            "localhost:4566",
            "s3.localhost",
            "127.0.0.1:4566",
            "[::1]:80",
            "kennel.example",
            "s3.us-east-1.amazonaws.com",
            "s3.amazonaws.com",
            "kennel:4566",
            "sts.us-east-1.amazonaws.com",
        ] {
            assert_eq!(bucket(host), None, "{host}");
        }
    }
}
