//! Pages: how many, from where, and the token that leads from one to the next.
//!
//! A token is opaque to callers. It holds the key of the last item (keyset paging: nothing is missed or
//! repeated of what was committed when the listing began; rows that commit meanwhile with an earlier key are
//! missed, since ids become visible out of order), a fingerprint of the call and its filters, so that a token of another
//! call, or of other filters, is refused instead of misread, and a checksum, so that one that was cut short
//! does not lead somewhere else.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};

use super::Error;

const DEFAULT_PAGE_SIZE: i32 = 50;
const MAX_PAGE_SIZE: i32 = 1_000;
/// A page also ends once its items have this many bytes; half of what gRPC clients take by default.
const MAX_PAGE_BYTES: i64 = 2 * 1024 * 1024;
const FINGERPRINT_BYTES: usize = 12;
const CHECKSUM_BYTES: usize = 6;

/// Where a page begins and how long it may get.
#[derive(Debug)]
pub(crate) struct PageRequest<Key> {
    /// The key of the last item of the page before.
    pub(crate) after: Option<Key>,
    /// How many items at the most.
    pub(crate) size: i64,
    /// How many bytes of items end it.
    pub(crate) max_bytes: i64,
    fingerprint: Vec<u8>,
}

/// A page of items.
#[derive(Debug)]
pub(crate) struct Page<Item> {
    /// The items.
    pub(crate) items: Vec<Item>,
    /// Whether there are more.
    pub(crate) more: bool,
}

impl<Item> Page<Item> {
    /// Cuts a page of `size`. Statements ask for one row more than the page may hold, and each row says how
    /// many were found before the statement cut them by bytes.
    pub(crate) fn cut(mut items: Vec<Item>, found: impl Fn(&Item) -> i64, size: i64) -> Self {
        let length = |count: i64| usize::try_from(count).unwrap_or(usize::MAX);
        let found = items.first().map_or(0, |first| length(found(first)));
        items.truncate(length(size));
        let more = found > items.len();
        Self { items, more }
    }
}

impl<Key: Serialize + DeserializeOwned> PageRequest<Key> {
    /// Takes the paging fields out of a request; what is left of it are the filters that bind the token.
    ///
    /// # Errors
    /// As [`PageRequest::parse`].
    pub(crate) fn of<Request: prost::Message>(
        call: &str,
        request: &mut Request,
        fields: impl FnOnce(&mut Request) -> (&mut i32, &mut String),
    ) -> Result<Self, Error> {
        let (size, token) = fields(request);
        let (size, token) = (std::mem::take(size), std::mem::take(token));
        Self::parse(call, request, size, &token)
    }

    /// Reads the paging fields of a request. `call` and `filters` bind the token.
    ///
    /// # Errors
    /// [`Error::InvalidPageToken`], and [`Error::InvalidField`] for a negative size.
    pub(crate) fn parse(
        call: &str,
        filters: &impl prost::Message,
        page_size: i32,
        page_token: &str,
    ) -> Result<Self, Error> {
        let size = match page_size {
            ..0 => return Err(Error::invalid("page_size", "must not be negative")),
            0 => DEFAULT_PAGE_SIZE,
            _ => page_size.min(MAX_PAGE_SIZE),
        };
        let fingerprint = fingerprint(call, filters);
        let after = match page_token {
            "" => None,
            token => Some(open_token(token, &fingerprint)?),
        };
        Ok(Self {
            after,
            size: size.into(),
            max_bytes: MAX_PAGE_BYTES,
            fingerprint,
        })
    }

    /// The same with the limit of bytes that is set.
    pub(crate) fn within(self, max_bytes: i64) -> Self {
        Self { max_bytes, ..self }
    }

    /// The token that leads on from the item with that key.
    ///
    /// # Errors
    /// [`Error::Internal`] for a key that is no JSON, which none is.
    pub(crate) fn token(&self, last: &Key) -> Result<String, Error> {
        let mut bytes = self.fingerprint.clone();
        serde_json::to_writer(&mut bytes, last).map_err(Error::internal)?;
        let checksum = checksum(&bytes);
        bytes.extend(checksum);
        Ok(URL_SAFE_NO_PAD.encode(bytes))
    }
}

fn fingerprint(call: &str, filters: &impl prost::Message) -> Vec<u8> {
    let mut hash = Sha256::new();
    hash.update(call);
    hash.update([0]);
    hash.update(filters.encode_to_vec());
    hash.finalize()[..FINGERPRINT_BYTES].to_vec()
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let digest = Sha256::digest(bytes);
    std::array::from_fn(|at| digest[at])
}

fn open_token<Key: DeserializeOwned>(token: &str, fingerprint: &[u8]) -> Result<Key, Error> {
    const BROKEN: Error = Error::InvalidPageToken(
        "is not one that this call gave out; pass next_page_token unchanged, or leave it out",
    );
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| BROKEN)?;
    let (bytes, sum) = bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or(BROKEN)?;
    let (bound_to, key) = bytes.split_at_checked(FINGERPRINT_BYTES).ok_or(BROKEN)?;
    if checksum(bytes) != *sum {
        return Err(BROKEN);
    }
    if bound_to != fingerprint {
        return Err(Error::InvalidPageToken(
            "belongs to another call or to other filters; repeat the filters, or leave it out",
        ));
    }
    serde_json::from_slice(key).map_err(|_| BROKEN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::intake::v1::ListBatchesRequest;

    fn parse(call: &str, source: &str, token: &str) -> Result<PageRequest<i64>, Error> {
        let filters = ListBatchesRequest {
            source: source.to_owned(),
            ..Default::default()
        };
        PageRequest::parse(call, &filters, 0, token)
    }

    #[test]
    fn a_token_leads_on_only_where_it_came_from() {
        let token = parse("ListBatches", "apollo", "")
            .unwrap()
            .token(&42)
            .unwrap();
        assert_eq!(
            parse("ListBatches", "apollo", &token).unwrap().after,
            Some(42)
        );
        for (call, source, token) in [
            ("ListRawLoads", "apollo", token.as_str()),
            ("ListBatches", "apify", token.as_str()),
            ("ListBatches", "apollo", &token[..17]),
            ("ListBatches", "apollo", "?"),
        ] {
            assert!(matches!(
                parse(call, source, token),
                Err(Error::InvalidPageToken(_))
            ));
        }
    }

    #[test]
    fn sizes_are_coerced_and_negative_ones_refused() {
        let size = |page_size| {
            PageRequest::<i64>::parse("x", &ListBatchesRequest::default(), page_size, "")
                .map(|request| request.size)
        };
        assert_eq!(size(0).unwrap(), 50);
        assert_eq!(size(5_000).unwrap(), 1_000);
        assert!(size(-1).is_err());
    }
}
