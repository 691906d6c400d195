//! Where a vm of the lab is, by what libvirt and the kernel say: ballast is not asked.

use anyhow::{Context, Result};

use crate::lab::Lab;

/// What libvirt says of a vm on one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum There {
    /// It runs.
    Runs,
    /// It is there and does not run: paused, or arriving.
    StandsStill,
    /// It is shut off.
    IsDefined,
    /// Nobody knows of it there.
    IsNot,
    /// libvirtd does not answer.
    CannotBeAsked,
}

/// Ports that QEMU takes copies on, by libvirt's defaults.
const COPY_PORTS: std::ops::RangeInclusive<u16> = 49_152..=49_215;
/// The port of a libvirtd that is reached without encryption.
const LIBVIRTD_PORT: u16 = 16_509;
/// A connection that stands, in `/proc/net/tcp`.
const ESTABLISHED: &str = "01";

/// A connection of a host, as the kernel lists it.
struct Connection {
    local_port: u16,
    remote_port: u16,
    unread_bytes: usize,
}

impl Lab {
    /// What libvirt says of a vm on a host.
    pub fn place(&self, host: &str, vm: &str) -> There {
        match self.virsh(host, &["domstate", vm]) {
            Ok(state) => match state.trim() {
                "running" | "idle" | "no state" => There::Runs,
                "shut off" | "crashed" => There::IsDefined,
                _ => There::StandsStill,
            },
            Err(error) if format!("{error:#}").contains("failed to get domain") => There::IsNot,
            Err(_) => There::CannotBeAsked,
        }
    }

    /// Whether a vm is copied out of a host at this moment: QEMU closes that connection once all is over.
    ///
    /// # Errors
    /// Where the kernel's list cannot be read.
    pub fn is_copied_from(&self, host: &str) -> Result<bool> {
        Ok(self.connections(host)?.iter().any(|one| COPY_PORTS.contains(&one.remote_port)))
    }

    /// The most that waits unread for the libvirtd of a host on one connection.
    ///
    /// # Errors
    /// Where the kernel's list cannot be read.
    pub fn unread_bytes(&self, host: &str) -> Result<usize> {
        let connections = self.connections(host)?;
        let served = connections.iter().filter(|one| one.local_port == LIBVIRTD_PORT);
        Ok(served.map(|one| one.unread_bytes).max().unwrap_or(0))
    }

    fn connections(&self, host: &str) -> Result<Vec<Connection>> {
        let list = self.within(host, ["cat", "/proc/net/tcp"])?;
        list.lines().skip(1).filter_map(|line| connection(line).transpose()).collect()
    }
}

/// Number, local address, remote address, state, `tx:rx`; all in hexadecimal. `None` for one that does not stand.
fn connection(line: &str) -> Result<Option<Connection>> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [_, local, remote, state, queues, ..] = words.as_slice() else {
        anyhow::bail!("a line of /proc/net/tcp: {line}");
    };
    let port = |address: &str| -> Result<u16> {
        Ok(u16::from_str_radix(address.split_once(':').context("an address and a port")?.1, 16)?)
    };
    let unread_bytes = usize::from_str_radix(queues.split_once(':').context("two queues")?.1, 16)?;
    let connection = Connection { local_port: port(local)?, remote_port: port(remote)?, unread_bytes };
    Ok((*state == ESTABLISHED).then_some(connection))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_list_of_connections_is_read() {
        let line = "   3: 02004F0A:407D 01004F0A:C8B6 01 00000000:00000210 00:00000000 00000000     0 0 1 1 0";
        let read = connection(line).unwrap().unwrap();
        assert_eq!((read.local_port, read.remote_port, read.unread_bytes), (16_509, 51_382, 528));
        assert!(connection(&line.replace(" 01 ", " 0A ")).unwrap().is_none(), "it only listens");
    }
}
