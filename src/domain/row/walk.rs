//! One walk over a row's values, in its own text.

use std::{borrow::Cow, fmt};

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{RejectionReason, RowLimits, RowRejection};

/// The longest number, in characters as sent.
const MAX_NUMBER_CHARS: usize = 64;
/// Exponents beyond this mean zero or infinity as a double; PostgreSQL would print them digit by digit, and
/// refuses some.
const MAX_EXPONENT: i64 = 330;
/// Where a pointer is cut: the keys of a bad row must not fill an ack.
const MAX_POINTER_BYTES: usize = 500;

/// What stands under the keys that somebody reads. Of a key that appears twice the last one counts, as in
/// jsonb.
#[derive(Debug)]
pub struct Fields<'row, const N: usize> {
    keys: &'static [&'static str; N],
    values: [Option<&'row RawValue>; N],
}

impl<'row, const N: usize> Fields<'row, N> {
    /// What stands under a key; `None` where nothing does, and for keys that nobody asked for.
    pub fn get(&self, key: &str) -> Option<&'row RawValue> {
        let index = self.keys.binary_search(&key).ok()?;
        self.values[index]
    }

    /// Refuses texts that no index can hold; other types reach none.
    pub(super) fn check_indexed_texts(
        &self,
        unindexed: &[&str],
        limits: &RowLimits,
    ) -> Result<(), RowRejection> {
        let limit = limits.max_indexed_text_bytes;
        for (key, value) in self.keys.iter().zip(self.values) {
            let bytes = value.and_then(|value| text(value).ok().flatten());
            let bytes = bytes.map_or(0, |text| text.len());
            if bytes > limit && !unindexed.contains(key) {
                return Err(RowRejection::of_field(
                    RejectionReason::TextTooLong,
                    key,
                    format!(
                        "the text has {bytes} bytes, at most {limit} are taken (setting max-indexed-text-bytes)"
                    ),
                ));
            }
        }
        Ok(())
    }

    fn note(&mut self, key: &str, value: &'row RawValue) {
        if let Ok(index) = self.keys.binary_search(&key) {
            self.values[index] = Some(value);
        }
    }
}

/// Checks every value of a row.
pub(super) fn walk_row<'row, const N: usize>(
    row: &'row RawValue,
    limits: &RowLimits,
    keys: &'static [&'static str; N],
) -> Result<Fields<'row, N>, RowRejection> {
    if !row.get().starts_with('{') {
        return Err(RowRejection::of_row(
            RejectionReason::NotAnObject,
            "the row is JSON, but not an object",
        ));
    }
    let mut walk = Walk {
        limits,
        path: Vec::new(),
        growth: 0,
    };
    let mut fields = Fields {
        keys,
        values: [None; N],
    };
    for (key, value) in walk.entries(row)? {
        fields.note(&key, value);
        walk.step(Step::Key(key), value)?;
    }
    Ok(fields)
}

enum Step<'row> {
    Key(Cow<'row, str>),
    Index(usize),
}

struct Walk<'limits, 'row> {
    limits: &'limits RowLimits,
    path: Vec<Step<'row>>,
    /// How many characters PostgreSQL prints more than were sent.
    growth: usize,
}

impl<'row> Walk<'_, 'row> {
    fn step(&mut self, step: Step<'row>, value: &'row RawValue) -> Result<(), RowRejection> {
        self.path.push(step);
        self.value(value)?;
        self.path.pop();
        Ok(())
    }

    fn value(&mut self, value: &'row RawValue) -> Result<(), RowRejection> {
        match value.get().as_bytes().first() {
            Some(b'{') => {
                self.check_depth()?;
                for (key, child) in self.entries(value)? {
                    self.step(Step::Key(key), child)?;
                }
                Ok(())
            }
            Some(b'[') => {
                self.check_depth()?;
                let Items(items) = parse(value).map_err(|_| self.unstorable_text())?;
                for (index, child) in items.into_iter().enumerate() {
                    self.step(Step::Index(index), child)?;
                }
                Ok(())
            }
            Some(b'"') => match text(value) {
                Ok(Some(text)) if !text.contains('\0') => Ok(()),
                _ => Err(self.unstorable_text()),
            },
            Some(b'-' | b'0'..=b'9') => self.number(value.get()),
            _ => Ok(()),
        }
    }

    /// The row is level 1, so a container below n steps is level n + 1.
    fn check_depth(&self) -> Result<(), RowRejection> {
        if self.path.len() < self.limits.max_depth {
            return Ok(());
        }
        Err(self.reject(
            RejectionReason::NestedTooDeeply,
            format!(
                "arrays and objects are nested more than {} deep (setting max-depth)",
                self.limits.max_depth
            ),
        ))
    }

    /// The JSON is known to be well-formed, so what fails here is the decoding of a key's text.
    fn entries(
        &self,
        object: &'row RawValue,
    ) -> Result<Vec<(Cow<'row, str>, &'row RawValue)>, RowRejection> {
        let Entries(entries) = parse(object).map_err(|_| self.unstorable_text())?;
        if entries.iter().any(|(key, _)| key.contains('\0')) {
            return Err(self.unstorable_text());
        }
        Ok(entries)
    }

    fn number(&mut self, sent: &str) -> Result<(), RowRejection> {
        let out_of_range =
            |walk: &Self, detail: String| walk.reject(RejectionReason::NumberOutOfRange, detail);
        if sent.len() > MAX_NUMBER_CHARS {
            let detail = format!(
                "the number has {} characters, at most {MAX_NUMBER_CHARS} are taken",
                sent.len()
            );
            return Err(out_of_range(self, detail));
        }
        let exponent = exponent(sent);
        let finite = sent.parse::<f64>().is_ok_and(f64::is_finite);
        if !finite || exponent.unsigned_abs() > MAX_EXPONENT.unsigned_abs() {
            let detail = "the number is not finite as a double".to_owned();
            return Err(out_of_range(self, detail));
        }
        self.growth += usize::try_from(exponent.unsigned_abs()).unwrap_or(usize::MAX);
        if self.growth > self.limits.max_row_bytes {
            return Err(RowRejection::of_row(
                RejectionReason::RowTooLarge,
                format!(
                    "written out, the row's numbers have more than {} digits (setting max-row-bytes)",
                    self.limits.max_row_bytes
                ),
            ));
        }
        Ok(())
    }

    fn unstorable_text(&self) -> RowRejection {
        self.reject(
            RejectionReason::UnstorableText,
            "the text holds U+0000 or a lone surrogate, which PostgreSQL cannot store".to_owned(),
        )
    }

    fn reject(&self, reason: RejectionReason, detail: String) -> RowRejection {
        RowRejection {
            reason,
            pointer: self.pointer(),
            detail,
        }
    }

    fn pointer(&self) -> String {
        let mut pointer = String::new();
        for step in &self.path {
            pointer.push('/');
            match step {
                Step::Key(key) => pointer.push_str(&key.replace('~', "~0").replace('/', "~1")),
                Step::Index(index) => pointer.push_str(&index.to_string()),
            }
            if pointer.len() > MAX_POINTER_BYTES {
                pointer.truncate(pointer.floor_char_boundary(MAX_POINTER_BYTES));
                break;
            }
        }
        pointer
    }
}

/// The exponent of a JSON number, saturated.
fn exponent(number: &str) -> i64 {
    let Some((_, exponent)) = number.split_once(['e', 'E']) else {
        return 0;
    };
    exponent.parse().unwrap_or(if exponent.starts_with('-') {
        i64::MIN + 1
    } else {
        i64::MAX
    })
}

/// A string's text; `None` for other types.
fn text(value: &RawValue) -> Result<Option<Cow<'_, str>>, serde_json::Error> {
    let raw = value.get();
    if !raw.starts_with('"') {
        return Ok(None);
    }
    let Text(text) = serde_json::from_str(raw)?;
    Ok(Some(text))
}

fn parse<'row, T: Deserialize<'row>>(value: &'row RawValue) -> Result<T, serde_json::Error> {
    serde_json::from_str(value.get())
}

/// A string, borrowed where it has no escapes: serde's own `Cow` always copies.
struct Text<'row>(Cow<'row, str>);

impl<'row> Deserialize<'row> for Text<'row> {
    fn deserialize<D: Deserializer<'row>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'row> Visitor<'row> for TextVisitor {
            type Value = Text<'row>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E>(self, text: &'row str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

/// An object's entries in their order, also those of repeated keys.
struct Entries<'row>(Vec<(Cow<'row, str>, &'row RawValue)>);

impl<'row> Deserialize<'row> for Entries<'row> {
    fn deserialize<D: Deserializer<'row>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntriesVisitor;
        impl<'row> Visitor<'row> for EntriesVisitor {
            type Value = Entries<'row>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'row>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some((Text(key), value)) = map.next_entry()? {
                    entries.push((key, value));
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(EntriesVisitor)
    }
}

/// An array's items.
struct Items<'row>(Vec<&'row RawValue>);

impl<'row> Deserialize<'row> for Items<'row> {
    fn deserialize<D: Deserializer<'row>>(deserializer: D) -> Result<Self, D::Error> {
        struct ItemsVisitor;
        impl<'row> Visitor<'row> for ItemsVisitor {
            type Value = Items<'row>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }
            fn visit_seq<A: SeqAccess<'row>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Items(items))
            }
        }
        deserializer.deserialize_seq(ItemsVisitor)
    }
}
