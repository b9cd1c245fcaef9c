//! Reading a signature's scope, without verifying anything.

/// Who claims to have signed, for what: `access_key/date/region/service/aws4_request`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// The access key.
    pub access_key: String,
    /// The day, `YYYYMMDD`.
    pub date: String,
    /// The region, well-formed.
    pub region: String,
    /// The service's signing name.
    pub service: String,
}

impl Scope {
    /// The scope of an `Authorization` header of version 4.
    pub fn from_authorization(header: &str) -> Option<Scope> {
        let (algorithm, fields) = header.trim().split_once(' ')?;
        if !algorithm.starts_with("AWS4-") {
            return None;
        }
        Self::parse(authorization_field(fields, "Credential")?)
    }

    /// The scope of a presigned URL's query string.
    pub fn from_query(query: &str) -> Option<Scope> {
        Self::parse(&field(query, "X-Amz-Credential")?)
    }

    /// Parses a credential. None where a part is missing or could not be what it stands for.
    pub fn parse(credential: &str) -> Option<Scope> {
        let mut parts = credential.split('/');
        let (access_key, date, region, service, end) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let sound = parts.next().is_none()
            && end == "aws4_request"
            && within(access_key, 1..=128, |c| c.is_ascii_alphanumeric() || c == b'_')
            && within(date, 8..=8, |c| c.is_ascii_digit())
            && within(region, 1..=32, |c| {
                c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-'
            })
            && region.starts_with(|c: char| c.is_ascii_lowercase())
            && within(service, 1..=64, |c| c.is_ascii_alphanumeric() || c == b'-');
        sound.then(|| Scope {
            access_key: access_key.to_owned(),
            date: date.to_owned(),
            region: region.to_owned(),
            service: service.to_owned(),
        })
    }
}

fn within(
    text: &str,
    lengths: std::ops::RangeInclusive<usize>,
    allowed: impl Fn(u8) -> bool,
) -> bool {
    lengths.contains(&text.len()) && text.bytes().all(allowed)
}

/// `name=value` of an `Authorization` header's comma-separated list.
pub(super) fn authorization_field<'a>(fields: &'a str, name: &str) -> Option<&'a str> {
    fields.split(',').find_map(|field| field.trim().strip_prefix(name)?.strip_prefix('='))
}

/// A field of a query string, percent-decoded; the first of that name.
pub(super) fn field(query: &str, name: &str) -> Option<String> {
    form_urlencoded::parse(query.as_bytes())
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}
