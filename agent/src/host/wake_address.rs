//! By what a host is woken: a network packet to its hardware address, or an order to its BMC.
//!
//! Written in the host's own configuration, it travels as text in its inventory and comes back in the order to wake it.
//! The configuration and whoever wakes read it here.

use std::{fmt, net::IpAddr, str::FromStr};

use hyper::Uri;
use serde::{Serialize, Serializer};
use thiserror::Error;
use tokio_rustls::rustls::pki_types::ServerName;

/// Port of IPMI over a network (RMCP).
const IPMI_PORT: u16 = 623;
/// Port of Redfish: HTTPS.
const REDFISH_PORT: u16 = 443;

/// By what a host is woken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WakeAddress {
    /// A wake-on-LAN packet with this hardware address.
    Packet([u8; 6]),
    /// Its BMC, by IPMI over the network.
    Ipmi(BmcAddress),
    /// Its BMC, by Redfish.
    Redfish(RedfishAddress),
}

/// A BMC on the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BmcAddress {
    /// Name or address; an IPv6 address without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// A system of a BMC's Redfish service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedfishAddress {
    /// Whose service.
    pub bmc: BmcAddress,
    /// Path of the system; the only one that the service has where it is `None`.
    pub system: Option<String>,
}

/// What an address that cannot be understood should have been.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct BadAddress(&'static str);

const ANY: BadAddress =
    BadAddress("aa:bb:cc:dd:ee:ff is needed, or ipmi://HOST[:PORT], or redfish://HOST[:PORT][/redfish/v1/Systems/ID]");
const IPMI: BadAddress =
    BadAddress("ipmi://HOST[:PORT] is needed, without a path; user and password stand in the section [bmc]");
const REDFISH: BadAddress =
    BadAddress("redfish://HOST[:PORT][/redfish/v1/Systems/ID] is needed; user and password stand in the section [bmc]");

impl FromStr for WakeAddress {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        match text.split_once("://") {
            Some(("ipmi", _)) => ipmi(text).map(Self::Ipmi).ok_or(IPMI),
            Some(("redfish", _)) => text.parse().map(Self::Redfish),
            _ => hardware(text).map(Self::Packet).ok_or(ANY),
        }
    }
}

impl FromStr for RedfishAddress {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        redfish(text).ok_or(REDFISH)
    }
}

fn hardware(text: &str) -> Option<[u8; 6]> {
    let is_byte = |part: &&str| part.len() == 2 && part.bytes().all(|c| c.is_ascii_hexdigit());
    let byte = |part: &str| Some(part).filter(is_byte).and_then(|part| u8::from_str_radix(part, 16).ok());
    let bytes: Option<Vec<u8>> = text.split(':').map(byte).collect();
    bytes?.try_into().ok()
}

fn ipmi(text: &str) -> Option<BmcAddress> {
    let uri: Uri = text.parse().ok()?;
    matches!(uri.path(), "" | "/").then(|| bmc(&uri, IPMI_PORT)).flatten()
}

fn redfish(text: &str) -> Option<RedfishAddress> {
    let uri: Uri = text.parse().ok().filter(|uri: &Uri| uri.scheme_str() == Some("redfish"))?;
    let system = match uri.path() {
        "" | "/" => None,
        path if path.starts_with("/redfish/") => Some(path.to_owned()),
        _ => return None,
    };
    Some(RedfishAddress { bmc: bmc(&uri, REDFISH_PORT)?, system })
}

/// Host and port of a URL; `None` where it carries anything beside them that would be lost.
fn bmc(uri: &Uri, port: u16) -> Option<BmcAddress> {
    let authority = uri.authority()?;
    let rest = authority.as_str().strip_prefix(authority.host())?;
    let port = match rest.strip_prefix(':') {
        Some(given) => given.parse().ok().filter(|port| *port != 0)?,
        None => Some(port).filter(|_| rest.is_empty())?,
    };
    let host = authority.host().trim_matches(['[', ']']).to_owned();
    // What no certificate can be made out to is no name of a machine either.
    let is_name = ServerName::try_from(host.as_str()).is_ok();
    (is_name && uri.query().is_none()).then_some(BmcAddress { host, port })
}

impl fmt::Display for BmcAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.parse() {
            Ok(IpAddr::V6(address)) => write!(f, "[{address}]:{}", self.port),
            _ => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Display for WakeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Packet([a, b, c, d, e, g]) => write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}"),
            Self::Ipmi(bmc) => write!(f, "ipmi://{bmc}"),
            Self::Redfish(address) => address.fmt(f),
        }
    }
}

impl fmt::Display for RedfishAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "redfish://{}{}", self.bmc, self.system.as_deref().unwrap_or_default())
    }
}

impl Serialize for RedfishAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> WakeAddress {
        text.parse().unwrap_or_else(|needed| panic!("{text}: {needed}"))
    }

    fn at(host: &str, port: u16) -> BmcAddress {
        BmcAddress { host: host.to_owned(), port }
    }

    #[test]
    fn each_way_to_wake_is_told_apart_and_has_its_port() {
        assert_eq!(parsed("0a:1b:2C:3d:4e:5f"), WakeAddress::Packet([0x0a, 0x1b, 0x2c, 0x3d, 0x4e, 0x5f]));
        assert_eq!(parsed("ipmi://bmc7.example.org"), WakeAddress::Ipmi(at("bmc7.example.org", 623)));
        assert_eq!(parsed("ipmi://192.0.2.7:6230/"), WakeAddress::Ipmi(at("192.0.2.7", 6230)));
        let service =
            |bmc, system: Option<&str>| WakeAddress::Redfish(RedfishAddress { bmc, system: system.map(str::to_owned) });
        assert_eq!(parsed("redfish://bmc7"), service(at("bmc7", 443), None));
        let system = Some("/redfish/v1/Systems/1");
        assert_eq!(
            parsed("redfish://[2001:db8::7]:8443/redfish/v1/Systems/1"),
            service(at("2001:db8::7", 8443), system)
        );
    }

    #[test]
    fn what_is_no_address_is_told_what_is_needed() {
        for (text, needed) in [
            ("", ANY),
            ("aa:bb", ANY),
            ("aa:bb:cc:dd:ee:+f", ANY),
            ("http://bmc7", ANY),
            ("ipmi://", IPMI),
            ("ipmi://bmc7:0", IPMI),
            ("ipmi://bmc7:", IPMI),
            ("ipmi://bmc7:70000", IPMI),
            ("ipmi://bmc7/1", IPMI),
            ("ipmi://admin:secret@bmc7", IPMI),
            ("ipmi://-H bmc7", IPMI),
            ("redfish://admin@bmc7", REDFISH),
            ("redfish://bmc7/Systems/1", REDFISH),
            ("redfish://bmc7/redfish/v1/Systems/1?x=1", REDFISH),
        ] {
            assert_eq!(text.parse::<WakeAddress>(), Err(needed), "{text}");
        }
    }

    #[test]
    fn an_address_prints_as_it_can_be_read_again() {
        let redfish = ["redfish://[2001:db8::7]:8443/redfish/v1/Systems/1", "redfish://bmc7:443"];
        for text in redfish.into_iter().chain(["0a:1b:2c:3d:4e:5f", "ipmi://bmc7:623"]) {
            assert_eq!(parsed(text).to_string(), text);
        }
    }
}
