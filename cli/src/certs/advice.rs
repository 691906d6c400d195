//! What to copy where, and which lines of which configuration put it in use.

use std::path::Path;

use ballast_daemon::tls::{PeerIdentity, Role};

use super::files::Written;

/// Where both daemons look by the example configurations.
const FOLDER: &str = "/etc/ballast/tls";

/// For a new authority.
pub(super) fn authority(written: &Written) -> String {
    let folder = written.cert.parent().unwrap_or(Path::new(".")).display();
    format!(
        "Whoever has {key} can make an operator: keep it off the fleet. Next:\n\
         \x20 ballast certs scheduler scheduler.example.org --out {folder} --san 192.0.2.1\n\
         \x20 ballast certs host kvm1 --out {folder}          for every host\n\
         \x20 ballast certs operator alice --out {folder}     for everybody who may act, viewer for who may look",
        key = written.key.display(),
    )
}

/// For the certificate of `whom`.
pub(super) fn of(whom: &PeerIdentity, sans: &[String], ca: &Path, written: &Written) -> String {
    let PeerIdentity { role, name } = whom;
    match role {
        Role::Scheduler => {
            let listen = "listen = \"0.0.0.0:7070\"";
            let config = format!("in /etc/ballast/scheduler.toml:\n  [scheduler]\n  {listen}\n{}", tls("scheduler"));
            let dialled = sans.first().unwrap_or(name);
            let check = "then `ballast-scheduler --config /etc/ballast/scheduler.toml check-config` and a restart.";
            format!(
                "{}\n{config}\n{check} Agents and operators dial https://{dialled}:7070",
                copy(name, "scheduler", ca, written)
            )
        }
        Role::Agent => {
            let agent = format!("  [agent]\n  host = \"{name}\"\n  scheduler = \"https://SCHEDULER:7070\"");
            let config = format!("in /etc/ballast/agent.toml:\n{agent}\n{}", tls("agent"));
            let check = "then `ballast-agent --config /etc/ballast/agent.toml check-config` and a restart.";
            format!("{}\n{config}\n{check}", copy(name, "agent", ca, written))
        }
        Role::Operator | Role::Viewer => format!(
            "give {name} the two and {ca}; then\n  ballast --scheduler https://SCHEDULER:7070 --ca {ca} --cert {} --key {} hosts",
            written.cert.display(),
            written.key.display(),
            ca = ca.display(),
        ),
    }
}

/// As one command from here: the group may read and nobody else, so that a renewal is taken up without a restart.
fn copy(host: &str, daemon: &str, ca: &Path, written: &Written) -> String {
    let line = |from: &Path, to: &str| {
        let from = from.display();
        format!(
            "  ssh root@{host} 'umask 077; cat > {FOLDER}/{to} && chgrp ballast {FOLDER}/{to} && chmod 640 {FOLDER}/{to}' < {from}\n"
        )
    };
    let lines = [
        line(ca, "ca.pem"),
        line(&written.cert, &format!("{daemon}.pem")),
        line(&written.key, &format!("{daemon}.key")),
    ];
    format!("copy to {FOLDER} of {host}, for example with\n{}", lines.concat())
}

fn tls(daemon: &str) -> String {
    format!(
        "  [tls]\n  ca = \"{FOLDER}/ca.pem\"\n  cert = \"{FOLDER}/{daemon}.pem\"\n  key = \"{FOLDER}/{daemon}.key\""
    )
}
