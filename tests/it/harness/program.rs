//! Programs that a test needs and a machine may lack.

use std::{io::Write as _, path::PathBuf};

/// Where only root's `PATH` looks, and Debian keeps servers.
const OF_SERVERS: &str = "/usr/sbin";
/// Set where every program is known to be there (`.ci/run`): a test that would be skipped fails.
const SKIP_NOTHING: &str = "LEADVAULT_TESTS_SKIP_NOTHING";

/// The first of these programs that is there. Where none is, the test is skipped, and a line says which, past the
/// harness, which keeps what a test prints that passes.
pub(crate) fn program(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.push(OF_SERVERS.into());
    let mut places = names
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    let found = places.find(|place| place.is_file());
    if found.is_none() {
        say_skipped(names[0]);
    }
    found
}

/// The same, of a program that has but one place.
pub(crate) fn program_at(place: PathBuf) -> Option<PathBuf> {
    if place.is_file() {
        return Some(place);
    }
    say_skipped(&place.display().to_string());
    None
}

fn say_skipped(program: &str) {
    // A test runs on a thread of its name.
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    assert!(
        std::env::var_os(SKIP_NOTHING).is_none(),
        "{test} needs {program}, which is not on this machine"
    );
    let said = format!("SKIPPED {test}: there is no {program} on this machine\n");
    let _ = std::io::stderr().write_all(said.as_bytes());
}
