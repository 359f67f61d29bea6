//! Compiles `proto/` without a protoc on the machine, and keeps the descriptor set for reflection.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

const PROTOS: [&str; 7] = [
    "leadvault/type/v1/error.proto",
    "leadvault/type/v1/golden.proto",
    "leadvault/intake/v1/intake.proto",
    "leadvault/vault/v1/vault.proto",
    "leadvault/company/v1/company.proto",
    "leadvault/people/v1/people.proto",
    "leadvault/marketing/v1/marketing.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    println!("cargo::rerun-if-changed=migrations");
    let descriptors = protox::compile(PROTOS, ["proto"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(
        out.join("leadvault_descriptors.bin"),
        descriptors.encode_to_vec(),
    )?;
    tonic_prost_build::configure()
        .codec_path("crate::rpc::Codec")
        // Rows stay slices of the frame that they came in.
        .bytes(".leadvault.intake.v1.BulkIngestRequest")
        .bytes(".leadvault.intake.v1.IngestRowsRequest.json_rows")
        .bytes(".leadvault.company.v1.StageCompaniesRequest.json_rows")
        .bytes(".leadvault.people.v1.StagePeopleRequest.json_rows")
        // Its package is outside of ours, where the generated paths would not find it.
        .extern_path(
            ".google.type.Decimal",
            "crate::proto::google::r#type::Decimal",
        )
        .compile_fds(descriptors)?;
    Ok(())
}
