//! leadvault's command line.

fn main() -> std::process::ExitCode {
    leadvault::cli::main()
}
