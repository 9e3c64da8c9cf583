//! Signals by their ids.

use insight::signal::RuleSet;
use insight::{InsightError, PageRequest, SignalFilter};

use crate::lab::Lab;
use crate::spine::Spine;

#[test]
fn a_signal_of_either_rule_set_is_found_by_the_beginning_of_its_id_that_a_list_shows() {
    let mut lab = Lab::new();
    for number in 0..3 {
        Spine::begin(&lab.home(), &format!("session-{number}"), 100).failing_turn(1);
    }
    lab.start();
    lab.read_all();
    let insight = lab.insight();
    lab.block_on(async {
        for rules in [RuleSet::V1, RuleSet::Compat] {
            let filter = SignalFilter { rules, ..SignalFilter::default() };
            let signals = insight.signals(filter, PageRequest::default()).await.unwrap().items;
            assert_eq!(signals.len(), 3, "{rules:?}");
            for signal in signals {
                assert_eq!(signal.rule_set, rules);
                assert_eq!(insight.signal(&signal.id.0).await.unwrap(), signal);
                assert_eq!(insight.signal(&signal.id.0[..16]).await.unwrap(), signal);
            }
        }
        for nowhere in ["sig_00000000000000000000", "sig_c_000000000000000000000000", "01930f5e", ""] {
            let answer = insight.signal(nowhere).await;
            assert!(matches!(answer, Err(InsightError::NoSignal { .. })), "{nowhere}: {answer:?}");
        }
        for (short, needed) in [("sig_", 6), ("sig_3", 6), ("sig_c_", 10), ("sig_c_000", 10)] {
            let answer = insight.signal(short).await;
            assert!(
                matches!(answer, Err(InsightError::ShortSignal { least, .. }) if least == needed),
                "{short}: {answer:?}"
            );
        }
    });
}
