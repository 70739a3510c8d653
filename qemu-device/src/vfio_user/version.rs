// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Negotiation (*VFIO_USER_VERSION*): JSON capabilities in, JSON capabilities out.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::memory::{MAX_DMA_MAPS, PAGE_SIZE};
use super::wire::{self, MAX_DATA_TRANSFER, MAX_MESSAGE_FDS};

/// The version of the protocol spoken here; every smaller minor version is, too.
const SPOKEN: wire::Version = wire::Version { major: 0, minor: 1 };

/// Why a proposal is no basis for a session.
#[derive(Debug, Error)]
pub enum VersionError {
    /// Another protocol.
    #[error("the client speaks protocol {}.{}, this server {}.{}", .0.major, .0.minor, SPOKEN.major, SPOKEN.minor)]
    Major(wire::Version),
    /// The version data must be a C string.
    #[error("the version data does not end in NUL")]
    NoNul,
    /// The version data is not what the specification describes.
    #[error("malformed capabilities")]
    Json(#[from] serde_json::Error),
}

/// The version data. What is not listed here the server has no use for.
#[derive(Default, Deserialize)]
struct Proposal {
    #[serde(default)]
    capabilities: Proposed,
}

#[derive(Default, Deserialize)]
struct Proposed {
    max_msg_fds: Option<u32>,
    #[serde(default)]
    write_multiple: bool,
}

#[derive(Serialize)]
struct Answer {
    capabilities: Capabilities,
}

#[derive(Serialize)]
struct Capabilities {
    max_msg_fds: u32,
    max_data_xfer_size: u32,
    pgsizes: u64,
    max_dma_maps: usize,
    write_multiple: bool,
}

/// Answers the proposal `version` with version data `data`, appending the reply's payload to `reply`.
///
/// `max_msg_fds` is never above what the client proposed: capabilities in a reply are a subset, and
/// QEMU's client refuses to connect to a server that takes more than the 16 that it can send.
/// `write_multiple` is agreed on with who proposes it: a burst of posted writes costs both ends a fifth
/// then. (QEMU 10.1 alone also sends every message through its I/O thread if so, which is slower.)
///
/// # Errors
/// The proposal is no basis for a session.
pub fn negotiate(
    version: wire::Version,
    data: &[u8],
    reply: &mut Vec<u8>,
) -> Result<(), VersionError> {
    use zerocopy::IntoBytes;

    if version.major != SPOKEN.major {
        return Err(VersionError::Major(version));
    }
    let proposal: Proposal = match data {
        [] => Proposal::default(),
        [json @ .., 0] => serde_json::from_slice(json)?,
        _ => return Err(VersionError::NoNul),
    };
    let ours = MAX_MESSAGE_FDS as u32;
    let answer = Answer {
        capabilities: Capabilities {
            max_msg_fds: proposal
                .capabilities
                .max_msg_fds
                .map_or(ours, |theirs| theirs.clamp(1, ours)),
            max_data_xfer_size: MAX_DATA_TRANSFER,
            pgsizes: PAGE_SIZE,
            max_dma_maps: MAX_DMA_MAPS,
            write_multiple: proposal.capabilities.write_multiple,
        },
    };
    let agreed = wire::Version {
        major: SPOKEN.major,
        minor: SPOKEN.minor.min(version.minor),
    };
    reply.extend_from_slice(agreed.as_bytes());
    serde_json::to_writer(&mut *reply, &answer)?;
    reply.push(0);
    Ok(())
}
