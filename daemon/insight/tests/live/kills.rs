//! Daemons that die in the middle.

use corpus::{Real, real};

use crate::lab::Lab;

#[test]
fn a_daemon_that_dies_again_and_again_ends_with_what_an_undisturbed_one_has() {
    let mut undisturbed = Lab::new();
    undisturbed.settings.settle_after = std::time::Duration::ZERO;
    let wanted = Real { bytes: 6 << 20, sessions: Some(30), seed: 7 };
    std::fs::remove_dir_all(undisturbed.home()).unwrap();
    real(&undisturbed.home(), &wanted).unwrap();
    undisturbed.start();
    undisturbed.read_all();
    undisturbed.until_settled();
    let expected = undisturbed.dump();

    let mut killed = Lab::new();
    killed.settings = undisturbed.settings.clone();
    for round in 0..25 {
        killed.start();
        std::thread::sleep(std::time::Duration::from_millis(round * 3));
        killed.kill();
    }
    killed.start();
    killed.read_all();
    killed.until_settled();
    let found = killed.dump();
    assert!(found == expected, "{}", first_difference(&expected, &found));
}

pub(crate) fn first_difference(expected: &str, found: &str) -> String {
    let mut pairs = expected.lines().zip(found.lines());
    pairs.find(|(a, b)| a != b).map_or("one is longer".to_owned(), |(a, b)| format!("{a}\n\n{b}"))
}
