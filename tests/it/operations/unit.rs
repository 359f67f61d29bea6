//! The unit for systemd: systemd understands all of it, and finds it closed.

use std::{path::Path, process::Command};

use super::file;
use crate::harness::{Workspace, program, run};

/// The highest exposure of a service that systemd still calls OK, times ten, is 50.
const MOST_EXPOSURE: &str = "--threshold=15";
/// The first release that judges a unit which is not installed.
const OFFLINE_SINCE: u32 = 250;

fn release_of(systemd: &Path) -> u32 {
    let output = Command::new(systemd).arg("--version").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn analyze(systemd: &Path, args: &[&str]) -> String {
    let output = Command::new(systemd).args(args).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn systemd_takes_the_unit_and_finds_it_closed() {
    let unit = std::fs::read_to_string(file("packaging/leadvault.service")).unwrap();
    let Some(systemd) = program(&["systemd-analyze"]) else {
        return;
    };
    // systemd looks whether the program is there.
    let leadvault = env!("CARGO_BIN_EXE_leadvault");
    let workspace = Workspace::new();
    let unit = workspace.file(
        "leadvault.service",
        unit.replace("/usr/local/bin/leadvault", leadvault),
    );
    // What it does not understand it ignores, says so, and ends well.
    assert_eq!(analyze(&systemd, &["verify", &unit]), "");
    if release_of(&systemd) >= OFFLINE_SINCE {
        let judge = ["security", "--offline=true", MOST_EXPOSURE, &unit];
        analyze(&systemd, &judge);
    }
}

/// A variable that nobody reads would be a setting that does nothing.
#[tokio::test(flavor = "multi_thread")]
async fn the_unit_and_readme_name_only_settings_that_there_are() {
    let mut known = run(&["settings"]).await.ok();
    for subcommand in ["load", "demo"] {
        known += &run(&[subcommand, "--help"]).await.ok();
    }
    // Of the tests, not of the service.
    known += " LEADVAULT_FUZZ_CASES LEADVAULT_FUZZ_SEED LEADVAULT_TESTS_THROUGH ";
    for name in ["packaging/leadvault.service", "README.md"] {
        let text = std::fs::read_to_string(file(name)).unwrap();
        for word in text.split(|c: char| !(c.is_ascii_uppercase() || "_0123456789".contains(c))) {
            let is_setting = word.starts_with("LEADVAULT_") && word != "LEADVAULT_";
            assert!(!is_setting || known.contains(word), "{word} in {name}");
        }
    }
}

/// The service ends by itself within its grace, its PostgreSQL within a minute, or ten seconds later; systemd must not
/// end either before.
#[test]
fn systemd_waits_longer_than_the_service_takes_to_end() {
    let unit = std::fs::read_to_string(file("packaging/leadvault.service")).unwrap();
    let wait = unit
        .lines()
        .find_map(|line| line.strip_prefix("TimeoutStopSec="))
        .unwrap();
    assert!(wait.parse::<u32>().unwrap() > 30 + 60 + 10);
}
