//! How a model stands: whether its forecasts are used now and, where they are not, why.

use super::{ModelMode, Oversight, breaker::Reason};

/// How the model stands.
#[derive(Debug, Clone, PartialEq)]
pub enum Standing {
    /// There is none, or it is off.
    None,
    /// There should be one.
    Refused {
        /// Why there is none.
        why: String,
    },
    /// It has not yet proved better.
    Shadow,
    /// It has not said anything yet.
    Waiting,
    /// It has not answered in time.
    Late,
    /// It was set aside.
    SetAside {
        /// Why.
        why: Reason,
    },
    /// Its forecasts are used.
    InUse,
}

impl Standing {
    /// Whether the model's forecasts are used.
    pub fn is_in_use(&self) -> bool {
        *self == Self::InUse
    }
}

impl Oversight {
    /// How the model stands.
    pub fn standing(&self) -> Standing {
        let Some(model) = &self.model else {
            let refused = self.refused.clone().filter(|_| self.settings.mode != ModelMode::Off);
            return refused.map_or(Standing::None, |why| Standing::Refused { why });
        };
        if self.mode() == ModelMode::Shadow {
            return Standing::Shadow;
        }
        match model.breaker.why() {
            Some(why) => Standing::SetAside { why: why.clone() },
            None if model.newest.is_none() => Standing::Waiting,
            None if model.late_in_a_row > 0 => Standing::Late,
            None => Standing::InUse,
        }
    }

    /// What the model may do now: in the shadow until it is promoted.
    pub fn mode(&self) -> ModelMode {
        match &self.model {
            None => ModelMode::Off,
            Some(model) if model.promoted => ModelMode::Active,
            Some(_) => self.settings.mode,
        }
    }

    /// Who forecasts, and why not the model: as `ewma (lstm: late)`.
    pub(super) fn method(&self, standing: &Standing) -> String {
        let fallback = self.fallback.name();
        let model = self.model.as_ref().map_or("model", |model| &*model.name);
        match standing {
            Standing::None => fallback.to_owned(),
            Standing::InUse => model.to_owned(),
            Standing::Refused { why } => format!("{fallback} (no model: {why})"),
            Standing::Shadow => format!("{fallback} ({model}: in the shadow)"),
            Standing::Waiting => format!("{fallback} ({model}: no forecast yet)"),
            Standing::Late => format!("{fallback} ({model}: late)"),
            Standing::SetAside { why } => format!("{fallback} ({model}: {why})"),
        }
    }
}
