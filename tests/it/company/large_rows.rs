//! Law 12: what is cut by its bytes reads no more large rows than it gives, and locks no more than it takes.

use leadvault::proto::{company::v1::ListCompanySlotsRequest, vault::v1::ListContactsRequest};

use super::from_vault;
use crate::harness::{App, Sql};

/// How large the rows are.
const KIB: i64 = 64;

/// Makes rows of a table, each with a large object in a column, stored beside the table and uncompressed.
async fn make(sql: &Sql, table: &str, key: &str, column: &str, count: i64) {
    sql.run(&format!(
        "ALTER TABLE {table} ALTER COLUMN {column} SET STORAGE EXTERNAL;
         INSERT INTO {table} ({key}, source, {column})
         SELECT 'a@c' || n || '.com', 'apollo', jsonb_build_object('x', repeat('x', {KIB} * 1024))
         FROM generate_series(1, {count}) AS n"
    ))
    .await;
}

/// The most blocks that are touched to read so many of them: four chunks are in each, and the index has few.
fn blocks(rows: i64) -> i64 {
    rows * (KIB / 4 + 8)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promoter_locks_and_reads_what_it_takes() {
    let app = App::start().await;
    let (first, second) = (app.sql_as_app().await, app.sql_as_app().await);
    let sql = app.sql().await;
    for (schema, key) in [("company", "domain"), ("people", "email")] {
        let table = format!("{schema}.slot");
        make(&sql, &table, key, "raw_data", 50).await;
        sql.run(&format!(
            "UPDATE {table} SET batch_id = 'b', row_offset = slot_number"
        ))
        .await;
        let ids = format!("ARRAY(SELECT id FROM {table})");
        for (ids, batch) in [("NULL", "NULL"), ("NULL", "'b'"), (ids.as_str(), "NULL")] {
            let take = format!(
                "SELECT slot_number FROM {schema}.f_take_pending({ids}, {batch}, 0, 1000, 4 * {KIB} * 1024)"
            );
            let taken = async |sql: &Sql| -> Vec<i64> {
                sql.run("BEGIN").await;
                let rows = sql.rows(&take, &[]).await;
                rows.iter().map(|row| row.get(0)).collect()
            };
            let before = sql.large_blocks(&table).await;
            assert_eq!(taken(&first).await, [1, 2, 3, 4], "{take}");
            assert_eq!(taken(&second).await, [5, 6, 7, 8], "{take}");
            first.run("ROLLBACK").await;
            second.run("ROLLBACK").await;
            for sql in [&first, &second] {
                sql.large_blocks(&table).await;
            }
            let read = sql.large_blocks(&table).await - before;
            assert!(read <= blocks(8), "{read} blocks: {take}");
        }
    }
    app.stop().await;
}

/// Both end at 200,000 bytes: with the third row.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_reads_what_it_gives() {
    let app = App::start_with(&["--max-page-bytes", "200000"]).await;
    let sql = app.sql().await;
    make(&sql, "company.slot", "domain", "raw_data", 50).await;
    make(&sql, "vault.contacts", "email", "custom_fields", 50).await;
    let slots = sql.large_blocks("company.slot").await;
    let contacts = sql.large_blocks("vault.contacts").await;

    let request = ListCompanySlotsRequest {
        page_size: 1_000,
        ..Default::default()
    };
    let page = app.company().await.list_company_slots(request).await;
    let page = page.unwrap().into_inner();
    assert_eq!(page.slots.len(), 3);
    assert_ne!(page.next_page_token, "");
    let request = ListContactsRequest {
        page_size: 1_000,
        ..Default::default()
    };
    let page = app.vault().await.list_contacts(request).await;
    let page = page.unwrap().into_inner();
    assert_eq!(page.contacts.len(), 3);
    assert_ne!(page.next_page_token, "");

    app.stop().await;
    sql.until_alone().await;
    // The row that ends a page is looked at; a contact is read again for its etag and its answer.
    let slots = sql.large_blocks("company.slot").await - slots;
    assert!(slots <= blocks(4), "{slots} blocks of slots");
    let contacts = sql.large_blocks("vault.contacts").await - contacts;
    assert!(
        contacts <= blocks(4 + 3 * 2),
        "{contacts} blocks of contacts"
    );
}

/// A chunk of 8 MiB ends after about 130 contacts, of the 600 that could have been in it.
#[tokio::test(flavor = "multi_thread")]
async fn staging_from_the_vault_reads_each_contact_once() {
    let app = App::start().await;
    let sql = app.sql().await;
    make(&sql, "vault.contacts", "email", "custom_fields", 600).await;
    let before = sql.large_blocks("vault.contacts").await;
    assert_eq!(from_vault::stage(&app, vec![]).await.staged, 600);
    app.stop().await;
    sql.until_alone().await;
    let read = sql.large_blocks("vault.contacts").await - before;
    assert!(read <= blocks(600), "{read} blocks");
}
