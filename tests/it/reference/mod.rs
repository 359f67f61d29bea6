//! The reference schema, met to the letter: what it names is there under that name and behaves as it says.

mod catalog;
mod expected;
mod queries;
mod values;
