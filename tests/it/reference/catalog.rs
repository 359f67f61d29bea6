//! What the catalog says: schemas, columns, keys, indexes, policies, names and comments.

use std::path::Path;

use super::expected::{FOREIGN_KEYS, INDEXES, TABLES, primary_key};
use crate::harness::{Sql, fresh_database};

const SCHEMAS: [(&str, &str); 7] = [
    ("intake", "Raw data ingestion and staging"),
    ("vault", "Promoted, validated contacts"),
    ("company", "Company master data"),
    ("people", "People master data"),
    ("marketing", "Campaigns and outreach"),
    ("bit", "Business Intelligence Tables"),
    ("ple", "People Lead Enrichment"),
];

/// Everything that is ours: the seven schemas, and the migrations' own table.
const OURS: &str =
    "n.nspname IN ('intake', 'vault', 'company', 'people', 'marketing', 'bit', 'ple')";

async fn database() -> Sql {
    Sql::connect(&fresh_database().await).await
}

async fn texts(sql: &Sql, query: &str) -> Vec<String> {
    let rows = sql.rows(query, &[]).await;
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_seven_schemas_are_there_and_say_what_they_are() {
    let sql = database().await;
    for (schema, meaning) in SCHEMAS {
        let comment: Option<String> = sql
            .one(
                "SELECT obj_description($1::text::regnamespace, 'pg_namespace')",
                &[&schema],
            )
            .await;
        assert_eq!(comment.as_deref(), Some(meaning), "{schema}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_column_has_its_type_and_nullability() {
    const COLUMNS: &str = "
        SELECT format('%s %s %s', a.attname,
                      CASE WHEN pg_get_expr(d.adbin, d.adrelid) LIKE 'nextval(%'
                                AND pg_get_serial_sequence($1, a.attname) IS NOT NULL THEN 'bigserial'
                           ELSE replace(format_type(a.atttypid, a.atttypmod),
                                        'timestamp with time zone', 'timestamptz') END,
                      CASE WHEN a.attnotnull THEN 'NO' ELSE 'YES' END)
        FROM pg_attribute AS a
        LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE a.attrelid = $1::text::regclass AND a.attnum > 0 AND NOT a.attisdropped";
    let sql = database().await;
    for (table, columns) in TABLES {
        let rows = sql.rows(COLUMNS, &[table]).await;
        let found: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        for column in columns.lines().map(str::trim) {
            assert!(
                found.iter().any(|f| f == column),
                "{table}: {column}; found {found:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_primary_key_is_the_first_column() {
    let sql = database().await;
    for (table, columns) in TABLES {
        let key: String = sql
            .one(
                "SELECT pg_get_constraintdef(oid) FROM pg_constraint
                 WHERE conrelid = $1::text::regclass AND contype = 'p'",
                &[table],
            )
            .await;
        assert_eq!(
            key,
            format!("PRIMARY KEY ({})", primary_key(columns)),
            "{table}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_foreign_key_is_there() {
    let sql = database().await;
    let found = texts(
        &sql,
        "SELECT format('%s %s -> %s %s', c.conrelid::regclass, a.attname, c.confrelid::regclass, f.attname)
         FROM pg_constraint AS c
         JOIN pg_attribute AS a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
         JOIN pg_attribute AS f ON f.attrelid = c.confrelid AND f.attnum = c.confkey[1]
         WHERE c.contype = 'f' AND cardinality(c.conkey) = 1 AND c.convalidated",
    )
    .await;
    for key in FOREIGN_KEYS {
        assert!(found.iter().any(|f| f == key), "{key}; found {found:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_index_has_its_name_and_definition() {
    let sql = database().await;
    for (name, definition) in INDEXES {
        let found: String = sql
            .one(
                "SELECT indexdef FROM pg_indexes WHERE indexname = $1",
                &[name],
            )
            .await;
        let (unique, on) = match definition.strip_prefix("UNIQUE ") {
            Some(on) => ("UNIQUE ", on),
            None => ("", *definition),
        };
        let (table, columns) = on.split_once(' ').unwrap();
        assert_eq!(
            found,
            format!("CREATE {unique}INDEX {name} ON {table} USING btree {columns}")
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_level_security_is_on_and_lets_everyone_select() {
    let sql = database().await;
    for table in ["intake.raw_loads", "vault.contacts"] {
        let (on, forced): (bool, bool) = {
            let rows = sql
                .rows(
                    "SELECT relrowsecurity, relforcerowsecurity FROM pg_class
                     WHERE oid = $1::text::regclass",
                    &[&table],
                )
                .await;
            (rows[0].get(0), rows[0].get(1))
        };
        assert!(on, "{table}");
        assert!(!forced, "{table}: the functions' owner must pass");
        let policies = sql
            .rows(
                "SELECT polcmd::text, polroles = '{0}', pg_get_expr(polqual, polrelid)
                 FROM pg_policy WHERE polrelid = $1::text::regclass",
                &[&table],
            )
            .await;
        assert_eq!(policies.len(), 1, "{table}");
        let (command, everyone, condition): (&str, bool, &str) =
            (policies[0].get(0), policies[0].get(1), policies[0].get(2));
        assert_eq!(
            (command, everyone, condition),
            ("r", true, "true"),
            "{table}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_have_the_printed_parameters_and_columns() {
    let sql = database().await;
    for (function, arguments, columns) in [
        (
            "intake.f_ingest_json",
            "p_rows jsonb[], p_source text, p_batch_id text",
            "TABLE(load_id bigint, status text, message text)",
        ),
        (
            "vault.f_promote_contacts",
            "p_load_ids bigint[] DEFAULT NULL::bigint[]",
            "TABLE(promoted_count bigint, updated_count bigint, failed_count bigint, message text)",
        ),
    ] {
        let rows = sql
            .rows(
                "SELECT pg_get_function_arguments(oid), pg_get_function_result(oid)
                 FROM pg_proc WHERE oid = $1::text::regproc",
                &[&function],
            )
            .await;
        let found: (&str, &str) = (rows[0].get(0), rows[0].get(1));
        assert_eq!(found, (arguments, columns), "{function}");
    }
}

/// A name that PostgreSQL made up itself stands in no migration.
#[tokio::test(flavor = "multi_thread")]
async fn every_constraint_was_named_by_us() {
    let sql = database().await;
    let written = text_below(&Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/versioned"));
    let found = texts(
        &sql,
        &format!(
            "SELECT DISTINCT c.conname::text FROM pg_constraint AS c
             JOIN pg_namespace AS n ON n.oid = c.connamespace
             WHERE {OURS} AND c.contype IN ('c', 'p', 'u', 'f', 'x')"
        ),
    )
    .await;
    assert!(found.len() > 40, "{found:?}");
    for name in found {
        let named = [' ', '\n'].map(|end| format!("CONSTRAINT {name}{end}"));
        assert!(named.iter().any(|named| written.contains(named)), "{name}");
    }
}

fn text_below(folder: &Path) -> String {
    let mut text = String::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        text += &if path.is_dir() {
            text_below(&path)
        } else {
            std::fs::read_to_string(&path).unwrap()
        };
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn every_table_column_and_function_says_what_it_is() {
    let sql = database().await;
    let silent = texts(
        &sql,
        &format!(
            "SELECT c.oid::regclass::text FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
             WHERE {OURS} AND c.relkind IN ('r', 'p', 'v', 'm') AND obj_description(c.oid, 'pg_class') IS NULL
             UNION ALL
             SELECT format('%s.%s', c.oid::regclass, a.attname)
             FROM pg_class AS c
             JOIN pg_namespace AS n ON n.oid = c.relnamespace
             JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
             WHERE {OURS} AND c.relkind IN ('r', 'p', 'v', 'm') AND col_description(c.oid, a.attnum) IS NULL
             UNION ALL
             SELECT p.oid::regprocedure::text FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
             WHERE {OURS} AND obj_description(p.oid, 'pg_proc') IS NULL"
        ),
    )
    .await;
    assert_eq!(silent, Vec::<String>::new());
}
