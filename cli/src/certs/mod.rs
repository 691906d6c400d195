//! `ballast certs`: a private authority and the certificates of a first install, as files, with what to copy where.
//!
//! For fleets without a public-key infrastructure of their own; whoever has one needs only the one URI per certificate,
//! `spiffe://ballast/<role>/<name>`. Nothing here asks a scheduler, and nothing is ever written over.

mod advice;
mod files;
mod issue;

use std::{io::Write, path::PathBuf, time::Duration};

use anyhow::ensure;
use ballast_daemon::{
    clock::Clock,
    tls::{PeerIdentity, Role},
};
use clap::{Args, Subcommand};

use crate::args::Output;
use files::Written;
use issue::Wish;

/// Which certificate.
#[derive(Debug, Clone, Args)]
pub struct CertsArgs {
    /// For whom.
    #[command(subcommand)]
    pub whom: Whom,
}

/// Whom a certificate is for.
#[derive(Debug, Clone, Subcommand)]
pub enum Whom {
    /// A new authority, which signs all others: ca.pem and ca.key.
    Init {
        /// The folder; made where it is missing.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// How long it lasts.
        #[arg(long, default_value_t = 3650, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=7300))]
        days: u32,
    },
    /// The scheduler. Agents and operators dial it by one of the names or addresses given here.
    Scheduler {
        /// What it is called: its host's name.
        name: String,
        /// Where, for how long, by whom.
        #[command(flatten)]
        terms: Terms,
    },
    /// The agent of a host.
    Host {
        /// The host's id: what agent.host says, which is the machine's own name where it says nothing.
        name: String,
        /// Where, for how long, by whom.
        #[command(flatten)]
        terms: Terms,
    },
    /// Somebody who may look and act.
    Operator {
        /// Who; it goes into the journal.
        name: String,
        /// Where, for how long, by whom.
        #[command(flatten)]
        terms: Terms,
    },
    /// Somebody who may look.
    Viewer {
        /// Who.
        name: String,
        /// Where, for how long, by whom.
        #[command(flatten)]
        terms: Terms,
    },
}

/// On what terms a certificate is issued.
#[derive(Debug, Clone, Args)]
pub struct Terms {
    /// The folder; made where it is missing.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Where ca.pem and ca.key are, where they are not in --out.
    #[arg(long, value_name = "DIR")]
    pub authority: Option<PathBuf>,
    /// Further DNS names and IP addresses, comma-separated or repeated.
    #[arg(long = "san", value_name = "NAME", value_delimiter = ',')]
    pub sans: Vec<String>,
    /// How long it lasts, within the authority's own time.
    #[arg(long, default_value_t = 365, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub days: u32,
}

const DAY: Duration = Duration::from_secs(86_400);

/// Makes what is asked for and says what to do with it.
///
/// # Errors
/// A name that cannot be one, a file that is there already, an authority that cannot sign.
pub fn run(args: &CertsArgs, output: Output, clock: &Clock, out: &mut dyn Write) -> anyhow::Result<()> {
    let now = clock.now();
    let (role, name, terms) = match &args.whom {
        Whom::Init { out: folder, days } => {
            let made = issue::authority(now, DAY * *days)?;
            let written = files::write(folder, "ca", &made)?;
            return tell(&written, &advice::authority(&written), output, out);
        }
        Whom::Scheduler { name, terms } => (Role::Scheduler, name, terms),
        Whom::Host { name, terms } => (Role::Agent, name, terms),
        Whom::Operator { name, terms } => (Role::Operator, name, terms),
        Whom::Viewer { name, terms } => (Role::Viewer, name, terms),
    };
    check_name(role, name)?;
    let folder = terms.authority.as_ref().unwrap_or(&terms.out);
    let authority = issue::Authority::read(folder)?;
    let identity = PeerIdentity { role, name: name.clone() };
    let wish = Wish { identity: &identity, sans: &terms.sans, from: now, lasting: DAY * terms.days };
    let made = authority.issue(&wish)?;
    let written = files::write(&terms.out, &format!("{}-{name}", role.name()), &made)?;
    tell(&written, &advice::of(&identity, &terms.sans, &folder.join("ca.pem"), &written), output, out)
}

/// A name becomes part of a URI and of a file's name.
fn check_name(role: Role, name: &str) -> anyhow::Result<()> {
    if role == Role::Agent {
        ballast_core::id::HostId::new(name)?;
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-_@".contains(c);
    let is_one = (1..=128).contains(&name.len()) && !name.starts_with(['.', '-']) && name.chars().all(plain);
    ensure!(is_one, "name {name:?}: 1 to 128 letters, digits and .-_@ are needed, of which the first is no . or -");
    Ok(())
}

fn tell(written: &Written, advice: &str, output: Output, out: &mut dyn Write) -> anyhow::Result<()> {
    match output {
        Output::Json => {
            let told = serde_json::json!({
                "cert": written.cert, "key": written.key, "valid_until": written.valid_until,
            });
            writeln!(out, "{told}")?;
        }
        Output::Table => {
            let Written { cert, key, valid_until } = written;
            writeln!(out, "wrote {} and {}, valid until {valid_until}\n\n{advice}", cert.display(), key.display())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
