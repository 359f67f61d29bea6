use super::*;

fn parse(text: &str) -> DatabaseUrl {
    DatabaseUrl::parse(text).unwrap()
}

fn refused(text: &str) -> String {
    DatabaseUrl::parse(text).unwrap_err().to_string()
}

#[test]
fn the_url_of_the_reference_works() {
    let url = parse("postgresql://user:pass@host:5432/db?sslmode=require&channel_binding=require");
    assert_eq!(url.to_string(), "user@host:5432/db");
    assert_eq!(url.config().get_ssl_mode(), SslMode::Require);
    assert_eq!(
        url.config().get_channel_binding(),
        tokio_postgres::config::ChannelBinding::Require
    );
    assert_eq!(url.policy.verify, Verify::ChainAndName);
}

#[test]
fn verify_modes_and_root_files_are_translated_in_both_forms() {
    for text in [
        "postgres://u@h/d?sslrootcert=%2Fetc%2Fmy%20ca.pem&sslmode=verify-ca&user=v",
        r"host=h dbname=d sslrootcert='/etc/my ca.pem' user=v sslmode=verify-ca",
    ] {
        let url = parse(text);
        assert_eq!(url.config().get_ssl_mode(), SslMode::Require);
        assert_eq!(url.policy.verify, Verify::ChainOnly);
        assert_eq!(url.policy.roots, Roots::File("/etc/my ca.pem".into()));
        assert_eq!(url.user(), Some("v"));
    }
    let url = parse("postgres://u@h/d?sslmode=verify-full&sslrootcert=system");
    assert_eq!(url.policy.verify, Verify::ChainAndName);
    assert_eq!(url.policy.roots, Roots::System);
}

#[test]
fn other_parameters_go_through_unchanged() {
    let url = parse("postgres://u@h/d?options=-c%20statement_timeout%3D5s&sslmode=allow&port=6432");
    assert_eq!(url.config().get_options(), Some("-c statement_timeout=5s"));
    assert_eq!(url.config().get_ssl_mode(), SslMode::Prefer);
    let quoted = parse(r"host=h user=u password='it\'s \\ a' options='-c a=b'");
    assert_eq!(quoted.config().get_password(), Some(&br"it's \ a"[..]));
    assert_eq!(quoted.config().get_options(), Some("-c a=b"));
}

#[test]
fn sockets_never_use_tls_and_hosts_are_listed() {
    let url =
        parse("postgresql://postgres@/leadvault?host=/var/lib/lead%40vault/run&sslmode=require");
    assert_eq!(url.config().get_ssl_mode(), SslMode::Disable);
    assert_eq!(
        url.to_string(),
        "postgres@/var/lib/lead@vault/run:5432/leadvault"
    );
    assert!(url.is_loopback());
    let many = parse("postgres://u@a:1,b:2/d");
    assert_eq!(many.to_string(), "u@a:1,b:2/d");
    assert!(!many.is_loopback());
}

#[test]
fn an_at_sign_in_a_value_or_a_question_mark_in_the_password_is_no_credential() {
    let url = parse("postgres://h/d?user=me%40corp&application_name=a@b");
    assert_eq!(url.user(), Some("me@corp"));
    assert_eq!(url.config().get_application_name(), Some("a@b"));
    let url = parse("postgres://u:p?q=1@h/d?sslmode=disable");
    assert_eq!(url.config().get_password(), Some(&b"p?q=1"[..]));
    assert_eq!(url.config().get_ssl_mode(), SslMode::Disable);
}

#[test]
fn no_output_shows_the_password() {
    let url = parse("postgres://u:hunter2@h/d");
    assert!(!format!("{url:?} {url}").contains("hunter2"));
    for text in [
        "postgres://u:x@hunter2@h/d",
        "postgres://u:x/y@s@hunter2/d",
        "password=x hunter2=y host=h",
        "password=x hunter2 host=h",
        "mysql://u:hunter2@h/d",
        "postgres://u:hunter2@h/d?sslmode=nope",
        "postgres://u:hunter2@h:port/d",
        "postgres://h/d?hunter2=1",
        "hunter2",
    ] {
        assert!(
            !refused(text).contains("hunter2"),
            "{text}: {}",
            refused(text)
        );
    }
}

#[test]
fn refusals_say_what_would_be_right() {
    assert!(refused("postgres:///d").contains("names no host"));
    assert!(refused("postgres://u@h/d?sslmode=on").contains("verify-full"));
    assert!(refused("postgres://u@h/d?sslkey=x").contains("sslkey"));
    assert!(refused("").contains("postgres://"));
}
