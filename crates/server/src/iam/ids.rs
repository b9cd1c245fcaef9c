//! Random ids, keys and secrets, in the shapes that AWS gives them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::error::Outcome;

const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// Spells bytes with the 32 letters of AWS's ids, five bits of each byte.
pub(crate) fn spell(bytes: &[u8]) -> String {
    bytes.iter().map(|b| char::from(BASE32[usize::from(b % 32)])).collect()
}

fn random<const N: usize>() -> Outcome<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

/// `AIDA…`, `AROA…`, `ANPA…`: 21 characters.
pub(crate) fn unique(prefix: &str) -> Outcome<String> {
    Ok(format!("{prefix}{}", spell(&random::<17>()?)))
}

/// `AKIA…`, `ASIA…`: 20 characters.
pub(crate) fn access_key(prefix: &str) -> Outcome<String> {
    Ok(format!("{prefix}{}", spell(&random::<16>()?)))
}

/// 240 random bits, 40 characters.
pub(crate) fn secret() -> Outcome<String> {
    Ok(STANDARD.encode(random::<30>()?))
}

/// An opaque token, 256 characters.
pub(crate) fn session_token() -> Outcome<String> {
    Ok(STANDARD.encode(random::<192>()?))
}

/// 12 digits, the first not 0, so that no tool that reads it as a number shortens it.
pub(crate) fn account() -> Outcome<String> {
    let number = u64::from_le_bytes(random::<8>()?);
    Ok((100_000_000_000 + number % 900_000_000_000).to_string())
}
