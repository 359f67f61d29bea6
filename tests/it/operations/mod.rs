//! Running it for real: the settings as README lists them, backup and restore, the unit for systemd.

mod backup;
mod contents;
mod settings;
mod unit;

/// A file of the repository.
fn file(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}
