//! The two ways in agree: on ASCII, `intake.f_normalize_email` and `Email::parse` take the same addresses and
//! normalize them alike. Only domains in Punycode are left to the service.

use leadvault::domain::Email;
use proptest::{
    prelude::*,
    test_runner::{Config, TestCaseError, TestRunner},
};

use crate::harness::{Sql, fresh_database};

/// Holds the two ways against each other; the first disagreement, if there is one.
async fn disagreement(sql: &Sql, sent: &[String]) -> Option<String> {
    let rows = sql
        .rows(
            "SELECT n.email, n.detail
             FROM unnest($1::text[]) WITH ORDINALITY AS s (sent, nth)
             CROSS JOIN LATERAL intake.f_normalize_email(s.sent) AS n
             ORDER BY s.nth",
            &[&sent],
        )
        .await;
    assert_eq!(rows.len(), sent.len());
    sent.iter().zip(&rows).find_map(|(sent, row)| {
        let (by_sql, detail): (Option<&str>, Option<&str>) = (row.get(0), row.get(1));
        let by_service = Email::parse(sent);
        let agree = match (&by_service, by_sql, detail) {
            (Ok(email), Some(by_sql), None) => email.as_str() == by_sql,
            (Ok(email), None, Some(detail)) => is_punycode(email) && detail.contains("Punycode"),
            (Err(_), None, Some(_)) => true,
            _ => false,
        };
        (!agree).then(|| {
            format!("{sent:?}: the service says {by_service:?}, SQL says {by_sql:?}, {detail:?}")
        })
    })
}

fn is_punycode(email: &Email) -> bool {
    let (_, domain) = email.as_str().rsplit_once('@').unwrap();
    domain.split('.').any(|label| label.starts_with("xn--"))
}

/// Local parts and domains at and beyond every rule's edge; the corpus is all pairs of them.
fn corpus() -> Vec<String> {
    let local_parts = [
        "john".to_owned(),
        "John.DOE+tag".to_owned(),
        "!#$%&'*+/=?^_`{|}~-".to_owned(),
        "a..b".to_owned(),
        ".a".to_owned(),
        "a.".to_owned(),
        "a b".to_owned(),
        "\"Q q\"".to_owned(),
        r#""a\"b""#.to_owned(),
        r#""a\""#.to_owned(),
        "\"\"".to_owned(),
        "\"".to_owned(),
        "\"a\u{7}b\"".to_owned(),
        "\"a@b\"".to_owned(),
        "a@b".to_owned(),
        String::new(),
        "x".repeat(64),
        "x".repeat(65),
        "(comment)a".to_owned(),
        "a\u{1c}".to_owned(),
    ];
    let labels = |count: usize, length: usize| vec!["d".repeat(length); count].join(".");
    let domains = [
        "example.com".to_owned(),
        "EXAMPLE.Com".to_owned(),
        "localhost".to_owned(),
        "a..b".to_owned(),
        "example.com.".to_owned(),
        ".example.com".to_owned(),
        "-a.example".to_owned(),
        "a-.example".to_owned(),
        "a--b.example".to_owned(),
        "r3--sn.example".to_owned(),
        "a_b.example".to_owned(),
        "a_.example".to_owned(),
        "_a.example".to_owned(),
        "1.2".to_owned(),
        "192.0.2.1".to_owned(),
        "[192.0.2.1]".to_owned(),
        "xn--bcher-kva.example".to_owned(),
        "XN--BCHER-KVA.example".to_owned(),
        "xn--.example".to_owned(),
        "a.xn--a".to_owned(),
        String::new(),
        labels(2, 63),
        labels(2, 64),
        labels(4, 62),
        labels(4, 63),
        format!("{}.de", labels(3, 60)),
        "exa mple.com".to_owned(),
        "a/b.example".to_owned(),
    ];
    let mut corpus: Vec<String> = local_parts
        .iter()
        .flat_map(|local| {
            domains
                .iter()
                .map(move |domain| format!("{local}@{domain}"))
        })
        .collect();
    for around in [
        " ", "\t", "\r\n", "\u{b}", "\u{c}", "\u{1c}", "\u{1f}", "\u{7f}", "<", "\"",
    ] {
        corpus.push(format!("{around}john@example.com{around}"));
        corpus.push(format!("john@example.com{around}"));
        corpus.push(around.to_owned());
    }
    // 254 bytes normalized, 320 as sent.
    for domain in 185..=190 {
        let domain = format!("{}.{}", labels(2, 61), "e".repeat(domain - 124));
        corpus.push(format!("{}@{domain}", "x".repeat(64)));
    }
    for spaces in [302, 303, 304, 305] {
        corpus.push(format!("{}john@example.com", " ".repeat(spaces)));
    }
    corpus.extend(["", "@", "@@", "john", "John <john@example.com>"].map(str::to_owned));
    corpus
}

#[tokio::test(flavor = "multi_thread")]
async fn the_two_ways_agree_on_a_corpus() {
    let sql = Sql::connect(&fresh_database().await).await;
    let corpus = corpus();
    assert_eq!(disagreement(&sql, &corpus).await, None);
    // The corpus tries both sides.
    let taken = corpus
        .iter()
        .filter(|sent| Email::parse(sent).is_ok())
        .count();
    assert!(
        taken > 40 && corpus.len() - taken > 200,
        "{taken} of {}",
        corpus.len()
    );
}

/// ASCII texts that look like addresses, most of them nearly right.
fn address() -> impl Strategy<Value = String> {
    let local = prop_oneof![
        4 => "[a-zA-Z0-9]{1,8}([.+_-][a-z0-9]{1,4}){0,2}",
        2 => "[a-zA-Z0-9.!#$%&'*+/=?^_`{|}~-]{0,12}",
        2 => "\"([ !#-~\t]|\\\\[ -~]){0,8}\"",
        1 => "[\x01-\x7f]{0,6}",
        1 => "[a-z]{62,66}",
    ];
    let label = prop_oneof![
        6 => "[a-zA-Z0-9]{1,6}",
        2 => "[a-z0-9-]{0,6}",
        1 => "[a-z0-9]{60,64}",
        1 => "[xX][nN]--[a-z0-9-]{0,8}",
        1 => "[\x01-\x7f]{0,3}",
    ];
    let domain = prop::collection::vec(label, 1..5).prop_map(|labels| labels.join("."));
    let around = prop_oneof![6 => "", 1 => "[ \t\r\n\x0b\x0c]{1,3}", 1 => "[\x01-\x20\x7f]", 1 => " {50,70}"];
    let separator = prop_oneof![12 => Just("@"), 1 => Just(""), 1 => Just("@@")];
    (around.clone(), local, separator, domain, around).prop_map(
        |(before, local, at, domain, after)| format!("{before}{local}{at}{domain}{after}"),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_two_ways_agree_on_whatever_looks_like_an_address() {
    let sql = Sql::connect(&fresh_database().await).await;
    let config = Config {
        cases: 8,
        failure_persistence: None,
        ..Config::default()
    };
    let texts = prop::collection::vec(address(), 1_000);
    let tried = TestRunner::new(config).run(&texts, |texts| {
        let found = tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(disagreement(&sql, &texts))
        });
        found.map_or(Ok(()), |found| Err(TestCaseError::fail(found)))
    });
    // The failure's own text repeats a thousand addresses; its reason names the one.
    if let Err(proptest::test_runner::TestError::Fail(reason, _)) = &tried {
        panic!("{reason}");
    }
    tried.unwrap();
}
