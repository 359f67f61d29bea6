//! What the tables take: documented defaults, lists of allowed values, ranges, unique keys.

use super::expected::{LISTS, MINIMAL_ROWS};
use crate::harness::{Sql, fresh_database};

/// A database with one row in each table of the reference.
async fn filled() -> Sql {
    let sql = Sql::connect(&fresh_database().await).await;
    sql.run(MINIMAL_ROWS).await;
    sql
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_out_gets_the_documented_default() {
    let sql = filled().await;
    for (question, answer) in [
        ("SELECT tags::text FROM vault.contacts", "[]"),
        ("SELECT custom_fields::text FROM vault.contacts", "{}"),
        ("SELECT score::text FROM vault.contacts", "0.00"),
        ("SELECT status FROM vault.contacts", "active"),
        ("SELECT status FROM intake.raw_loads", "pending"),
        ("SELECT metadata::text FROM intake.raw_loads", "{}"),
        ("SELECT sent_count::text FROM marketing.campaigns", "0"),
        ("SELECT response_count::text FROM marketing.campaigns", "0"),
        (
            "SELECT (stale_at - fetched_at)::text FROM people.intelligence",
            "30 days",
        ),
    ] {
        let found: String = sql.one(question, &[]).await;
        assert_eq!(found, answer, "{question}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn statuses_and_types_take_their_list_and_nothing_else() {
    let sql = filled().await;
    for (table, column, values) in LISTS {
        for value in *values {
            let update = format!("UPDATE {table} SET {column} = '{value}'");
            assert_eq!(sql.touched(&update).await, 1, "{update}");
        }
        let name = table.split_once('.').unwrap().1;
        for other in ["", "unknown", &values[0].to_uppercase(), " pending"] {
            let refusal = sql
                .refused(&format!("UPDATE {table} SET {column} = '{other}'"))
                .await;
            assert!(
                refusal.contains(&format!("check constraint \"{name}_{column}_check\"")),
                "{table}.{column} = {other:?}: {refusal}"
            );
        }
        let refusal = sql
            .refused(&format!("UPDATE {table} SET {column} = NULL"))
            .await;
        assert!(refusal.contains("not-null constraint"), "{refusal}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_score_is_a_number_from_0_to_100() {
    let sql = filled().await;
    for score in ["0", "100", "99.99"] {
        let update = format!("UPDATE vault.contacts SET score = {score}");
        assert_eq!(sql.touched(&update).await, 1, "{score}");
    }
    for score in ["-0.01", "100.01", "'NaN'"] {
        let refusal = sql
            .refused(&format!("UPDATE vault.contacts SET score = {score}"))
            .await;
        assert!(
            refusal.contains("contacts_score_check"),
            "{score}: {refusal}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_are_an_array_and_custom_fields_an_object() {
    let sql = filled().await;
    for (column, value) in [("tags", "{}"), ("tags", "\"vip\""), ("custom_fields", "[]")] {
        let update = format!("UPDATE vault.contacts SET {column} = '{value}'");
        let refusal = sql.refused(&update).await;
        assert!(
            refusal.contains(&format!("contacts_{column}_check")),
            "{refusal}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn emails_and_domains_are_unique() {
    let sql = filled().await;
    for (insert, index) in [
        (
            "INSERT INTO vault.contacts (email, source) VALUES ('john@example.com', 'apify')",
            "idx_contacts_email",
        ),
        (
            "INSERT INTO people.master (email) VALUES ('john@example.com')",
            "idx_people_email",
        ),
        (
            "INSERT INTO company.master (domain) VALUES ('example.com')",
            "idx_company_domain",
        ),
    ] {
        let refusal = sql.refused(insert).await;
        assert!(refusal.contains(index), "{refusal}");
    }
}
