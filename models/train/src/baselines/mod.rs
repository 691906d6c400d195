//! Methods that are trained and that the forecaster is compared with: each learns from the same histories and answers the same
//! questions, through [`Predictor`].

pub mod linear;
pub mod plain_lstm;
pub mod residuals;
pub mod rows;
pub mod svr;
#[cfg(test)]
mod tests;
pub mod trees;

use ballast_core::history::History;
use ballast_models::{predictor::Predictor, simple::Simple};

use linear::Linear;
use plain_lstm::PlainLstm;
use rows::Row;
use svr::Svr;
use trees::Trees;

/// Histories to learn from.
#[derive(Debug, Clone, Copy)]
pub struct Material<'a> {
    /// The histories of each recording.
    pub histories: &'a [&'a [History]],
    /// Weight of the slots of a history of a day or less; that of a longer one's is 1. As the network is trained.
    pub short_weight: f32,
}

impl<'a> Material<'a> {
    /// Every history with the weight of its slots.
    pub fn weighed(self) -> impl Iterator<Item = (f32, &'a History)> {
        let weight = move |history: &History| if history.is_short() { self.short_weight } else { 1.0 };
        self.histories.iter().copied().flatten().map(move |history| (weight(history), history))
    }
}

/// How much is learnt from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Effort {
    /// Single moments, for all that looks at the past alone.
    pub rows: usize,
    /// Of these, how many support vectors are looked for among, for each resource and target.
    pub svr_rows: usize,
    /// Boosted trees, at most, per resource, target and level.
    pub trees_max: usize,
    /// For the plain LSTM.
    pub lstm: plain_lstm::LstmEffort,
}

impl Default for Effort {
    fn default() -> Self {
        // First choices: whether more would change a result has not been measured.
        Self { rows: 60_000, svr_rows: 2_000, trees_max: 600, lstm: plain_lstm::LstmEffort::default() }
    }
}

/// A method of comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Method {
    /// As last seen.
    LastValue,
    /// As in the last hour.
    #[value(name = "mean-12")]
    Mean12,
    /// As yesterday.
    Seasonal,
    /// Quantiles of the last three hours.
    OwnWindow,
    /// Autoregression.
    Linear,
    /// Support-vector regression.
    Svr,
    /// Gradient-boosted trees.
    Trees,
    /// The paper's LSTM.
    PlainLstm,
}

impl Method {
    /// All of them, from the simplest.
    pub const ALL: [Self; 8] = [
        Self::LastValue,
        Self::Mean12,
        Self::Seasonal,
        Self::OwnWindow,
        Self::Linear,
        Self::Svr,
        Self::Trees,
        Self::PlainLstm,
    ];
}

/// Trains methods; what several of them need is worked out once.
#[derive(Debug)]
pub struct Trainer<'a> {
    material: Material<'a>,
    effort: Effort,
    seed: u64,
    rows: Option<Vec<Row>>,
}

impl<'a> Trainer<'a> {
    /// For these histories.
    pub fn new(material: Material<'a>, effort: Effort, seed: u64) -> Self {
        Self { material, effort, seed, rows: None }
    }

    /// A method, trained where it needs to be.
    ///
    /// # Errors
    /// Where nothing can be learnt from the histories.
    pub fn train(&mut self, method: Method) -> anyhow::Result<Box<dyn Predictor>> {
        let (effort, seed) = (self.effort, self.seed);
        Ok(match method {
            Method::LastValue => Box::new(Simple::LAST_VALUE),
            Method::Mean12 => Box::new(Simple::MEAN_12),
            Method::Seasonal => Box::new(Simple::SEASONAL),
            Method::OwnWindow => Box::new(Simple::OWN_WINDOW),
            Method::Linear => Box::new(Linear::fit(self.rows()?)?),
            Method::Svr => Box::new(Svr::fit(self.rows()?, effort.svr_rows, seed)?),
            Method::Trees => Box::new(Trees::fit(self.rows()?, effort.trees_max, seed)?),
            Method::PlainLstm => Box::new(PlainLstm::fit(self.material, &effort.lstm, seed)?),
        })
    }

    fn rows(&mut self) -> anyhow::Result<&[Row]> {
        let (material, effort, seed) = (self.material, self.effort, self.seed);
        let rows = self.rows.get_or_insert_with(|| rows::draw(material, effort.rows, seed));
        anyhow::ensure!(
            !rows.is_empty(),
            "there is nothing to learn from: no slot of the training histories has a future"
        );
        Ok(rows)
    }
}
