//! One small code per error, and the one table from it to what callers outside see: HTTP status and
//! process exit code. Wire crates add AWS's names to the same table when they arrive.

/// What kind of failure an error is. Every error type of Kennel answers one through [`ErrorCoded`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// The caller sent something that can never work; repeating it is useless.
    InvalidInput,
    /// What was named does not exist.
    NotFound,
    /// The content type or file format is not one that Kennel reads.
    UnsupportedMediaType,
    /// The body or file is larger than the stated limit.
    PayloadTooLarge,
    /// A bounded queue is full; try again later.
    Throttled,
    /// Another process holds what is needed.
    Conflict,
    /// A remote party that the request depends on failed.
    Upstream,
    /// The component is starting, stopping or has lost its engine.
    Unavailable,
    /// Planned but not built; README lists it as such.
    NotImplemented,
    /// The operation was stopped by a signal and can be resumed.
    Interrupted,
    /// Kennel's own fault.
    Internal,
}

impl ErrorCode {
    /// The HTTP status that a server answers for this code.
    pub fn http_status(self) -> u16 {
        match self {
            ErrorCode::InvalidInput => 400,
            ErrorCode::NotFound => 404,
            ErrorCode::Conflict => 409,
            ErrorCode::PayloadTooLarge => 413,
            ErrorCode::UnsupportedMediaType => 415,
            ErrorCode::Upstream => 424,
            ErrorCode::Throttled => 429,
            ErrorCode::Internal => 500,
            ErrorCode::NotImplemented => 501,
            ErrorCode::Unavailable | ErrorCode::Interrupted => 503,
        }
    }

    /// The exit code of the process when a command ends with this error: 2 for the caller's
    /// mistakes, 130 after an interruption (128 + SIGINT, as shells expect), 1 otherwise.
    pub fn exit_code(self) -> u8 {
        match self {
            ErrorCode::InvalidInput
            | ErrorCode::NotFound
            | ErrorCode::UnsupportedMediaType
            | ErrorCode::PayloadTooLarge
            | ErrorCode::NotImplemented => 2,
            ErrorCode::Interrupted => 130,
            _ => 1,
        }
    }

    /// The name that JSON errors carry in `code`.
    pub fn name(self) -> &'static str {
        match self {
            ErrorCode::InvalidInput => "InvalidInput",
            ErrorCode::NotFound => "NotFound",
            ErrorCode::UnsupportedMediaType => "UnsupportedMediaType",
            ErrorCode::PayloadTooLarge => "PayloadTooLarge",
            ErrorCode::Throttled => "Throttled",
            ErrorCode::Conflict => "Conflict",
            ErrorCode::Upstream => "UpstreamFailed",
            ErrorCode::Unavailable => "Unavailable",
            ErrorCode::NotImplemented => "NotImplemented",
            ErrorCode::Interrupted => "Interrupted",
            ErrorCode::Internal => "InternalError",
        }
    }
}

/// Implemented by every error type of the library crates.
pub trait ErrorCoded {
    /// The code of this error.
    fn code(&self) -> ErrorCode;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caller_mistakes_are_4xx_and_exit_2() {
        assert_eq!(ErrorCode::InvalidInput.http_status(), 400);
        assert_eq!(ErrorCode::InvalidInput.exit_code(), 2);
        assert_eq!(ErrorCode::Throttled.http_status(), 429);
        assert_eq!(ErrorCode::Internal.exit_code(), 1);
        assert_eq!(ErrorCode::Interrupted.exit_code(), 130);
    }
}
