//! The wire: `ballast.v1`, its generated code, its descriptors, and checked conversions to and from core.
//!
//! What comes from the wire is checked here and nowhere else: a conversion fails with the path of the field, its value
//! and what would have been accepted.

#![forbid(unsafe_code)]

pub mod convert;

/// Generated code of `ballast.v1`.
#[allow(missing_docs, unreachable_pub, missing_debug_implementations, clippy::all, clippy::pedantic)]
// The comments of the .proto files are prose for readers of those files, not Rust documentation.
#[allow(rustdoc::invalid_html_tags, rustdoc::bare_urls, rustdoc::broken_intra_doc_links)]
pub mod v1 {
    tonic::include_proto!("ballast.v1");
}

/// Descriptors of every `.proto` file, for server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("descriptors");

/// Version of the protocol spoken in `Hello`.
pub const PROTOCOL_VERSION: u32 = 1;

/// What an agent says in `Hello` where it answers preflight questions: older ones are not asked.
pub const PREFLIGHT_CAPABILITY: &str = "preflight";
