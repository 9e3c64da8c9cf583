//! Which run a session belongs to, where Codex is supervised.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use engine::RunId;
use trace::SessionId;
use uuid::Uuid;

/// How many sessions are remembered. Of older ones nothing comes any more.
const KEPT: usize = 4096;

/// The run whose Codex works on a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The run.
    pub run: RunId,
    /// The schedules that led to it: none of them may be set off by what happens in the session, or it would go on
    /// for ever.
    pub lineage: Vec<Uuid>,
}

/// The owners of sessions, as far as this daemon was told. Clones share it.
///
/// Nothing of it is stored: a run that goes on tells of its sessions again to the next daemon.
#[derive(Clone, Debug, Default)]
pub struct Owners(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    owners: HashMap<SessionId, Owner>,
    /// The latest last.
    order: VecDeque<SessionId>,
}

impl Owners {
    /// Takes in that a run works on a session. A session that is resumed by another run belongs to that one.
    pub fn tell(&self, session: SessionId, owner: Owner) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.owners.insert(session.clone(), owner).is_some() {
            known.order.retain(|known| *known != session);
        }
        known.order.push_back(session);
        if known.order.len() > KEPT
            && let Some(oldest) = known.order.pop_front()
        {
            known.owners.remove(&oldest);
        }
    }

    /// The run that a session belongs to, if one told so.
    pub(crate) fn of(&self, session: &SessionId) -> Option<Owner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).owners.get(session).cloned()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_sessions_told_of_last_are_remembered() {
        let owners = Owners::default();
        let owner = Owner { run: RunId(Uuid::nil()), lineage: vec![Uuid::nil()] };
        let session = |number: usize| -> SessionId { format!("session-{number}").parse().unwrap() };
        for number in 0..KEPT {
            owners.tell(session(number), owner.clone());
        }
        owners.tell(session(0), owner.clone());
        owners.tell(session(KEPT), owner.clone());
        assert_eq!([0, 1, KEPT].map(|number| owners.of(&session(number)).is_some()), [true, false, true]);
    }
}
