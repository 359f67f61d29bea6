//! leadvault's command line.

fn main() {}
