//! Every query of the room that is not the same for companies.

pub(in crate::people) mod enrichment;
pub(in crate::people) mod intelligence;
pub(in crate::people) mod leasing;
pub(in crate::people) mod linking;
pub(in crate::people) mod people;
pub(in crate::people) mod promotion;
