//! The table of roles, against the descriptors of everything that is served and against a running server: a method
//! without an entry fails here, and every method is called as every role, over TLS, with a certificate of that role.

use std::collections::BTreeSet;

use ballast_daemon::tls::{PeerIdentity, Role};
use ballast_scheduler::rpc::auth::{Caller, METHODS};
use prost::Message;
use prost_types::{FileDescriptorProto, FileDescriptorSet};
use tonic::{
    Code, Request, Status,
    client::Grpc,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

use crate::{
    certificates::{Authority, dial},
    running::{Running, soon},
};

fn served() -> BTreeSet<String> {
    let sets = [
        ballast_proto::FILE_DESCRIPTOR_SET,
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
    ];
    sets.iter().flat_map(|set| methods_of(set)).collect()
}

fn methods_of(encoded: &[u8]) -> Vec<String> {
    FileDescriptorSet::decode(encoded).unwrap().file.iter().flat_map(methods_of_file).collect()
}

fn methods_of_file(file: &FileDescriptorProto) -> Vec<String> {
    let mut methods = Vec::new();
    for service in &file.service {
        let names = service.method.iter().map(|method| method.name().to_owned());
        methods.extend(names.map(|method| format!("/{}.{}/{method}", file.package(), service.name())));
    }
    methods
}

/// What the rules are in words, written down a second time: agents link; viewers look; operators look and act.
fn expected(method: &str, role: Role) -> bool {
    let is_link = method.starts_with("/ballast.v1.AgentLink/");
    let acts = ["Migrate", "CancelMigration", "Drain", "Undrain", "SetMode", "Approve"];
    let is_act = acts.iter().any(|name| method == format!("/ballast.v1.Operator/{name}"));
    match role {
        Role::Agent => is_link,
        Role::Operator => !is_link,
        Role::Viewer => !is_link && !is_act,
        Role::Scheduler => false,
    }
}

#[test]
fn every_served_method_has_an_entry_and_every_entry_is_served() {
    let listed: BTreeSet<String> = METHODS.iter().map(|(method, _)| (*method).to_owned()).collect();
    assert_eq!(listed, served());
    assert_eq!(listed.len(), METHODS.len(), "a method stands twice in the table");
}

/// Calls a method with one empty message, which is a message of every type, and says with what its answer begins.
async fn call(channel: &Channel, method: &str) -> Result<(), Status> {
    let mut client = Grpc::new(channel.clone());
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let request = Request::new(tokio_stream::once(()));
    let answer = client.streaming(request, method.parse().unwrap(), ProstCodec::<(), ()>::default());
    soon(answer).await.map(drop)
}

/// True where the method itself answered, whatever it made of the empty message.
fn was_let_in(answer: &Result<(), Status>) -> bool {
    let at_the_gate = [Code::PermissionDenied, Code::Unauthenticated, Code::Unimplemented, Code::Unavailable];
    answer.as_ref().err().is_none_or(|status| !at_the_gate.contains(&status.code()))
}

#[tokio::test]
async fn each_role_may_call_what_the_rules_say_and_nothing_else() {
    let ours = Authority::new();
    let running = ours.scheduler().await;
    for role in Role::ALL {
        let channel = dial(&running, &ours.files(role, "kvm1")).await.unwrap();
        for method in served() {
            let answer = call(&channel, &method).await;
            assert_eq!(was_let_in(&answer), expected(&method, role), "{method} as {role:?}: {answer:?}");
            let Some(refusal) = answer.err().filter(|_| !expected(&method, role)) else { continue };
            assert_eq!(refusal.code(), Code::PermissionDenied, "{method} as {role:?}");
            let names_both = refusal.message().contains(&method) && refusal.message().contains(role.name());
            assert!(names_both, "{method} as {role:?}: {}", refusal.message());
        }
    }
}

#[tokio::test]
async fn a_certificate_that_names_no_role_may_call_nothing() {
    let ours = Authority::new();
    let running = ours.scheduler().await;
    let two = ["spiffe://ballast/viewer/bob", "spiffe://ballast/operator/bob"];
    for (stem, uris) in [("none", &[][..]), ("root", &["spiffe://ballast/root/bob"][..]), ("two", &two[..])] {
        let channel = nobody(&ours, &running, uris, stem).await;
        for method in served() {
            let refusal = call(&channel, &method).await.unwrap_err();
            assert_eq!(refusal.code(), Code::Unauthenticated, "{method} with {stem}");
            assert!(refusal.message().contains(&method), "{}", refusal.message());
        }
    }
}

/// A channel of somebody whom our own clients would not be: their certificates name nobody.
async fn nobody(ours: &Authority, running: &Running, uris: &[&str], stem: &str) -> Channel {
    use tonic::transport::{Certificate, ClientTlsConfig, Identity};

    let files = ours.files_with(uris, stem);
    let read = |path| std::fs::read(path).unwrap();
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(read(&files.ca)))
        .identity(Identity::from_pem(read(&files.cert), read(&files.key)))
        .domain_name("localhost");
    let endpoint = Endpoint::from_shared(format!("https://{}", running.address)).unwrap().tls_config(tls).unwrap();
    soon(endpoint.connect()).await.unwrap()
}

#[tokio::test]
async fn the_running_server_reflects_no_method_that_the_table_does_not_list() {
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let running = Running::start().await;
    let mut client = ServerReflectionClient::new(running.channel().await);
    let mut ask = async |question: MessageRequest| {
        let request = ServerReflectionRequest { host: String::new(), message_request: Some(question) };
        let mut answers = client.server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();
        soon(answers.message()).await.unwrap().unwrap().message_response.unwrap()
    };
    let MessageResponse::ListServicesResponse(list) = ask(MessageRequest::ListServices(String::new())).await else {
        panic!("no list of services")
    };
    let mut reflected = BTreeSet::new();
    for service in list.service {
        let question = MessageRequest::FileContainingSymbol(service.name);
        let MessageResponse::FileDescriptorResponse(files) = ask(question).await else { panic!("no file") };
        for file in files.file_descriptor_proto {
            reflected.extend(methods_of_file(&FileDescriptorProto::decode(file.as_slice()).unwrap()));
        }
    }
    let listed: BTreeSet<String> = METHODS.iter().map(|(method, _)| (*method).to_owned()).collect();
    assert!(reflected.len() > 10 && reflected.is_subset(&listed), "{reflected:?}");
}

#[test]
fn a_method_nobody_listed_is_open_to_nobody() {
    let certified = |role| Caller::Certified(PeerIdentity { role, name: "somebody".into() });
    for caller in Role::ALL.map(certified).into_iter().chain([Caller::Local]) {
        let refusal = caller.may_call("/ballast.v1.Operator/Destroy").unwrap_err();
        assert_eq!(refusal.code(), Code::Unimplemented, "{caller:?}");
    }
}
