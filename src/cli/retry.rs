//! Which failures pass, and how long to wait for that.
//!
//! Guarantees: a connection or a service that goes away is waited for, for ever unless `--retry-for` ends
//! it, with growing pauses that no two loaders share; what trying again cannot change is final at once.

use std::{error::Error as _, io, time::Duration};

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use tokio::time::Instant;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::load::{Error, Progress};

const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// What to do about a failure.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It may pass: wait, then connect again.
    Passing {
        /// What happened.
        message: String,
        /// How long the service asks to wait.
        delay: Option<Duration>,
    },
    /// It will not.
    Final(Error),
}

impl Failure {
    /// A failure of the connection that has no status.
    pub(crate) fn connection(message: &str) -> Self {
        Self::Passing {
            message: message.to_owned(),
            delay: None,
        }
    }

    /// Judges what the service or the transport said when it was asked for something.
    pub(crate) fn of(what: &str, status: &Status) -> Self {
        if passes(status) {
            return Self::Passing {
                message: describe(status),
                delay: status
                    .get_details_retry_info()
                    .and_then(|info| info.retry_delay),
            };
        }
        let reason = reason(status);
        Self::Final(Error::Refused {
            what: what.to_owned(),
            code: status.code(),
            hint: tls_refusal(status)
                .map_or_else(|| hint(status.code(), reason.as_deref()), tls_hint)
                .to_owned(),
            reason: reason
                .map(|reason| format!(", {reason}"))
                .unwrap_or_default(),
            message: describe(status),
        })
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Final(error)
    }
}

/// The reason that the service gave, if it was the service that spoke.
fn reason(status: &Status) -> Option<String> {
    status.get_details_error_info().map(|info| info.reason)
}

/// Whether trying again may help.
fn passes(status: &Status) -> bool {
    let reason = reason(status);
    // A status with a source was made on this side: the connection broke, or never came about.
    if status.source().is_some() {
        return tls_refusal(status).is_none();
    }
    match status.code() {
        Code::Unavailable | Code::Cancelled | Code::DeadlineExceeded => true,
        Code::ResourceExhausted => status.get_details_retry_info().is_some(),
        // The service always says why; without a reason it was something in between that gave up.
        Code::Unknown | Code::Internal | Code::Aborted => reason.is_none(),
        // Our side of the stream was cut off on the way.
        Code::FailedPrecondition => reason.as_deref() == Some("STREAM_UNFINISHED"),
        _ => false,
    }
}

/// What TLS found wrong with the other side, or the other side with this one: no pause mends a certificate, nor a
/// side that speaks no TLS.
fn tls_refusal(status: &Status) -> Option<&rustls::Error> {
    let mut cause = status.source();
    while let Some(error) = cause {
        let io = error.downcast_ref::<io::Error>();
        let inner = io.and_then(|error| error.get_ref());
        // An io::Error passes over what it holds when it is asked for its source.
        let tls = inner.and_then(|inner| inner.downcast_ref());
        match tls.or_else(|| error.downcast_ref()) {
            Some(
                found @ (rustls::Error::InvalidCertificate(_)
                | rustls::Error::AlertReceived(_)
                | rustls::Error::InvalidMessage(_)
                | rustls::Error::PeerIncompatible(_)),
            ) => return Some(found),
            _ => cause = error.source(),
        }
    }
    None
}

/// What the operator can do about TLS that did not come about.
fn tls_hint(refusal: &rustls::Error) -> &'static str {
    match refusal {
        rustls::Error::InvalidCertificate(_) => {
            ". Give the authority of the service's certificate (--ca), and in --endpoint a name that the certificate has"
        }
        rustls::Error::AlertReceived(_) => {
            ". The service takes no such certificate: see --certificate, and the service's --tls-client-ca"
        }
        _ => ". Does the service speak TLS? Without it --endpoint begins with http://",
    }
}

/// What the operator can do about a final refusal.
fn hint(code: Code, reason: Option<&str>) -> &'static str {
    match (code, reason) {
        (_, Some("LANE_FENCED")) => {
            ". Another loader took this batch over and goes on with it; watch that one, or end it and run this command again"
        }
        (_, Some("BATCH_MISMATCH")) => {
            ". Give the same flags as before, or another --batch-id for a new batch"
        }
        (_, Some("BATCH_ABANDONED")) => ". Load the rows under another --batch-id",
        (_, Some("LIMIT_EXCEEDED")) => {
            ". The service runs with smaller limits than this loader expects; raise them there"
        }
        (_, Some("INTERNAL")) => {
            ". The service's log has the cause; the same command resumes once it is gone"
        }
        (Code::Unimplemented, _) => {
            ". Does --endpoint lead to a leadvault service of a fitting version?"
        }
        (Code::Unauthenticated, _) => ". See --token, --token-file and --certificate",
        (Code::PermissionDenied, Some("PERMISSION_DENIED")) => {
            ". Whoever runs the service gives roles, in its clients file"
        }
        (Code::PermissionDenied, _) => ". This client may not do that in that service",
        _ => "",
    }
}

/// The message of a status with the cause beneath it, which is where the system's words are.
fn describe(status: &Status) -> String {
    let mut message = status.message().to_owned();
    let mut cause = status.source();
    while let Some(error) = cause {
        let text = error.to_string();
        cause = error.source();
        if cause.is_none() && !message.contains(&text) {
            message = format!("{message}: {text}");
        }
    }
    if message.is_empty() {
        message = status.code().description().to_owned();
    }
    message
}

/// Waits out failures, longer each time, until progress is made.
pub(crate) struct Patience {
    retry_for: Option<Duration>,
    pauses: ExponentialBackoff,
    since: Option<Instant>,
}

impl Patience {
    /// Patience for an outage of the given length, or of any.
    pub(crate) fn new(retry_for: Option<Duration>) -> Self {
        Self {
            retry_for,
            pauses: pauses(),
            since: None,
        }
    }

    /// Progress was made: the next failure begins anew. True when there had been one.
    pub(crate) fn restore(&mut self) -> bool {
        if self.since.take().is_none() {
            return false;
        }
        self.pauses = pauses();
        true
    }

    /// Waits before the next attempt and says so; a final failure, or the end of patience, is returned.
    pub(crate) async fn wait(
        &mut self,
        failure: Failure,
        progress: &Progress,
    ) -> Result<(), Error> {
        let (message, delay) = match failure {
            Failure::Passing { message, delay } => (message, delay),
            Failure::Final(error) => return Err(error),
        };
        let Some(pause) = self.next_pause(delay) else {
            return Err(Error::GaveUp {
                waited: self.since.map_or(Duration::ZERO, |since| since.elapsed()),
                last: message,
            });
        };
        progress.outage(&message, pause);
        tokio::time::sleep(pause).await;
        Ok(())
    }

    /// How long to wait now; nothing when that would be too long.
    fn next_pause(&mut self, asked: Option<Duration>) -> Option<Duration> {
        let since = *self.since.get_or_insert_with(Instant::now);
        let pause = self.pauses.next().unwrap_or(LONGEST_PAUSE);
        let pause = pause.min(LONGEST_PAUSE).max(asked.unwrap_or_default());
        let in_time = |limit| since.elapsed() + pause <= limit;
        self.retry_for.is_none_or(in_time).then_some(pause)
    }
}

fn pauses() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(FIRST_PAUSE)
        .with_max_delay(LONGEST_PAUSE)
        .with_jitter()
        .without_max_times()
        .build()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tonic_types::ErrorDetails;

    use super::*;

    fn status(code: Code, reason: &str) -> Status {
        let details = ErrorDetails::with_error_info(reason, "leadvault", HashMap::new());
        Status::with_error_details(code, "message", details)
    }

    fn is_passing(status: &Status) -> bool {
        matches!(Failure::of("it", status), Failure::Passing { .. })
    }

    #[test]
    fn what_comes_and_goes_is_waited_for() {
        assert!(is_passing(&Status::unavailable("")));
        assert!(is_passing(&Status::cancelled("")));
        assert!(is_passing(&Status::internal(
            "Unexpected EOF decoding stream."
        )));
        assert!(is_passing(&status(Code::DeadlineExceeded, "STREAM_IDLE")));
        assert!(is_passing(&status(
            Code::FailedPrecondition,
            "STREAM_UNFINISHED"
        )));
        let mut broken = Status::permission_denied("");
        broken.set_source(std::sync::Arc::new(std::io::Error::other("reset")));
        assert!(is_passing(&broken));
    }

    #[test]
    fn what_stays_is_final() {
        assert!(!is_passing(&status(Code::Aborted, "LANE_FENCED")));
        assert!(!is_passing(&status(
            Code::FailedPrecondition,
            "BATCH_MISMATCH"
        )));
        assert!(!is_passing(&status(Code::Internal, "INTERNAL")));
        assert!(!is_passing(&Status::invalid_argument("")));
        assert!(!is_passing(&Status::unimplemented("")));
        assert!(!is_passing(&Status::resource_exhausted("")));
        assert!(!is_passing(&status(Code::Unauthenticated, "INVALID_TOKEN")));
        assert!(!is_passing(&status(
            Code::PermissionDenied,
            "PERMISSION_DENIED"
        )));
        let Failure::Final(error) = Failure::of("lane 0", &status(Code::Aborted, "LANE_FENCED"))
        else {
            panic!("passing");
        };
        let error = error.to_string();
        assert!(
            error.contains("LANE_FENCED") && error.contains("Another loader"),
            "{error}"
        );
    }

    #[test]
    fn a_certificate_that_is_not_trusted_stays_so() {
        let mut refused = Status::unavailable("connect");
        let cause = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        refused.set_source(std::sync::Arc::new(io::Error::other(cause)));
        let Failure::Final(error) = Failure::of("it", &refused) else {
            panic!("passing");
        };
        assert!(error.to_string().contains("--ca"), "{error}");

        let mut cut = Status::unavailable("connect");
        let cause = rustls::Error::DecryptError;
        cut.set_source(std::sync::Arc::new(io::Error::other(cause)));
        assert!(is_passing(&cut));
    }

    #[tokio::test]
    async fn the_service_says_how_long_to_wait_and_the_operator_for_how_long_at_all() {
        let mut patience = Patience::new(Some(Duration::from_secs(60)));
        let asked = Some(Duration::from_secs(30));
        assert_eq!(patience.next_pause(asked), asked);
        assert_eq!(patience.next_pause(Some(Duration::from_secs(61))), None);
        assert!(patience.restore());
        assert!(!patience.restore(), "there was no failure since");

        let details = ErrorDetails::with_retry_info(Some(Duration::from_secs(61)));
        let busy = Status::with_error_details(Code::ResourceExhausted, "busy", details);
        let failure = Failure::of("it", &busy);
        let end = patience.wait(failure, &Progress::hidden()).await;
        assert!(matches!(end, Err(Error::GaveUp { .. })));
    }

    #[test]
    fn pauses_grow_and_stay_bounded() {
        let mut patience = Patience::new(None);
        let pauses: Vec<Duration> = (0..40).filter_map(|_| patience.next_pause(None)).collect();
        assert_eq!(pauses.len(), 40);
        assert!(pauses[0] <= 2 * FIRST_PAUSE);
        assert!(pauses.iter().all(|&pause| pause <= LONGEST_PAUSE));
        assert_eq!(pauses[39], LONGEST_PAUSE);
    }
}
