//! leadvault's command line.

/// A call makes and drops hundreds of small values; with the system's allocator that is a ninth of its cost.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    leadvault::cli::main()
}
