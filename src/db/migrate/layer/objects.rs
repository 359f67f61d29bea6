//! The objects of the function layer: listed, dropped, closed to the public.

use tokio_postgres::Transaction;

use super::super::super::error::Error;
use super::{Failure, SCHEMAS, failure};

/// A function, trigger or view.
pub(super) struct Object {
    /// Catalog and oid: `OR REPLACE` keeps it, so that what was there before is not taken for new.
    pub(super) id: String,
    /// Kind and name, as DROP wants to read them.
    pub(super) text: String,
}

/// The kinds, in the order in which they are dropped: triggers use functions, views call them.
const KINDS: [&str; 4] = ["TRIGGER ", "VIEW ", "MATERIALIZED VIEW ", "ROUTINE "];

/// Extensions' objects and the clones of a partitioned table's triggers are not dropped alone.
const LIST: &str = "
SELECT 'proc ' || p.oid,
       format('ROUTINE %I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid))
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
 WHERE n.nspname = ANY($1)
   AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass
                      AND d.objid = p.oid AND d.deptype = 'e')
UNION ALL
SELECT 'trigger ' || t.oid, format('TRIGGER %I ON %I.%I', t.tgname, n.nspname, c.relname)
  FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = ANY($1) AND NOT t.tgisinternal AND t.tgparentid = 0
UNION ALL
SELECT 'class ' || c.oid,
       format('%s %I.%I', CASE c.relkind WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'VIEW' END,
              n.nspname, c.relname)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = ANY($1) AND c.relkind IN ('v', 'm')
   AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
                      AND d.objid = c.oid AND d.deptype = 'e')
 ORDER BY 2";

/// Everything of these kinds in our schemas.
pub(super) async fn list(tx: &Transaction<'_>) -> Result<Vec<Object>, Failure> {
    let schemas: Vec<&str> = SCHEMAS.to_vec();
    let rows = tx
        .query(LIST, &[&schemas])
        .await
        .map_err(failure("listing what is there"))?;
    let object = |row: &tokio_postgres::Row| Object {
        id: row.get(0),
        text: row.get(1),
    };
    Ok(rows.iter().map(object).collect())
}

/// Drops what the last rebuild recorded. What somebody dropped by hand is not missed.
pub(super) async fn drop_recorded(tx: &Transaction<'_>) -> Result<(), Failure> {
    let row = tx
        .query_opt(
            "SELECT layer_version, objects FROM public.leadvault_function_layer FOR UPDATE",
            &[],
        )
        .await
        .map_err(failure("reading what was made"))?;
    let Some(row) = row else { return Ok(()) };
    guard_version(row.get(0))?;
    let objects: Vec<String> = row.get(1);
    for statement in drop_statements(&objects) {
        let dropped = tx.batch_execute(&statement).await;
        dropped.map_err(failure(
            "dropping the last one (what depends on it and is not leadvault's must be dropped first, \
             and can be made again afterwards)",
        ))?;
    }
    Ok(())
}

/// The caller has looked before; this looks again under the row's lock.
fn guard_version(found: i32) -> Result<(), Failure> {
    if found <= super::LAYER_VERSION {
        return Ok(());
    }
    Err(Failure {
        error: Error::BinaryTooOld {
            detail: format!("its function layer has version {found}"),
        },
        is_lock: false,
    })
}

/// Objects of a kind are dropped in one statement, so that views may use views and functions
/// functions; triggers have no such form, and need none.
fn drop_statements(objects: &[String]) -> Vec<String> {
    let mut statements = Vec::new();
    for kind in KINDS {
        let names: Vec<&str> = objects
            .iter()
            .filter_map(|o| o.strip_prefix(kind))
            .collect();
        if names.is_empty() {
            continue;
        }
        if kind == "TRIGGER " {
            statements.extend(
                names
                    .iter()
                    .map(|name| format!("DROP {kind}IF EXISTS {name}")),
            );
        } else {
            statements.push(format!("DROP {kind}IF EXISTS {}", names.join(", ")));
        }
    }
    statements
}

/// PostgreSQL lets everybody execute a new function: nobody but whom the files name may (law 5).
pub(super) async fn revoke_from_public(
    tx: &Transaction<'_>,
    objects: &[Object],
) -> Result<(), Failure> {
    let routines: Vec<&str> = objects
        .iter()
        .filter_map(|object| object.text.strip_prefix("ROUTINE "))
        .collect();
    if routines.is_empty() {
        return Ok(());
    }
    let statement = format!("REVOKE ALL ON ROUTINE {} FROM PUBLIC", routines.join(", "));
    let revoked = tx.batch_execute(&statement).await;
    revoked.map_err(failure("revoking EXECUTE from PUBLIC"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn triggers_go_first_and_functions_last() {
        let objects = [
            "ROUTINE intake.f(integer)",
            "VIEW bit.b",
            "TRIGGER t ON intake.x",
            "VIEW bit.a",
        ];
        let statements = drop_statements(&objects.map(str::to_owned));
        assert_eq!(
            statements,
            [
                "DROP TRIGGER IF EXISTS t ON intake.x",
                "DROP VIEW IF EXISTS bit.b, bit.a",
                "DROP ROUTINE IF EXISTS intake.f(integer)",
            ]
        );
        assert!(drop_statements(&[]).is_empty());
    }
}
