//! What the tables hold, beside what they must.

use leadvault::domain::row::RejectionReason as Reason;

use super::{BATCH, expected::Expected};
use crate::harness::{App, Sql};

/// Whether PostgreSQL takes a text as jsonb: a judge who knows nothing of our rules.
const JUDGE: &str = "
    CREATE FUNCTION pg_temp.takes(p_row text) RETURNS boolean LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM p_row::jsonb;
        RETURN true;
    EXCEPTION WHEN OTHERS THEN
        RETURN false;
    END $$";

/// Looks at what each frame left.
pub(super) struct Found {
    sql: Sql,
    last_load: i64,
}

impl Found {
    pub(super) async fn connect(app: &App) -> Self {
        let sql = app.sql().await;
        sql.run(JUDGE).await;
        Self { sql, last_load: 0 }
    }

    /// Each row of a frame is where its fate says, as it was sent.
    pub(super) async fn check(
        &mut self,
        first: i64,
        rows: &[Vec<u8>],
        expected: &[Expected],
        fates: &str,
    ) {
        self.check_stored(first, rows, expected, fates).await;
        self.check_rejected(first, rows, expected).await;
        self.check_verdicts(rows, expected).await;
    }

    async fn check_stored(
        &mut self,
        first: i64,
        rows: &[Vec<u8>],
        expected: &[Expected],
        fates: &str,
    ) {
        let stored = (first..).zip(rows).zip(expected).zip(fates.chars());
        let stored = stored.filter_map(|(((offset, row), expected), fate)| {
            let status = if fate == 'a' { "pending" } else { "duplicate" };
            let text = std::str::from_utf8(row).ok()?;
            Some((offset, status, expected.as_ref().ok()?.as_str(), text))
        });
        let stored: Vec<(i64, &str, &str, &str)> = stored.collect();
        let sent: Vec<&str> = stored.iter().map(|row| row.3).collect();
        // Which of the rows it is, PostgreSQL says: it knows every number to its last digit.
        let loads = self
            .sql
            .rows(
                "SELECT load_id, (metadata ->> 'offset')::bigint, status,
                        coalesce(metadata ->> 'normalized_email', raw_data ->> 'email'),
                        raw_data = ($2::text[])[row_number() OVER by_offset]::jsonb
                 FROM intake.raw_loads WHERE load_id > $1
                 WINDOW by_offset AS (ORDER BY (metadata ->> 'offset')::bigint)
                 ORDER BY (metadata ->> 'offset')::bigint",
                &[&self.last_load, &sent],
            )
            .await;
        assert_eq!(loads.len(), stored.len());
        for (load, (offset, status, email, sent)) in loads.iter().zip(stored) {
            let found: (i64, &str, &str, bool) =
                (load.get(1), load.get(2), load.get(3), load.get(4));
            assert_eq!(found, (offset, status, email, true), "{sent}");
            self.last_load = self.last_load.max(load.get(0));
        }
    }

    async fn check_rejected(&self, first: i64, rows: &[Vec<u8>], expected: &[Expected]) {
        let found = self
            .sql
            .rows(
                "SELECT row_offset, reason, pointer, original FROM intake.rejected_rows
                 WHERE batch_id = $1 AND lane = 0 AND row_offset >= $2 ORDER BY row_offset",
                &[&BATCH, &first],
            )
            .await;
        let rejected = (first..).zip(rows).zip(expected);
        let rejected = rejected.filter_map(|((offset, row), expected)| {
            let why = expected.as_ref().err()?;
            Some((offset, why.reason.as_str(), why.pointer.as_str(), &row[..]))
        });
        let found = found
            .iter()
            .map(|row| (row.get(0), row.get(1), row.get(2), row.get(3)));
        let found: Vec<(i64, &str, &str, &[u8])> = found.collect();
        assert!(found.into_iter().eq(rejected), "from row {first} on");
    }

    /// What was refused as no JSON, or as text that cannot be stored, PostgreSQL refuses too.
    async fn check_verdicts(&self, rows: &[Vec<u8>], expected: &[Expected]) {
        let refused = rows.iter().zip(expected).filter_map(|(row, expected)| {
            let reason = expected.as_ref().err()?.reason;
            let text = std::str::from_utf8(row).ok()?;
            let judged = matches!(reason, Reason::NotJson | Reason::UnstorableText);
            // A text parameter cannot even carry the character.
            (judged && !text.contains('\0')).then_some(text)
        });
        let refused: Vec<&str> = refused.collect();
        let taken = self
            .sql
            .rows(
                "SELECT row FROM unnest($1::text[]) AS row WHERE pg_temp.takes(row)",
                &[&refused],
            )
            .await;
        let taken: Vec<&str> = taken.iter().map(|row| row.get(0)).collect();
        assert!(taken.is_empty(), "refused without need: {taken:?}");
    }
}

/// Each accepted load ended, a failed one with its reason; a contact stands for each of the others.
pub(super) async fn check_promoted(app: &App, accepted: i64, failed: i64) {
    let sql = app.sql().await;
    let loads = sql
        .rows(
            "SELECT count(*) FILTER (WHERE status = 'promoted'),
                    count(*) FILTER (WHERE status = 'failed' AND metadata -> 'failure' ->> 'reason' <> ''),
                    count(*) FILTER (WHERE status NOT IN ('promoted', 'failed', 'duplicate')),
                    (SELECT count(*) FROM vault.contacts)
             FROM intake.raw_loads",
            &[],
        )
        .await;
    let counts: Vec<i64> = (0..4).map(|column| loads[0].get(column)).collect();
    let promoted = accepted - failed;
    assert_eq!(counts, [promoted, failed, 0, promoted]);
    // All that may go wrong with a row is found when it comes in.
    let reasons = sql
        .rows(
            "SELECT metadata -> 'failure' ->> 'reason', raw_data::text FROM intake.raw_loads
             WHERE status = 'failed' LIMIT 20",
            &[],
        )
        .await;
    let reasons = reasons.iter().map(|row| (row.get(0), row.get(1)));
    let unforeseen: Vec<(&str, &str)> = reasons
        .filter(|(reason, _)| *reason != "CONTACT_TOO_LARGE")
        .collect();
    assert!(unforeseen.is_empty(), "{unforeseen:?}");
}
