//! README's table of settings is the one that the binary prints, and the binary prints all that it reads.

use super::file;
use crate::harness::run;

const BEGIN: &str = "<!-- the output of `leadvault settings` -->\n";
const END: &str = "<!-- the end of that output -->\n";

/// After a change of a setting: `UPDATE_README=1 cargo test --test it settings`.
#[tokio::test(flavor = "multi_thread")]
async fn readme_lists_the_settings_that_the_binary_has() {
    let table = run(&["settings"]).await.ok();
    let readme = std::fs::read_to_string(file("README.md")).unwrap();
    let (before, rest) = readme.split_once(BEGIN).unwrap();
    let (listed, after) = rest.split_once(END).unwrap();
    if listed.trim() == table.trim() {
        return;
    }
    if std::env::var_os("UPDATE_README").is_some() {
        let updated = format!("{before}{BEGIN}\n{table}\n{END}{after}");
        std::fs::write(file("README.md"), updated).unwrap();
        return;
    }
    panic!(
        "README.md lists other settings than the binary has; \
         UPDATE_README=1 cargo test --test it settings writes these:\n{table}"
    );
}

/// The table is made from the same definitions as the help, but the help is made by somebody else.
#[tokio::test(flavor = "multi_thread")]
async fn the_table_has_every_flag_and_variable_of_the_help() {
    let table = run(&["settings"]).await.ok();
    let help = run(&["serve", "--help"]).await.ok();
    let words = help.split(|c: char| c.is_whitespace() || "[]=,".contains(c));
    let (mut flags, mut variables) = (0, 0);
    let mut in_options = false;
    for word in words {
        in_options |= word == "Options:";
        let cell = format!("| `{word}` |");
        if in_options && word.starts_with("--") && !["--help", "--version"].contains(&word) {
            // A flag's own line, or its mention in the words on another one.
            assert!(table.contains(&cell), "{word} is not in:\n{table}");
            flags += 1;
        }
        if word == "DATABASE_URL" || word.starts_with("LEADVAULT_") {
            assert!(table.contains(&cell), "{word} is not in:\n{table}");
            variables += 1;
        }
    }
    assert!(flags >= 25 && variables >= 25, "{help}");
    for (setting, default) in [
        ("--listen", "`127.0.0.1:50051`"),
        ("--log-json", "off"),
        ("--max-depth", "`64`"),
        ("--data-dir", "/var/lib/leadvault for root"),
    ] {
        let line = table.lines().find(|line| line.contains(setting)).unwrap();
        assert!(line.contains(&format!("| {default}")), "{line}");
    }
}
