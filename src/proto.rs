//! What prost and tonic generate from `proto/`: messages, clients, servers, and the descriptors that
//! reflection serves. The protos hold the documentation.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::doc_markdown,
    reason = "generated code; its comments are the protos'"
)]

/// The descriptors of every service, for reflection and for tests that walk over all RPCs.
pub const DESCRIPTORS: &[u8] =
    include_bytes!(concat!(env!("OUT_DIR"), "/leadvault_descriptors.bin"));

pub mod r#type {
    pub mod v1 {
        tonic::include_proto!("leadvault.r#type.v1");
    }
}

pub mod intake {
    pub mod v1 {
        tonic::include_proto!("leadvault.intake.v1");
    }
}

pub mod vault {
    pub mod v1 {
        tonic::include_proto!("leadvault.vault.v1");
    }
}

pub mod company {
    pub mod v1 {
        tonic::include_proto!("leadvault.company.v1");
    }
}

pub mod people {
    pub mod v1 {
        tonic::include_proto!("leadvault.people.v1");
    }
}

pub mod marketing {
    pub mod v1 {
        tonic::include_proto!("leadvault.marketing.v1");
    }
}

/// What Google's common protos define; written out, since one message needs no generator.
pub mod google {
    pub mod r#type {
        /// `google.type.Decimal`: a number as text, exact.
        #[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
        pub struct Decimal {
            #[prost(string, tag = "1")]
            pub value: String,
        }
    }
}
