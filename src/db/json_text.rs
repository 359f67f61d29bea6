//! JSON text as a jsonb value, without a parse on our side.

use std::io::Write as _;

use bytes::Bytes;
use diesel::{
    expression::AsExpression,
    pg::Pg,
    serialize::{self, IsNull, Output, ToSql},
    sql_types::Jsonb,
};

/// The version byte that begins jsonb's binary form; the text follows.
const JSONB_VERSION: u8 = 1;

/// JSON text on its way into a jsonb parameter, exactly as it was sent.
#[derive(AsExpression, Clone, Debug)]
#[diesel(sql_type = Jsonb)]
pub(crate) struct JsonText(pub(crate) Bytes);

impl ToSql<Jsonb, Pg> for JsonText {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        out.write_all(&[JSONB_VERSION])?;
        out.write_all(&self.0)?;
        Ok(IsNull::No)
    }
}
