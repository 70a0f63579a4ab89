//! What a run has found: every value that was measured, and what it was measured with. The JSON form of it is what
//! `--json` prints and `--baseline` reads; the schema is in `docs/benchmarks.md`.

use crate::{
    environment::{Environment, Load},
    outcome::Outcome,
    plan::Plan,
    work::{Arm, Scenario, Work},
};
use serde::{Deserialize, Serialize};

/// Raised when a field changes its meaning or goes away; new fields do not raise it.
pub const SCHEMA_VERSION: u32 = 1;

/// A whole run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The machine and the build.
    pub environment: Environment,
    /// What was to be measured, and how.
    pub plan: Plan,
    /// What else the machine did.
    pub load: Load,
    /// Whether it was ended early; what had been measured by then is here.
    pub interrupted: bool,
    /// The results of each of the plan's rows, in its order.
    pub rows: Vec<RowResult>,
}

/// What a row has found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RowResult {
    /// The group it is shown in.
    pub scenario: Scenario,
    /// What was measured.
    pub work: Work,
    /// On what; the first is the one that the others are compared with.
    pub arms: Vec<ArmResult>,
}

/// What an arm has found, visit by visit: the visits of one index were made in one block, in random order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArmResult {
    /// The arm.
    pub arm: Arm,
    /// One visit a block.
    pub visits: Vec<Outcome>,
}

impl Run {
    /// Reads the JSON form.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in words.
    pub fn from_json(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Version {
            schema_version: u32,
        }
        let Version { schema_version } = serde_json::from_str(text)
            .map_err(|error| format!("this is no result of `visavis bench --json`: {error}"))?;
        if schema_version != SCHEMA_VERSION {
            return Err(format!(
                "schema version {schema_version} is not {SCHEMA_VERSION}, which this program reads"
            ));
        }
        serde_json::from_str(text).map_err(|error| format!("the results are damaged: {error}"))
    }
}

impl RowResult {
    /// By what the rows of two runs are known to be the same.
    pub fn key(&self) -> (Scenario, Work, Option<&Arm>) {
        (self.scenario, self.work, self.arms.first().map(|arm| &arm.arm))
    }

    /// The results of an arm.
    pub fn arm(&self, arm: &Arm) -> Option<&ArmResult> {
        self.arms.iter().find(|result| result.arm == *arm)
    }
}

impl ArmResult {
    /// The values of a metric, block by block; a block in which it was not measured is empty.
    pub fn blocks(&self, metric: crate::metric::Metric) -> Vec<Vec<f64>> {
        let values = self.visits.iter().map(|visit| visit.values.get(&metric));
        values.map(|values| values.cloned().unwrap_or_default()).collect()
    }

    /// How many calls or batches failed.
    pub fn failures(&self) -> usize {
        self.visits.iter().map(|visit| visit.failures.len()).sum()
    }
}
