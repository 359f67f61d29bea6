//! Migrations: up, down, up again; several at once; an older binary; who may migrate and who may serve.

mod layer;
mod privileges;
mod versions;

use leadvault::db::DatabaseUrl;

use crate::harness::Sql;

fn parsed(url: &str) -> DatabaseUrl {
    DatabaseUrl::parse(url).unwrap()
}

/// Everything in our schemas, and what each function does: two databases with the same are the same.
pub(crate) async fn fingerprint(sql: &Sql) -> Vec<String> {
    let rows = sql
        .rows(
            "SELECT 'schema ' || nspname FROM pg_namespace WHERE nspname = ANY($1)
             UNION ALL
             SELECT format('%s %s %s %s', c.relkind, c.oid::regclass, c.relacl, c.relrowsecurity)
             FROM pg_class AS c WHERE c.relnamespace::regnamespace::text = ANY($1)
             UNION ALL
             SELECT format('%s.%s %s %s', c.oid::regclass, a.attname, format_type(a.atttypid, a.atttypmod),
                           a.attnotnull)
             FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
             WHERE c.relnamespace::regnamespace::text = ANY($1)
             UNION ALL
             SELECT pg_get_functiondef(p.oid) || coalesce(p.proacl::text, '') FROM pg_proc AS p
             WHERE p.pronamespace::regnamespace::text = ANY($1)
             UNION ALL
             SELECT pg_get_constraintdef(k.oid) || k.conname FROM pg_constraint AS k
             WHERE k.connamespace::regnamespace::text = ANY($1)
             UNION ALL
             SELECT pg_get_triggerdef(t.oid) FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid
             WHERE c.relnamespace::regnamespace::text = ANY($1) AND NOT t.tgisinternal
             ORDER BY 1",
            &[&["intake", "vault", "company", "people", "marketing", "bit", "ple"].as_slice()],
        )
        .await;
    rows.iter().map(|row| row.get(0)).collect()
}
