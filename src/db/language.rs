//! The language that PostgreSQL speaks to a login.
//!
//! The driver gives no SQLSTATE, so that faults which pass (a deadlock, a lock that was waited for too long, a server that
//! stops) are told from others by their words, which are English ones. Where they are others, such calls end with
//! INTERNAL in place of UNAVAILABLE, and are not tried again. Only a superuser may choose the language of a login
//! (`lc_messages`), and its setting does not tell it: an empty one is the language of the server's machine, and a
//! server that was built without translations speaks English whatever it says. So it is made to speak.

use tokio_postgres::SimpleQueryMessage;

use super::{
    connect,
    error::{Error, describe},
    url::DatabaseUrl,
};

/// Words that every language has its own for. An error that is caught is in no log; what is set is gone with the
/// transaction, which is one behind a pooler, too.
const SAY: &str = "
    DO $say$
    DECLARE v_said text;
    BEGIN
        PERFORM 1 / 0;
    EXCEPTION WHEN division_by_zero THEN
        GET STACKED DIAGNOSTICS v_said = MESSAGE_TEXT;
        PERFORM set_config('leadvault.said', v_said, true);
    END
    $say$;
    SELECT current_setting('leadvault.said'), current_setting('lc_messages'),
           format('ALTER ROLE %I SET lc_messages = ''C''', session_user)";
const ENGLISH: &str = "division by zero";

/// A database that speaks to its login in another language than English.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreign {
    /// Its `lc_messages`; may be empty.
    pub lc_messages: String,
    /// What a superuser runs to make it speak English to this login.
    pub mend: String,
}

impl Foreign {
    /// What it speaks, and what that does.
    #[must_use]
    pub fn detail(&self) -> String {
        format!(
            "the database does not speak English (lc_messages = '{}'): deadlocks, waits for locks and lost connections \
             cannot be told from faults, and end calls with INTERNAL in place of UNAVAILABLE",
            self.lc_messages
        )
    }
}

/// What the database says where it does not speak English.
///
/// # Errors
/// [`Error::Connect`], [`Error::Query`].
pub async fn foreign(url: &DatabaseUrl) -> Result<Option<Foreign>, Error> {
    let (client, _driver) = connect::client(url).await?;
    let failed = |detail: String| Error::Query {
        doing: "asking which language the database speaks".to_owned(),
        detail,
    };
    let answer = client.simple_query(SAY).await;
    let answer = answer.map_err(|error| failed(describe(&error)))?;
    let row = answer.into_iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let row = row.ok_or_else(|| failed("it said nothing".to_owned()))?;
    let text = |column: usize| row.get(column).unwrap_or_default().to_owned();
    Ok((text(0) != ENGLISH).then(|| Foreign {
        lc_messages: text(1),
        mend: text(2),
    }))
}

/// Says so in the log where the database does not speak English.
///
/// # Errors
/// Those of [`foreign`].
pub async fn warn_if_foreign(url: &DatabaseUrl) -> Result<(), Error> {
    if let Some(foreign) = foreign(url).await? {
        tracing::warn!(
            "{}. As a superuser run: {}; then restart the service, and let a pooler reconnect",
            foreign.detail(),
            foreign.mend
        );
    }
    Ok(())
}
