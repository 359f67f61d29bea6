//! Law 3, no row takes another down: a frame of everything that PostgreSQL hates, among good rows.

mod any_bytes;
mod corpus;
mod hated;
mod kept;
