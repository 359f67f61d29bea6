//! The protocol of `BulkIngest`: what every message is answered, and what is there afterwards.

mod ending;
mod fencing;
mod idle;
mod limits;
mod offsets;
mod opening;
mod order;
