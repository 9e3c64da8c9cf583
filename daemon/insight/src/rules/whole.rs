//! Rules about a whole session: raised as soon as they hold, withdrawn when they no longer do.

use serde::{Deserialize, Serialize};
use trace::What;

use crate::rules::{Descriptor, Finding, Moment, Scope};

/// A rule about a whole session. What it knows must stay small: it is kept twice while the rule holds.
pub(crate) trait Verdict: Clone {
    /// What it says of itself.
    const RULE: Descriptor;

    /// Takes the next fact; never [`What::Settled`].
    fn feed(&mut self, moment: &Moment<'_>);

    /// Whether it holds, as far as is known.
    fn holds(&self) -> bool;

    /// Whether it holds if nothing more comes.
    fn holds_at_last(&self) -> bool {
        self.holds()
    }

    /// What there is to say while it holds.
    fn finding(&self) -> Finding;
}

/// A rule about a whole session with what has been said of it.
///
/// A session settles by the clock, and a resume may open it again; a later reading of the same bytes sees
/// no such pause. So a provisional signal says what was known **when the rule began to hold**, whatever has
/// been said in between, and only a final one says all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Whole<R> {
    rule: R,
    /// The rule as it was when it began to hold; none while it does not.
    held: Option<R>,
    said: Said,
}

/// What was said last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Said {
    #[default]
    Nothing,
    Provisional,
    Final,
}

impl<R> Whole<R> {
    /// Whether what was said last was meant to be final.
    pub(crate) fn has_said_its_last(&self) -> bool {
        self.said == Said::Final
    }
}

impl<R: Verdict> Whole<R> {
    pub(crate) fn feed(&mut self, moment: &Moment<'_>, scope: &mut Scope<'_>) {
        if matches!(moment.fact.what, What::Settled(_)) {
            let holds = self.rule.holds_at_last();
            return self.say(holds.then(|| (self.rule.finding(), Said::Final)), scope);
        }
        self.rule.feed(moment);
        match (self.rule.holds(), &self.held) {
            (true, None) => self.held = Some(self.rule.clone()),
            (false, Some(_)) => self.held = None,
            _ => {}
        }
        let wanted = if self.held.is_some() { Said::Provisional } else { Said::Nothing };
        if wanted != self.said {
            let finding = self.held.as_ref().map(|held| (held.finding(), Said::Provisional));
            self.say(finding, scope);
        }
    }

    fn say(&mut self, finding: Option<(Finding, Said)>, scope: &mut Scope<'_>) {
        match finding {
            Some((finding, said)) => {
                self.said = said;
                scope.say(&R::RULE, finding, said == Said::Final);
            }
            None if self.said != Said::Nothing => {
                self.said = Said::Nothing;
                scope.withdraw(&R::RULE);
            }
            None => {}
        }
    }
}
