//! All that a database of ours holds, so that two can be compared.

use std::collections::BTreeMap;

use crate::harness::Sql;

/// Every table of ours, and the two of the migrations.
const TABLES: &str = "
    SELECT c.oid::regclass::text FROM pg_class AS c
    WHERE c.relkind = 'r' AND c.relnamespace::regnamespace::text
          IN ('intake', 'vault', 'company', 'people', 'marketing', 'bit', 'ple', 'public')";

const SEQUENCES: &str = "
    SELECT schemaname || '.' || sequencename, coalesce(last_value, 0)::text FROM pg_sequences";

/// Of each table how many rows and their hash, of each sequence where it stands.
pub(super) async fn contents(sql: &Sql) -> BTreeMap<String, (i64, String)> {
    let mut contents = BTreeMap::new();
    for table in sql.rows(TABLES, &[]).await {
        let table: String = table.get(0);
        let query = format!(
            "SELECT count(*), coalesce(md5(string_agg(t::text, E'\\n' ORDER BY t::text)), '') FROM {table} AS t"
        );
        let row = &sql.rows(&query, &[]).await[0];
        contents.insert(table, (row.get(0), row.get(1)));
    }
    for sequence in sql.rows(SEQUENCES, &[]).await {
        contents.insert(sequence.get(0), (0, sequence.get(1)));
    }
    contents
}
