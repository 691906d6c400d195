//! The table of roles, against the descriptors of everything that is served: a method without an entry fails here.

use std::collections::BTreeSet;

use ballast_daemon::tls::{PeerIdentity, Role};
use ballast_scheduler::rpc::auth::{Caller, METHODS};
use prost::Message;
use prost_types::FileDescriptorSet;
use tonic::Code;

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
    let mut methods = Vec::new();
    for file in FileDescriptorSet::decode(encoded).unwrap().file {
        for service in &file.service {
            let names = service.method.iter().map(|method| method.name().to_owned());
            methods.extend(names.map(|method| format!("/{}.{}/{method}", file.package(), service.name())));
        }
    }
    methods
}

fn caller(role: Role) -> Caller {
    Caller::Certified(PeerIdentity { role, name: "somebody".into() })
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

#[test]
fn each_role_may_call_what_the_rules_say_and_nothing_else() {
    for method in served() {
        for role in Role::ALL {
            let answer = caller(role).may_call(&method);
            assert_eq!(answer.is_ok(), expected(&method, role), "{method} as {role:?}");
            assert!(answer.err().is_none_or(|status| status.code() == Code::PermissionDenied), "{method} as {role:?}");
        }
    }
}

#[test]
fn a_method_nobody_listed_is_open_to_nobody() {
    for caller in Role::ALL.map(caller).into_iter().chain([Caller::Local]) {
        let refusal = caller.may_call("/ballast.v1.Operator/Destroy").unwrap_err();
        assert_eq!(refusal.code(), Code::Unimplemented, "{caller:?}");
    }
}
