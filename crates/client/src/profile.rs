//! The little of `~/.aws/config` and `~/.aws/credentials` that is needed for real AWS: static keys
//! and the region of one profile.

use std::collections::BTreeMap;

use crate::error::ClientError;
use crate::files::read_if_any;
use crate::paths::aws_file;
use crate::target::Credentials;

/// Ways to get keys that Kennel has not built; their presence explains why none were found.
const OTHER_WAYS: [&str; 6] = [
    "credential_process",
    "role_arn",
    "sso_session",
    "sso_start_url",
    "web_identity_token_file",
    "credential_source",
];

/// The settings of one section.
type Section = BTreeMap<String, String>;

/// Sections of an ini file as AWS's tools read it: `[name]`, `key = value`, comments with `#` or `;`
/// at the start of a line; indented lines belong to a nested setting and are skipped.
pub(crate) fn sections(text: &str) -> BTreeMap<String, Section> {
    let mut all: BTreeMap<String, Section> = BTreeMap::new();
    let mut current = None;
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = trimmed.strip_prefix('[').and_then(|t| t.split(']').next()) {
            let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
            all.entry(name.clone()).or_default();
            current = Some(name);
        } else if !line.starts_with([' ', '\t'])
            && let (Some(section), Some((key, value))) = (&current, trimmed.split_once('='))
            && let Some(section) = all.get_mut(section)
        {
            let value = value.split(" #").next().unwrap_or_default();
            section.insert(key.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    all
}

/// What the files say of a profile.
#[derive(Debug, Default)]
pub(crate) struct Profile {
    pub name: String,
    pub region: Option<String>,
    settings: Section,
}

impl Profile {
    /// Reads a profile; a missing file has no settings.
    pub(crate) fn read(name: &str) -> Result<Profile, ClientError> {
        let text = |variable, file| -> Result<String, ClientError> {
            let bytes = read_if_any(&aws_file(variable, file))?.unwrap_or_default();
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        let config = text("AWS_CONFIG_FILE", "config")?;
        let credentials = text("AWS_SHARED_CREDENTIALS_FILE", "credentials")?;
        Self::from_texts(name, &config, &credentials)
    }

    fn from_texts(name: &str, config: &str, credentials: &str) -> Result<Profile, ClientError> {
        let mut config = sections(config);
        let mut found = config.remove(&format!("profile {name}"));
        if name == "default" {
            found = found.or_else(|| config.remove("default"));
        }
        let keys = sections(credentials).remove(name);
        if found.is_none() && keys.is_none() && name != "default" {
            return Err(ClientError::Credentials(format!(
                "there is no AWS profile `{name}`\nhint: see ~/.aws/config and ~/.aws/credentials"
            )));
        }
        let mut settings = found.unwrap_or_default();
        settings.extend(keys.unwrap_or_default());
        Ok(Profile { name: name.to_owned(), region: settings.get("region").cloned(), settings })
    }

    /// The static keys.
    pub(crate) fn credentials(&self) -> Result<Credentials, ClientError> {
        let get = |key: &str| self.settings.get(key).filter(|v| !v.is_empty()).cloned();
        if let (Some(id), Some(secret)) = (get("aws_access_key_id"), get("aws_secret_access_key")) {
            return Ok(Credentials::new(id, secret, get("aws_session_token")));
        }
        let name = &self.name;
        if let Some(way) = OTHER_WAYS.iter().find(|w| self.settings.contains_key(**w)) {
            return Err(ClientError::NotImplemented(format!(
                "profile `{name}` gets its keys through `{way}`, which is not implemented\nhint: put keys into the environment, as in `eval \"$(aws configure export-credentials --profile {name} --format env)\"`"
            )));
        }
        Err(ClientError::Credentials(format!(
            "profile `{name}` has no keys\nhint: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run `aws configure`"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "[default]\nregion = eu-west-1\n\n[profile  work] # mine\nregion=us-west-2 # near\ns3 =\n  region = no\nsso_session = x\n";

    #[test]
    fn profiles_join_both_files() {
        let keys = "; old\n[default]\naws_access_key_id = AKIA\naws_secret_access_key = s=cr#t\n";
        let profile = Profile::from_texts("default", CONFIG, keys).unwrap();
        assert_eq!(profile.region.as_deref(), Some("eu-west-1"));
        let credentials = profile.credentials().unwrap();
        assert_eq!(credentials.access_key_id, "AKIA");
        assert_eq!(credentials.secret_access_key, "s=cr#t");
        assert_eq!(credentials.session_token, None);
    }

    #[test]
    fn other_ways_are_named_and_unknown_profiles_refused() {
        let profile = Profile::from_texts("work", CONFIG, "").unwrap();
        assert_eq!(profile.region.as_deref(), Some("us-west-2"));
        let error = profile.credentials().unwrap_err();
        assert!(matches!(&error, ClientError::NotImplemented(m) if m.contains("sso_session")));
        assert!(matches!(
            Profile::from_texts("nope", CONFIG, ""),
            Err(ClientError::Credentials(_))
        ));
        let none = Profile::from_texts("default", "", "").unwrap().credentials();
        assert!(matches!(none, Err(ClientError::Credentials(_))));
    }
}
