//! Which host a request may be for.
//!
//! A page of a stranger's, open in the browser of somebody at this machine, may let its own name point here (DNS
//! rebinding) and read what the port says: to the browser both are one site. The name that it asked for gives it away.
//!
//! On loopback only, where the port is for this machine: elsewhere it goes by names that only its operators know.

use axum::{
    extract::Request,
    http::{StatusCode, header::HOST, uri::Authority},
    middleware::Next,
    response::{IntoResponse as _, Response},
};

const REFUSAL: &str =
    "this port is for its own machine: ask for it as localhost or by an IP address\n";

/// Refuses requests for names that are not this machine's.
pub(super) async fn only_this_machine(request: Request, next: Next) -> Response {
    let host = request.headers().get(HOST);
    // Without the header it is no browser.
    let is_ours = host.is_none_or(|host| host.to_str().is_ok_and(is_this_machine));
    if is_ours {
        next.run(request).await
    } else {
        (StatusCode::MISDIRECTED_REQUEST, REFUSAL).into_response()
    }
}

/// Whether nobody else can have the name: an address, or what never goes to DNS.
fn is_this_machine(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else {
        return false;
    };
    let name = authority.host();
    let address = name.trim_start_matches('[').trim_end_matches(']');
    address.parse::<std::net::IpAddr>().is_ok() || name.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests {
    use super::is_this_machine;

    #[test]
    fn addresses_and_localhost_are_this_machine() {
        for ours in [
            "127.0.0.1",
            "127.0.0.1:50052",
            "[::1]:50052",
            "[::1]",
            "localhost",
            "LocalHost:50052",
        ] {
            assert!(is_this_machine(ours), "{ours}");
        }
        for strange in [
            "evil.example",
            "evil.example:50052",
            "127.0.0.1.evil.example",
            "localhost.evil.example:50052",
            "",
            "a b",
        ] {
            assert!(!is_this_machine(strange), "{strange}");
        }
    }
}
