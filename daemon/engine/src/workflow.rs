//! What a workflow is, and the registry of those that the daemon knows.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use serde::Serialize;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::context::RunContext;
use crate::failure::{Failure, FailureKind};
use crate::run::{LeaseKey, OnInterrupt, Run};

/// A kind of run: async code over a [`RunContext`].
///
/// The code is run from its beginning each time that the daemon starts anew while the run is
/// active; finished steps return their stored values. So all that it decides on must come from
/// its spec or from the value of a step: the clock, files, git and configuration are read inside
/// steps only.
pub trait Workflow: Send + Sync + 'static {
    /// The word that stands for it.
    const KIND: &'static str;
    /// What a client says to start one.
    type Spec: Serialize + DeserializeOwned + Send;
    /// What it returns.
    type Output: Serialize + Send;

    /// Refuses a spec that could not succeed, before a run is made of it.
    fn check(&self, spec: &Self::Spec) -> Result<(), Failure> {
        let _ = spec;
        Ok(())
    }

    /// The exclusive resources that the run must hold before it starts.
    fn leases(&self, spec: &Self::Spec) -> Vec<LeaseKey>;

    /// What happens when its process is lost, unless the run says otherwise.
    fn on_interrupt(&self) -> OnInterrupt {
        OnInterrupt::Hold
    }

    /// Does the work.
    fn run(
        &self,
        run: &RunContext,
        spec: Self::Spec,
    ) -> impl Future<Output = Result<Self::Output, Failure>> + Send;

    /// Sets right what lies outside when a run is about to end or to be held, however it came to
    /// that: `result` says how. Called at least once, while the run still has its leases; must be
    /// idempotent and quick. `directory` is that of [`RunContext::directory`].
    fn settle(
        &self,
        run: &Run,
        directory: &Path,
        spec: Self::Spec,
        result: Result<(), Failure>,
    ) -> impl Future<Output = ()> + Send {
        let _ = (run, directory, spec, result);
        async {}
    }
}

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// [`Workflow`] with its types erased.
pub(crate) trait AnyWorkflow: Send + Sync {
    fn check(&self, spec: &Value) -> Result<Vec<LeaseKey>, Failure>;
    fn on_interrupt(&self) -> OnInterrupt;
    fn run<'a>(&'a self, run: &'a RunContext, spec: Value) -> Boxed<'a, Result<Value, Failure>>;
    fn settle<'a>(
        &'a self,
        run: &'a Run,
        directory: &'a Path,
        spec: Value,
        result: Result<(), Failure>,
    ) -> Boxed<'a, ()>;
}

fn decode<W: Workflow>(spec: &Value) -> Result<W::Spec, Failure> {
    W::Spec::deserialize(spec)
        .map_err(|error| Failure::new(FailureKind::Invalid, format!("the spec of {} is not valid: {error}", W::KIND)))
}

impl<W: Workflow> AnyWorkflow for W {
    fn check(&self, spec: &Value) -> Result<Vec<LeaseKey>, Failure> {
        let spec = decode::<W>(spec)?;
        Workflow::check(self, &spec)?;
        Ok(self.leases(&spec))
    }

    fn on_interrupt(&self) -> OnInterrupt {
        Workflow::on_interrupt(self)
    }

    fn run<'a>(&'a self, run: &'a RunContext, spec: Value) -> Boxed<'a, Result<Value, Failure>> {
        Box::pin(async move {
            let output = Workflow::run(self, run, decode::<W>(&spec)?).await?;
            serde_json::to_value(output).map_err(Failure::internal)
        })
    }

    fn settle<'a>(
        &'a self,
        run: &'a Run,
        directory: &'a Path,
        spec: Value,
        result: Result<(), Failure>,
    ) -> Boxed<'a, ()> {
        Box::pin(async move {
            if let Ok(spec) = decode::<W>(&spec) {
                Workflow::settle(self, run, directory, spec, result).await;
            }
        })
    }
}

/// The workflows that the daemon knows.
#[derive(Clone, Default)]
pub struct Registry {
    workflows: BTreeMap<&'static str, Arc<dyn AnyWorkflow>>,
}

impl Registry {
    /// Adds a workflow.
    #[must_use]
    pub fn with<W: Workflow>(mut self, workflow: W) -> Self {
        self.workflows.insert(W::KIND, Arc::new(workflow));
        self
    }

    /// The kinds that it knows.
    pub fn kinds(&self) -> impl Iterator<Item = &'static str> {
        self.workflows.keys().copied()
    }

    pub(crate) fn get(&self, kind: &str) -> Option<&Arc<dyn AnyWorkflow>> {
        self.workflows.get(kind)
    }
}
