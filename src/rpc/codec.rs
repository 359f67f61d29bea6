//! How messages are read from the wire: as prost reads them, but a malformed one is the caller's mistake and
//! said so, and one of countless tiny fields is refused before it becomes countless values.

use std::{any::TypeId, marker::PhantomData};

use bytes::{Buf as _, Bytes};
use prost::encoding::{WireType, decode_key, decode_varint};
use tonic::{
    Status,
    codec::{BufferSettings, DecodeBuf, Decoder, EncodeBuf, Encoder},
};
use tonic_prost::ProstEncoder;

use super::{Error, rows};
use crate::proto::intake::v1::BulkIngestRequest;

/// The most fields of a message and of its parts together. A repeated field of two bytes each would become
/// forty times its size in memory, within any limit of bytes; no message of use comes near this.
const MAX_FIELDS: usize = 250_000;

/// The codec of every service; see the module.
#[derive(Debug)]
pub struct Codec<Sent, Received>(PhantomData<(Sent, Received)>);

impl<Sent, Received> Default for Codec<Sent, Received> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<Sent, Received> tonic::codec::Codec for Codec<Sent, Received>
where
    Sent: prost::Message + Send + 'static,
    Received: prost::Message + Default + Send + 'static,
{
    type Encode = Sent;
    type Decode = Received;
    type Encoder = CountingEncoder<Sent>;
    type Decoder = BoundedDecoder<Received>;

    fn encoder(&mut self) -> Self::Encoder {
        CountingEncoder(ProstEncoder::default())
    }

    fn decoder(&mut self) -> Self::Decoder {
        BoundedDecoder(PhantomData)
    }
}

/// Encodes messages, and counts the rows that they are about.
#[derive(Debug)]
pub struct CountingEncoder<Sent>(ProstEncoder<Sent>);

impl<Sent: prost::Message + 'static> Encoder for CountingEncoder<Sent> {
    type Item = Sent;
    type Error = Status;

    fn encode(&mut self, message: Sent, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        rows::count(&message);
        self.0.encode(message, buffer)
    }

    fn buffer_settings(&self) -> BufferSettings {
        self.0.buffer_settings()
    }
}

/// Decodes messages within [`MAX_FIELDS`].
#[derive(Debug)]
pub struct BoundedDecoder<Received>(PhantomData<Received>);

impl<Received: prost::Message + Default + 'static> Decoder for BoundedDecoder<Received> {
    type Item = Received;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Received>, Status> {
        let message = buffer.copy_to_bytes(buffer.remaining());
        let fields = count_fields::<Received>(&message);
        if fields > MAX_FIELDS {
            let detail = format!("it has more than {MAX_FIELDS} fields");
            return Err(Error::MalformedMessage(detail).into());
        }
        Received::decode(message)
            .map(Some)
            .map_err(|error| Error::MalformedMessage(error.to_string()).into())
    }
}

/// The fields of a message, and of a stream's message those of its one part, which holds the rows. The parts of
/// other messages may be a row's text, which must not be read as fields.
fn count_fields<Received: 'static>(message: &Bytes) -> usize {
    let holds_rows = TypeId::of::<Received>() == TypeId::of::<BulkIngestRequest>();
    let mut fields = 0;
    for_each_field(message, |part| {
        fields += 1;
        if holds_rows {
            for_each_field(part, |_| fields += 1);
        }
    });
    fields
}

/// Visits the fields of a message with their bytes, none for a number, up to where it is malformed.
fn for_each_field(message: &Bytes, mut visit: impl FnMut(&Bytes)) {
    let mut rest = message.clone();
    while let Ok((_, wire_type)) = decode_key(&mut rest) {
        let length = match wire_type {
            WireType::Varint if decode_varint(&mut rest).is_ok() => Some(0),
            WireType::ThirtyTwoBit => Some(4),
            WireType::SixtyFourBit => Some(8),
            WireType::LengthDelimited => decode_varint(&mut rest)
                .ok()
                .and_then(|length| usize::try_from(length).ok()),
            _ => None,
        };
        let Some(length) = length.filter(|length| *length <= rest.len()) else {
            return;
        };
        visit(&rest.split_to(length));
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::proto::intake::v1::{IngestRowsRequest, bulk_ingest_request as request};

    fn rows(count: usize) -> Bytes {
        let rows = request::Rows {
            rows: vec![request::Row::default(); count],
            ..Default::default()
        };
        BulkIngestRequest {
            message: Some(request::Message::Rows(rows)),
        }
        .encode_to_vec()
        .into()
    }

    #[test]
    fn the_rows_of_a_frame_are_counted_and_no_text_is_taken_for_fields() {
        assert_eq!(count_fields::<BulkIngestRequest>(&rows(3)), 4);
        assert_eq!(count_fields::<BulkIngestRequest>(&rows(100_000)), 100_001);
        let call = IngestRowsRequest {
            json_rows: vec![vec![b'x'; 100_000].into()],
            ..Default::default()
        };
        let message = Bytes::from(call.encode_to_vec());
        assert_eq!(count_fields::<IngestRowsRequest>(&message), 1);
    }

    #[test]
    fn a_message_that_is_none_is_counted_as_far_as_it_reads() {
        for text in [&b"{\"email\":1}"[..], &[0x0a, 0xff], b""] {
            assert_eq!(
                count_fields::<BulkIngestRequest>(&Bytes::from_static(text)),
                0
            );
        }
    }
}
