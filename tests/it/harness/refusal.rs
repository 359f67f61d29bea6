//! What a refused call says, as a client reads it.

use std::collections::HashMap;

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// A status with its details taken apart.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    pub(crate) message: String,
    /// Of its `ErrorInfo`; empty where there is none.
    pub(crate) reason: String,
    pub(crate) metadata: HashMap<String, String>,
    /// The fields of its `BadRequest`.
    pub(crate) fields: Vec<String>,
    /// Whether it has a `RetryInfo`.
    pub(crate) retry: bool,
}

/// What the server answers to a call with a deadline: where the client's own clock was earlier, on a busy machine, it is
/// made again.
pub(crate) async fn heard<T>(call: impl AsyncFn() -> Result<T, Status>) -> Result<T, Status> {
    loop {
        match call().await {
            Err(status) if status.code() == Code::Cancelled && status.details().is_empty() => {}
            answer => return answer,
        }
    }
}

/// The refusal of a call that must not succeed.
pub(crate) fn refusal<T>(result: Result<T, Status>) -> Refusal {
    match result {
        Ok(_) => panic!("the call succeeded"),
        Err(status) => Refusal::of(&status),
    }
}

impl Refusal {
    fn of(status: &Status) -> Self {
        let details = status.get_error_details();
        let info = details.error_info().cloned();
        Self {
            code: status.code(),
            message: status.message().to_owned(),
            reason: info
                .as_ref()
                .map(|info| info.reason.clone())
                .unwrap_or_default(),
            metadata: info.map(|info| info.metadata).unwrap_or_default(),
            fields: details
                .bad_request()
                .iter()
                .flat_map(|bad| &bad.field_violations)
                .map(|violation| violation.field.clone())
                .collect(),
            retry: details.retry_info().is_some(),
        }
    }

    /// Asserts its code and reason.
    #[track_caller]
    pub(crate) fn is(self, code: Code, reason: &str) -> Self {
        assert_eq!(
            (self.code, self.reason.as_str()),
            (code, reason),
            "{self:?}"
        );
        self
    }

    /// Asserts a value of its metadata.
    #[track_caller]
    pub(crate) fn says(self, key: &str, value: impl ToString) -> Self {
        let said = self.metadata.get(key).map(String::as_str);
        assert_eq!(said, Some(value.to_string().as_str()), "{key} of {self:?}");
        self
    }

    /// Asserts that it is an `INVALID_FIELD` that names the field.
    #[track_caller]
    pub(crate) fn blames(self, field: &str) -> Self {
        let refusal = self.is(Code::InvalidArgument, "INVALID_FIELD");
        assert_eq!(refusal.fields, [field], "{refusal:?}");
        refusal
    }

    /// Asserts that it is a `LIMIT_EXCEEDED` that names the limit, what there was, and the setting.
    #[track_caller]
    pub(crate) fn limits(self, setting: &str, limit: usize, actual: usize) -> Self {
        self.is(Code::InvalidArgument, "LIMIT_EXCEEDED")
            .says("setting", setting)
            .says("limit", limit)
            .says("actual", actual)
    }

    /// Asserts that it is a `LIMIT_EXCEEDED` of a limit of the API, which no setting moves.
    #[track_caller]
    pub(crate) fn exceeds(self, limit: usize, actual: usize) -> Self {
        let refusal = self
            .is(Code::InvalidArgument, "LIMIT_EXCEEDED")
            .says("limit", limit)
            .says("actual", actual);
        assert_eq!(refusal.metadata.get("setting"), None, "{refusal:?}");
        refusal
    }
}
