//! `plan_update_churn` and `clean_plan`: what becomes of a plan.

use serde::{Deserialize, Serialize};
use trace::What;
use trace::record::PlanStep;

use crate::rules::moment::digest;
use crate::rules::words::count;
use crate::rules::{Finding, Moment, Scope, Tally, Verdict, descriptor};

descriptor! {
    /// The plan was changed again and again.
    PLAN_UPDATE_CHURN = "plan_update_churn", Friction, 0.6, Growing;
    trigger: "Updates of the plan, of which not all simply took the work forward.",
    threshold: "5 updates in the session, with at least one that took a step out or back, or changed nothing.",
    grading: "",
    evidence: "`plan_update_count`, `rewrites` (how many took no step forward).",
}

descriptor! {
    /// A plan was made and carried out as it stood.
    CLEAN_PLAN = "clean_plan", Delight, 0.7, Session;
    trigger: "The plan's steps only moved forward, none was taken out, and the last update has all of them completed. A new plan may follow one that is completed.",
    threshold: "2 updates in the session.",
    grading: "",
    evidence: "`plan_update_count`, `step_count`.",
}

/// How many steps of a plan are looked at.
const STEPS: usize = 64;

/// A plan as it was last told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Plan {
    steps: Vec<(u64, Progress)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Progress {
    Pending,
    Begun,
    Done,
}

/// What an update did to the plan before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// It is the first, or follows a plan that was completed.
    New,
    /// Something moved forward or was added, and nothing went back or away.
    Forward,
    /// Nothing changed.
    Same,
    /// A step went back or away.
    Back,
}

impl Plan {
    fn of(steps: &[PlanStep<'_>]) -> Self {
        let progress = |status: &str| match status {
            "completed" => Progress::Done,
            "in_progress" => Progress::Begun,
            _ => Progress::Pending,
        };
        let steps = steps.iter().take(STEPS);
        Self { steps: steps.map(|step| (digest(0, &step.step), progress(&step.status))).collect() }
    }

    fn is_completed(&self) -> bool {
        !self.steps.is_empty() && self.steps.iter().all(|(_, progress)| *progress == Progress::Done)
    }

    /// Puts the next state in place of this one and tells what it did.
    fn update(&mut self, next: Self) -> Step {
        let before = std::mem::replace(self, next);
        let now = |step: u64| self.steps.iter().find(|known| known.0 == step).map(|known| known.1);
        let kept = before.steps.iter().all(|(step, progress)| now(*step).is_some_and(|now| now >= *progress));
        match kept {
            _ if before.steps.is_empty() => Step::New,
            true if before == *self => Step::Same,
            true => Step::Forward,
            false if before.is_completed() => Step::New,
            false => Step::Back,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct PlanUpdateChurn {
    plan: Plan,
    updates: Tally,
    rewrites: u64,
}

impl PlanUpdateChurn {
    pub(super) fn feed(&mut self, moment: &Moment<'_>, scope: &mut Scope<'_>) {
        let What::Plan(steps) = moment.fact.what else { return };
        self.updates.add(moment.fact);
        if matches!(self.plan.update(Plan::of(steps)), Step::Back | Step::Same) {
            self.rewrites = self.rewrites.saturating_add(1);
        }
        let number = self.updates.count();
        if number >= 5 && self.rewrites > 0 {
            let finding = Finding::moments(&self.updates)
                .describe(&format!(
                    "The plan was updated {} in this session, {} without a step forward.",
                    count(number, "time"),
                    self.rewrites
                ))
                .with("plan_update_count", number)
                .with("rewrites", self.rewrites);
            scope.raise(&PLAN_UPDATE_CHURN, finding);
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct CleanPlan {
    plan: Plan,
    updates: Tally,
    disproved: bool,
}

impl Verdict for CleanPlan {
    const RULE: crate::rules::Descriptor = CLEAN_PLAN;

    fn feed(&mut self, moment: &Moment<'_>) {
        let What::Plan(steps) = moment.fact.what else { return };
        self.updates.extend(moment.fact);
        self.disproved |= self.plan.update(Plan::of(steps)) == Step::Back;
    }

    fn holds(&self) -> bool {
        !self.disproved && self.updates.count() >= 2 && self.plan.is_completed()
    }

    fn finding(&self) -> Finding {
        let steps = self.plan.steps.len();
        Finding::session(&self.updates)
            .describe(&format!("A plan of {} was carried out as it stood.", count(steps as u64, "step")))
            .with("plan_update_count", self.updates.count())
            .with("step_count", steps)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use crate::rules::story::Story;

    #[test]
    fn a_plan_that_only_moves_forward_is_clean_and_no_churn() {
        let mut story = Story::begun("fix it");
        for plan in ["a> b- c-", "a+ b> c-", "a+ b> c- d-", "a+ b+ c> d-", "a+ b+ c+ d>"] {
            story.plans(plan);
            story.none("clean_plan");
        }
        story.plans("a+ b+ c+ d+");
        assert_eq!(story.only("clean_plan").evidence["step_count"], 4);
        story.none("plan_update_churn");
    }

    #[test]
    fn another_plan_after_a_completed_one_begins_anew() {
        let mut story = Story::begun("fix it");
        story.plans("a> b-").plans("a+ b+");
        assert!(!story.only("clean_plan").settled);
        story.plans("x-");
        story.none("clean_plan");
        story.plans("x+").settles();
        assert!(story.only("clean_plan").settled);
    }

    #[test]
    fn a_step_that_is_taken_out_or_back_spoils_the_plan_for_good() {
        for spoilt in ["a> c-", "a- b-"] {
            let mut story = Story::begun("fix it");
            story.plans("a> b-").plans(spoilt).plans("a+ b+ c+").settles();
            story.none("clean_plan");
        }
    }

    #[test]
    fn five_updates_that_do_not_all_move_forward_are_churn() {
        let mut story = Story::begun("fix it");
        story.plans("a> b-").plans("c> d-").plans("e>").plans("a> b-");
        story.none("plan_update_churn");
        story.plans("f>");
        assert_eq!(story.only("plan_update_churn").evidence["rewrites"], 4);
    }
}
