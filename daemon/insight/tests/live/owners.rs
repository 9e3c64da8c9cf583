//! Signals of sessions that runs work on.

use std::time::Duration;

use engine::{Event, RunId};
use insight::owner::Owner;
use insight::{PageRequest, SessionFilter};
use serde_json::{Value, json};
use trace::SessionId;
use uuid::Uuid;

use crate::lab::Lab;
use crate::spine::Spine;

fn owner(number: u128) -> Owner {
    Owner { run: RunId(Uuid::from_u128(number)), lineage: vec![Uuid::from_u128(number + 1000)] }
}

/// Whether the event says that this run has caused it.
fn is_of(event: &Event, owner: &Owner) -> bool {
    event.data["run"] == json!(owner.run.to_string()) && event.data["lineage"] == json!(owner.lineage)
}

fn is_nobodys(event: &Event) -> bool {
    event.data["run"] == Value::Null && event.data["lineage"] == json!([])
}

/// The events of a kind that tell of a session's signals, once there are so many.
fn told(lab: &Lab, kind: &str, session: &SessionId, count: usize) -> Vec<Event> {
    let engine = lab.engine();
    lab.block_on(async {
        let mut stream = engine.events_from(engine.oldest_event().max(1)).unwrap();
        let mut found = Vec::new();
        while found.len() < count {
            let events = tokio::time::timeout(Duration::from_secs(20), stream.next()).await.unwrap().unwrap();
            let mine = |event: &&std::sync::Arc<Event>| {
                event.kind == kind && event.data["session"] == session.as_str()
            };
            found.extend(events.iter().filter(mine).map(|event| (**event).clone()));
        }
        found
    })
}

fn spawned_by(parent: &str) -> Value {
    json!({ "source": { "subagent": { "thread_spawn": { "parent_thread_id": parent, "depth": 1 } } } })
}

#[test]
fn a_signal_that_settles_after_a_restart_still_says_whose_session_it_is() {
    let mut lab = Lab::new();
    lab.settings.settle_after = Duration::from_hours(1);
    lab.start();
    lab.read_all();
    let mut spine = Spine::begin(&lab.home(), "mine", 10);
    lab.tell_owner(&spine.id, &owner(1));
    spine.ask(1, "please make it work");
    spine.run(1, "call_1", "make", 0);
    spine.finish(1);
    let raised = told(&lab, "signal.raised", &spine.id, 1);
    assert!(is_of(&raised[0], &owner(1)), "{raised:?}");
    assert_eq!(raised[0].data["settled"], false);
    lab.kill();
    lab.settings.settle_after = Duration::from_millis(10);
    lab.start();
    let settled = told(&lab, "signal.settled", &spine.id, 1);
    assert!(is_of(&settled[0], &owner(1)), "{settled:?}");
}

#[test]
fn an_owner_is_kept_also_when_nothing_comes_of_its_session_before_the_end() {
    let mut lab = Lab::new();
    lab.start();
    lab.read_all();
    lab.tell_owner(&"mine".parse().unwrap(), &owner(1));
    lab.tell_owner(&"mine".parse().unwrap(), &owner(2));
    lab.kill();
    let mut spine = Spine::begin(&lab.home(), "mine", 10);
    spine.failing_turn(1);
    lab.start();
    let raised = told(&lab, "signal.raised", &spine.id, 1);
    assert!(is_of(&raised[0], &owner(2)), "{raised:?}");
}

#[test]
fn a_sub_agents_session_belongs_to_the_run_of_the_session_that_started_it() {
    let mut lab = Lab::new();
    lab.start();
    lab.read_all();
    lab.tell_owner(&"mine".parse().unwrap(), &owner(1));
    let home = lab.home();
    let _mine = Spine::begin(&home, "mine", 10);
    let mut child = Spine::begin_from(&home, "child", 9, &spawned_by("mine"));
    lab.read_all();
    let mut grandchild = Spine::begin_from(&home, "grandchild", 8, &spawned_by("child"));
    child.failing_turn(1);
    grandchild.failing_turn(1);
    for id in [&child.id, &grandchild.id] {
        let raised = told(&lab, "signal.raised", id, 1);
        assert!(is_of(&raised[0], &owner(1)), "{raised:?}");
    }
    lab.kill();
    lab.start();
    grandchild.failing_turn(2);
    let raised = told(&lab, "signal.raised", &grandchild.id, 2);
    assert!(is_of(&raised[1], &owner(1)), "{raised:?}");
}

#[test]
fn the_owner_of_a_sub_agents_session_may_become_known_later() {
    let mut lab = Lab::new();
    lab.start();
    lab.read_all();
    let mut child = Spine::begin_from(&lab.home(), "child", 10, &spawned_by("mine"));
    child.failing_turn(1);
    assert!(is_nobodys(&told(&lab, "signal.raised", &child.id, 1)[0]));
    lab.tell_owner(&"mine".parse().unwrap(), &owner(1));
    child.failing_turn(2);
    let raised = told(&lab, "signal.raised", &child.id, 2);
    assert!(is_of(&raised[1], &owner(1)), "{raised:?}");
}

#[test]
fn a_sub_agent_that_does_not_say_who_started_it_is_found_by_who_says_so() {
    let mut lab = Lab::new();
    lab.start();
    lab.read_all();
    lab.tell_owner(&"mine".parse().unwrap(), &owner(1));
    let mut mine = Spine::begin(&lab.home(), "mine", 10);
    mine.ask(1, "review it");
    mine.write(
        "bridge",
        &json!({
            "bridge_kind": "exec_approval", "parent_thread_id": "mine", "parent_turn_id": "1",
            "sub_agent_thread_id": "review", "sub_agent_turn_id": "0", "sub_agent_call_id": "c",
        }),
    );
    lab.read_all();
    let mut review =
        Spine::begin_from(&lab.home(), "review", 5, &json!({ "source": { "subagent": "review" } }));
    review.failing_turn(1);
    let raised = told(&lab, "signal.raised", &review.id, 1);
    assert!(is_of(&raised[0], &owner(1)), "{raised:?}");

    // A session that nobody names, and one that is named without being a sub-agent, have no parent.
    Spine::begin_from(&lab.home(), "other", 5, &json!({ "source": { "subagent": "review" } }));
    lab.read_all();
    let page =
        lab.block_on(lab.insight().sessions(SessionFilter::default(), PageRequest::default())).unwrap();
    let shown = lab.block_on(lab.insight().session("review")).unwrap().view;
    for view in page.items.iter().chain([&shown]) {
        let parent = (view.session.id.as_str() == "review").then_some("mine");
        assert_eq!(view.session.parent.as_ref().map(SessionId::as_str), parent, "{view:?}");
    }
}

#[test]
fn each_review_of_a_page_is_shown_with_the_session_that_started_it() {
    let mut lab = Lab::new();
    lab.start();
    for number in 0..12 {
        let (starter, review) = (format!("starter-{number}"), format!("review-{number}"));
        // They nest: the reviews are in the order of their starters, and all starters before all reviews.
        let mut spine = Spine::begin(&lab.home(), &starter, 1000 - number);
        spine.ask(1, "review it");
        spine.write(
            "bridge",
            &json!({
                "bridge_kind": "exec_approval", "parent_thread_id": starter, "parent_turn_id": "1",
                "sub_agent_thread_id": review, "sub_agent_turn_id": "0", "sub_agent_call_id": "c",
            }),
        );
        Spine::begin_from(&lab.home(), &review, 500 - number, &json!({ "source": { "subagent": "review" } }));
    }
    lab.read_all();
    for size in [5, 100] {
        let mut page = PageRequest { size, ..PageRequest::default() };
        let mut found = Vec::new();
        loop {
            let given = lab.block_on(lab.insight().sessions(SessionFilter::default(), page.clone())).unwrap();
            found.extend(given.items);
            if given.next.is_empty() {
                break;
            }
            page.token = given.next;
        }
        assert_eq!(found.len(), 24);
        for view in found {
            let id = view.session.id.to_string();
            let starter = id.strip_prefix("review-").map(|number| format!("starter-{number}"));
            assert_eq!(view.session.parent.map(|parent| parent.to_string()), starter, "{id}");
        }
    }
}

#[test]
fn a_fork_of_a_runs_session_does_not_belong_to_the_run() {
    let mut lab = Lab::new();
    lab.start();
    lab.read_all();
    lab.tell_owner(&"mine".parse().unwrap(), &owner(1));
    let fork = json!({ "source": "cli", "forked_from_id": "mine" });
    let mut fork = Spine::begin_from(&lab.home(), "fork", 10, &fork);
    fork.failing_turn(1);
    assert!(is_nobodys(&told(&lab, "signal.raised", &fork.id, 1)[0]));
}

#[test]
fn sessions_that_say_to_have_started_each_other_belong_to_nobody() {
    let mut lab = Lab::new();
    lab.start();
    lab.read_all();
    let mut one = Spine::begin_from(&lab.home(), "one", 10, &spawned_by("other"));
    let _other = Spine::begin_from(&lab.home(), "other", 10, &spawned_by("one"));
    one.failing_turn(1);
    assert!(is_nobodys(&told(&lab, "signal.raised", &one.id, 1)[0]));
}
