//! Preflight: questions to an agent, and its answers.

use std::time::Duration;

use ballast_core::{
    id::VmId,
    preflight::{Answer, Check, Passport, Question, Refusal},
};

use super::{InvalidField, millis, span, uuid_bytes, vm_id};
use crate::v1;

/// Longest passport: a definition of a CPU with hundreds of features has some tens of kilobytes.
const PASSPORT_MAX: usize = 256 << 10;
/// Most refusals of one answer, and the longest text of one.
const REFUSALS_MAX: usize = 64;
const TEXT_MAX: usize = 4096;

impl TryFrom<v1::PreflightQuestion> for Question {
    type Error = InvalidField;

    fn try_from(wire: v1::PreflightQuestion) -> Result<Self, InvalidField> {
        let vm = vm_id(&wire.vm_uuid, "vm_uuid")?;
        let passport = Some(wire.passport_json).filter(|json| !json.is_empty()).map(|json| passport(&json, vm));
        let passport = passport.transpose()?;
        Ok(Self {
            number: wire.number,
            vm,
            tls: wire.tls,
            passport: passport.map(Box::new),
            age: span(wire.passport_age_millis),
        })
    }
}

/// A passport for `vm`, which must be whose it is.
fn passport(json: &str, vm: VmId) -> Result<Passport, InvalidField> {
    let passport: Passport = serde_json::from_str(json)
        .map_err(|error| InvalidField::new("passport_json", format!("{} bytes", json.len()), &error.to_string()))?;
    if passport.vm != vm {
        return Err(InvalidField::new("passport_json", passport.vm, &format!("that of vm {vm} is needed")));
    }
    Ok(passport)
}

/// A question as the wire has it; `passport` is what the source's agent wrote, unread, and how long ago that came in.
pub fn preflight_question(
    number: u64,
    vm: VmId,
    tls: bool,
    passport: Option<(&str, Duration)>,
) -> v1::PreflightQuestion {
    let (json, age) = passport.unwrap_or_default();
    v1::PreflightQuestion {
        number,
        vm_uuid: uuid_bytes(vm),
        tls,
        passport_json: json.to_owned(),
        passport_age_millis: millis(age),
    }
}

impl TryFrom<v1::PreflightAnswer> for Answer {
    type Error = InvalidField;

    fn try_from(wire: v1::PreflightAnswer) -> Result<Self, InvalidField> {
        if wire.passport_json.len() > PASSPORT_MAX {
            let value = format!("{} bytes", wire.passport_json.len());
            return Err(InvalidField::new("passport_json", value, "at most 256 KiB are needed"));
        }
        if wire.refusals.len() > REFUSALS_MAX {
            return Err(InvalidField::new("refusals", wire.refusals.len(), "at most 64 are needed"));
        }
        let cut = |text: String| text.chars().take(TEXT_MAX).collect::<String>();
        let refusal =
            |wire: v1::PreflightRefusal| Refusal::new(Check::by_name(&wire.check), cut(wire.value), cut(wire.needed));
        Ok(Self {
            number: wire.number,
            refusals: wire.refusals.into_iter().map(refusal).collect(),
            passport: Some(wire.passport_json).filter(|json| !json.is_empty()),
        })
    }
}

impl From<Answer> for v1::PreflightAnswer {
    fn from(answer: Answer) -> Self {
        let refusal = |refusal: Refusal| v1::PreflightRefusal {
            check: refusal.check.name().to_owned(),
            value: refusal.value,
            needed: refusal.needed,
        };
        Self {
            number: answer.number,
            refusals: answer.refusals.into_iter().map(refusal).collect(),
            passport_json: answer.passport.unwrap_or_default(),
        }
    }
}
