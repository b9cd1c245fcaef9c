//! A token bucket that counts what is spent instead of what is left.

/// What has been spent of a rate. It holds no rate of its own: a changed setting counts from the next call
/// on, and no order of settings makes a difference before the first call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Meter {
    /// In tokens × milliseconds of the period, so that refilling needs no fractions.
    spent: u64,
    /// When `spent` was right.
    at_ms: i64,
}

/// So many tokens in so many milliseconds; a whole period's worth may be spent at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    pub(crate) tokens: u64,
    pub(crate) period_ms: u64,
}

impl Meter {
    /// The meter after one more token at `now_ms`; `None` where the rate does not allow it.
    ///
    /// A clock that goes backwards refills nothing, and counts from the earlier time on.
    pub(crate) fn spend(self, now_ms: i64, rate: Rate) -> Option<Self> {
        let elapsed = u64::try_from(now_ms.saturating_sub(self.at_ms)).unwrap_or(0);
        let spent = self
            .spent
            .saturating_sub(elapsed.saturating_mul(rate.tokens))
            .saturating_add(rate.period_ms);
        (spent <= rate.tokens.saturating_mul(rate.period_ms))
            .then_some(Self { spent, at_ms: now_ms })
    }
}

#[cfg(test)]
mod tests;
