//! The host on its BMC's Redfish service: which of the systems it is, whether it is on, and how it is switched on.

use serde_json::{Value, json};

use super::{at, link, service::Service};

/// Where every service begins.
const ROOT: &str = "/redfish/v1/";

/// Reads the system at `path`, or the only one that the service has.
///
/// # Errors
/// A sentence; where there are several it names them.
pub(super) async fn find(service: &mut Service, path: Option<&str>) -> Result<Value, String> {
    if let Some(path) = path {
        return service.get(path).await;
    }
    let root = service.get(ROOT).await?;
    let systems = link(&root, "Systems").ok_or("its Redfish service has no Systems")?;
    let systems = service.get_link(systems).await?;
    service.get_link(only(&systems)?).await
}

/// Where the only member of a collection is.
fn only(systems: &Value) -> Result<&str, String> {
    let members: Vec<&str> = systems["Members"].as_array().into_iter().flatten().filter_map(at).collect();
    match members[..] {
        [one] => Ok(one),
        [] => Err("it has no system".to_owned()),
        _ => Err(format!("it has {} systems, and its address must name one: {}", members.len(), members.join(", "))),
    }
}

/// What is to be done for a system to be on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It is, or is about to be.
    Nothing,
    /// This is where to post [`on`].
    SwitchOn {
        /// As the system says.
        target: String,
    },
}

/// What a system's own words mean for switching it on.
///
/// # Errors
/// A sentence, where it cannot be switched on.
pub(super) fn next(system: &Value) -> Result<Next, String> {
    if matches!(system["PowerState"].as_str(), Some("On" | "PoweringOn")) {
        return Ok(Next::Nothing);
    }
    let reset = &system["Actions"]["#ComputerSystem.Reset"];
    let target = reset["target"].as_str().ok_or("its system has no ComputerSystem.Reset")?;
    match reset["ResetType@Redfish.AllowableValues"].as_array() {
        Some(allowed) if !allowed.iter().any(|value| value == "On") => {
            Err(format!("its system cannot be switched on, only {}", Value::from(allowed.clone())))
        }
        _ => Ok(Next::SwitchOn { target: target.to_owned() }),
    }
}

/// The only thing a system is ever told.
pub(super) fn on() -> Value {
    json!({ "ResetType": "On" })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: &str = "/redfish/v1/Systems/1/Actions/ComputerSystem.Reset";

    fn system(state: Value, allowed: Value) -> Value {
        let reset = json!({ "target": TARGET, "ResetType@Redfish.AllowableValues": allowed });
        json!({ "PowerState": state, "Actions": { "#ComputerSystem.Reset": reset } })
    }

    #[test]
    fn the_only_system_is_taken_and_several_are_named() {
        assert_eq!(
            only(&json!({ "Members": [{ "@odata.id": "/redfish/v1/Systems/1" }] })),
            Ok("/redfish/v1/Systems/1")
        );
        let two = json!({ "Members": [{ "@odata.id": "/a" }, { "@odata.id": "/b" }] });
        assert!(only(&two).unwrap_err().ends_with("/a, /b"));
        assert!(only(&json!({ "Members": [] })).is_err() && only(&json!({})).is_err());
    }

    #[test]
    fn a_system_that_is_on_is_told_nothing() {
        for state in ["On", "PoweringOn"] {
            assert_eq!(next(&system(state.into(), json!(["On", "ForceRestart"]))), Ok(Next::Nothing));
        }
    }

    #[test]
    fn a_system_that_is_off_is_switched_on_where_it_says() {
        let switch_on = Ok(Next::SwitchOn { target: TARGET.to_owned() });
        for state in [json!("Off"), json!("PoweringOff"), json!("Paused"), Value::Null] {
            assert_eq!(next(&system(state, json!(["ForceOff", "On"]))), switch_on);
        }
        assert_eq!(next(&system("Off".into(), Value::Null)), switch_on);
    }

    #[test]
    fn nothing_stands_in_for_on_where_a_system_does_not_know_it() {
        let why = next(&system("Off".into(), json!(["ForceRestart", "PowerCycle"]))).unwrap_err();
        assert!(why.contains("ForceRestart"), "{why}");
        assert!(next(&json!({ "PowerState": "Off" })).unwrap_err().contains("ComputerSystem.Reset"));
    }
}
