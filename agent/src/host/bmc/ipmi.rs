//! Switching a host on by IPMI over the network, through the site's `ipmitool`.

use std::time::Duration;

use ballast_daemon::clock::Clock;

use super::BmcOptions;
use crate::host::{command, wake_address::BmcAddress};

/// IPMI 2.0 has room for no longer password.
const LONGEST_PASSWORD: usize = 20;

/// Switches the host of this BMC on; one that is on does not notice.
///
/// # Errors
/// A sentence, without the password.
pub(in crate::host) async fn power_on(
    options: &BmcOptions,
    bmc: &BmcAddress,
    deadline: Duration,
    clock: &Clock,
) -> Result<(), String> {
    // `ipmitool` reads the file by itself: arguments are for everybody on the machine to see.
    let password = options.password_for(bmc, clock).await?;
    if password.len() > LONGEST_PASSWORD {
        let file = options.password_file.display();
        return Err(format!(
            "the password in {file} is longer than the {LONGEST_PASSWORD} bytes that IPMI has room for"
        ));
    }
    command::run(&program(options, bmc), deadline, clock).await.map(drop)
}

fn program(options: &BmcOptions, bmc: &BmcAddress) -> Vec<String> {
    let port = bmc.port.to_string();
    let file = options.password_file.to_string_lossy();
    // The least level that may switch on: a user who has no more is enough.
    let to = ["-I", "lanplus", "-L", "OPERATOR", "-H", &bmc.host, "-p", &port, "-U", &options.user, "-f", &file];
    let arguments = to.iter().chain(&["chassis", "power", "on"]);
    options.ipmitool.iter().cloned().chain(arguments.map(|word| (*word).to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(password_file: &std::path::Path) -> BmcOptions {
        BmcOptions {
            user: "waker".to_owned(),
            password_file: password_file.to_owned(),
            ca: None,
            trusted: vec!["*".to_owned()],
            ipmitool: vec!["echo".to_owned()],
        }
    }

    #[test]
    fn the_password_is_named_by_its_file_and_nothing_but_on_is_ordered() {
        let bmc = BmcAddress { host: "2001:db8::7".to_owned(), port: 623 };
        let words = program(&options("/etc/ballast/bmc.password".as_ref()), &bmc).join(" ");
        let expected = "echo -I lanplus -L OPERATOR -H 2001:db8::7 -p 623 -U waker -f /etc/ballast/bmc.password \
                        chassis power on";
        assert_eq!(words, expected);
    }

    #[tokio::test]
    async fn a_password_too_long_for_ipmi_is_told_before_anything_is_sent() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, "x".repeat(21)).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let bmc = BmcAddress { host: "192.0.2.7".to_owned(), port: 623 };
        let on = power_on(&options(&path), &bmc, Duration::from_secs(5), &Clock::system()).await;
        assert!(on.unwrap_err().contains("20 bytes"));
    }
}
