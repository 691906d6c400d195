//! A client that is not ours: the README's grpcurl examples, read from the README and replayed.

use std::process::Command;

use ballast_core::decision::Mode;
use ballast_tests::{
    fleet::{SimFleet, vm},
    grpc::python,
    sources,
};

/// One example: its arguments without the program and the address.
#[derive(Debug)]
struct Example {
    arguments: Vec<String>,
    streams: bool,
}

/// Splits a command line as a shell does, as far as the README needs it: spaces and single quotes.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            c => words.last_mut().unwrap().push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

fn examples() -> Vec<Example> {
    let readme = std::fs::read_to_string(sources::root().join("README.md")).unwrap();
    let lines = readme.lines().filter_map(|line| line.trim().strip_prefix("grpcurl "));
    let example = |line: &str| {
        let arguments: Vec<String> = words(line).into_iter().filter(|word| !word.starts_with("127.0.0.1:")).collect();
        let streams = arguments.last().is_some_and(|method| method.contains("/Watch"));
        Example { arguments, streams }
    };
    lines.map(example).collect()
}

/// Runs gcurl.py against the fleet.
async fn gcurl(fleet: &SimFleet, python: &str, example: &Example) -> Result<String, String> {
    let (what, options) = example.arguments.split_last().unwrap();
    let mut command = Command::new(python);
    command.arg(sources::root().join("tests/grpc/gcurl.py")).args(options);
    if example.streams {
        command.args(["-max", "1"]);
    }
    command.arg(fleet.scheduler.authority()).arg(what);
    // The fleet's time stands still meanwhile: a migration begun by one example is still there for the next.
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(said(&output.stdout)) } else { Err(said(&output.stderr)) }
}

#[tokio::test]
async fn the_examples_of_the_readme_work_as_they_stand() {
    let Some(python) = python("grpc::the_examples_of_the_readme_work_as_they_stand") else { return };
    let fleet = SimFleet::start(Mode::Recommend, 3, &[vm("web-1", 0, 0.5), vm("db", 2, 0.5)]).await.unwrap();
    fleet.trusted().await.unwrap();
    let examples = examples();
    assert!(examples.len() >= 4, "the README shows {} examples", examples.len());
    for example in &examples {
        let said = gcurl(&fleet, &python, example).await;
        println!("{example:?}\n{said:?}");
        assert!(said.is_ok(), "{example:?}: {said:?}");
    }
    assert!(
        fleet.until(600, |fleet| fleet.runs_on("web-1") == ["kvm2"]).await,
        "the README's migration did not happen"
    );
}

#[tokio::test]
async fn both_reflections_and_health_are_listed() {
    let Some(python) = python("grpc::both_reflections_and_health_are_listed") else { return };
    let fleet = SimFleet::start(Mode::Off, 1, &[]).await.unwrap();
    let list = Example { arguments: vec!["-plaintext".into(), "list".into()], streams: false };
    let services = gcurl(&fleet, &python, &list).await.unwrap();
    for service in ["ballast.v1.Operator", "ballast.v1.AgentLink", "grpc.health.v1.Health", "grpc.reflection.v1"] {
        assert!(services.contains(service), "{service} is not in {services}");
    }
}

#[tokio::test]
async fn an_error_reaches_a_foreign_client_with_code_and_words() {
    let Some(python) = python("grpc::an_error_reaches_a_foreign_client_with_code_and_words") else { return };
    let fleet = SimFleet::start(Mode::Off, 1, &[]).await.unwrap();
    let wish = "{\"vm\": \"nobody\", \"host\": \"kvm1\"}";
    let arguments = ["-plaintext", "-d", wish, "ballast.v1.Operator/Migrate"].map(str::to_owned).into();
    let error = gcurl(&fleet, &python, &Example { arguments, streams: false }).await.unwrap_err();
    assert!(error.starts_with("NOT_FOUND: ") && error.contains("nobody"), "{error}");
}
