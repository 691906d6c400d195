//! The demo in lines, for pipes and logs, and its closing table.

use std::{io::Write, net::SocketAddr};

use anyhow::Result;

use super::{
    DemoArgs,
    news::{Kind, News},
    report::Summary,
    stage::Stage,
};

/// Says what is about to be shown.
pub(crate) fn opening(out: &mut dyn Write, stage: &Stage, args: &DemoArgs) -> Result<()> {
    let (hosts, vms) = stage.world(|world| {
        let overview = world.overview();
        (overview.len(), overview.iter().map(|host| host.vms).sum::<usize>())
    });
    let DemoArgs { hours, seed, .. } = args;
    writeln!(out, "{hosts} hosts, {vms} vms, {hours} hours, seed {seed}; scheduler on {}", stage.address())?;
    Ok(())
}

/// One event.
pub(crate) fn line(out: &mut dyn Write, news: &News) -> Result<()> {
    writeln!(out, "{} {} {}", clock_of(news), mark(news.kind), news.text)?;
    Ok(())
}

/// Time of day, which is all that one run needs.
pub(crate) fn clock_of(news: &News) -> String {
    news.at.to_string().get(11..19).unwrap_or_default().to_owned()
}

/// A sign for the eye.
pub(crate) fn mark(kind: Kind) -> &'static str {
    match kind {
        Kind::Relief => "!",
        Kind::Decided => "-",
        Kind::Moved => "+",
        Kind::Trouble => "x",
        Kind::Power => "*",
    }
}

/// How it all ended.
pub(crate) fn summary(out: &mut dyn Write, summary: &Summary, json: bool) -> Result<()> {
    if json {
        writeln!(out, "{}", serde_json::to_string(summary)?)?;
    } else {
        writeln!(out, "\n{summary}")?;
    }
    out.flush()?;
    Ok(())
}

/// Where to turn to while the demo keeps running.
pub(crate) fn address(out: &mut dyn Write, address: SocketAddr) -> Result<()> {
    writeln!(
        out,
        "\nThe fleet goes on in real time; Ctrl-C ends it. Its scheduler is on {address}:\n  \
         ballast --scheduler http://{address} hosts\n  grpcurl -plaintext {address} ballast.v1.Operator/ListHosts"
    )?;
    out.flush()?;
    Ok(())
}
