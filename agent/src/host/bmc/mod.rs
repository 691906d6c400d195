//! BMCs: the small computers beside the hosts that switch them on and measure them, by IPMI and by Redfish.
//!
//! The only thing ever ordered here is to be on, which a machine that runs does not notice. There is no code that
//! switches one off or resets it.

pub(super) mod ipmi;
mod password;
pub(super) mod redfish;

use std::path::PathBuf;

use ballast_daemon::clock::Clock;

use super::wake_address::BmcAddress;

/// As whom BMCs are spoken to, and which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BmcOptions {
    /// Their user.
    pub user: String,
    /// File that holds the password; read anew each time.
    pub password_file: PathBuf,
    /// Certificates that theirs are checked against; read anew each time. Without it there is no Redfish.
    pub ca: Option<PathBuf>,
    /// Which BMCs are given user and password: names or addresses, in which one `*` stands for anything.
    pub trusted: Vec<String>,
    /// The program that speaks IPMI, with arguments that come first.
    pub ipmitool: Vec<String>,
}

impl BmcOptions {
    /// The program that speaks IPMI where none is named.
    pub fn default_ipmitool() -> Vec<String> {
        vec!["ipmitool".to_owned()]
    }

    /// What a wake would fail by already: looked at when the agent starts, for nobody wants to learn it at night.
    ///
    /// # Errors
    /// A sentence.
    pub(super) fn check(&self) -> Result<(), String> {
        password::read(&self.password_file)?;
        self.ca.as_ref().map_or(Ok(()), |ca| redfish::check_ca(ca))
    }

    /// The password, for a BMC that may be told it.
    async fn password_for(&self, bmc: &BmcAddress, clock: &Clock) -> Result<String, String> {
        if !self.trusted.iter().any(|pattern| matches(pattern, &bmc.host)) {
            let trusted = self.trusted.join(", ");
            return Err(format!("it is not told user and password: bmc.trusted names {trusted}"));
        }
        let file = self.password_file.clone();
        clock.aside(move || password::read(&file)).await.map_err(|died| died.to_string())?
    }
}

/// Whether `name` is what `pattern` says, in which one `*` stands for anything.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.to_ascii_lowercase(), name.to_ascii_lowercase());
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, end)) => name.strip_prefix(start).is_some_and(|rest| rest.ends_with(end)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything_and_all_else_for_itself() {
        for (pattern, name, is_it) in [
            ("*", "bmc7.example.org", true),
            ("*.bmc.example.org", "KVM7.bmc.example.org", true),
            ("*.bmc.example.org", "bmc.example.org.evil.example", false),
            ("192.0.2.*", "192.0.2.7", true),
            ("192.0.2.*", "192.0.20.7", false),
            ("bmc7", "bmc7", true),
            ("bmc7", "bmc70", false),
            ("ab*ba", "aba", false),
        ] {
            assert_eq!(matches(pattern, name), is_it, "{pattern} {name}");
        }
    }

    #[tokio::test]
    async fn a_bmc_that_is_not_trusted_is_not_told_the_password() {
        let options = BmcOptions {
            user: "waker".to_owned(),
            password_file: "/nowhere".into(),
            ca: None,
            trusted: vec!["*.bmc.example.org".to_owned()],
            ipmitool: BmcOptions::default_ipmitool(),
        };
        let bmc = |host: &str| BmcAddress { host: host.to_owned(), port: 623 };
        let clock = Clock::system();
        let refused = options.password_for(&bmc("evil.example"), &clock).await.unwrap_err();
        assert!(refused.contains("*.bmc.example.org"), "{refused}");
        let asked = options.password_for(&bmc("kvm7.bmc.example.org"), &clock).await.unwrap_err();
        assert!(asked.contains("/nowhere"), "{asked}");
    }
}
