//! Properties: keys keep their order; any series of batches equals the same series on a map in memory.

use std::collections::BTreeMap;

use engine::store::{Batch, Key, Order};
use proptest::collection::vec;
use proptest::prelude::*;
use tempfile::tempdir;
use uuid::Uuid;

use super::{Mixed, Named, Note, open, rows};

fn encoded(key: &impl Key) -> Vec<u8> {
    let mut out = Vec::new();
    key.encode(&mut out);
    out
}

/// Strings over few characters, so that one is often the beginning of another.
fn string() -> impl Strategy<Value = String> {
    prop_oneof!["[\0\u{1}aä\u{10FFFF}]{0,4}", ".{0,8}"]
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(prop_oneof![Just(0), Just(1), Just(0xFE), Just(0xFF), any::<u8>()], 0..6)
}

fn mixed() -> impl Strategy<Value = (Vec<u8>, String, Uuid)> {
    (bytes(), string(), any::<u128>().prop_map(Uuid::from_u128))
}

proptest! {
    #[test]
    fn keys_keep_their_order_and_come_back(one in mixed(), other in mixed(), number in any::<u64>()) {
        prop_assert_eq!(encoded(&one).cmp(&encoded(&other)), one.cmp(&other));
        prop_assert_eq!(Key::decode(&encoded(&one)), Some(one.clone()));
        let (one, other) = ((one.1, number), (other.1, number.rotate_left(8)));
        prop_assert_eq!(encoded(&one).cmp(&encoded(&other)), one.cmp(&other));
        prop_assert_eq!(Key::decode(&encoded(&one)), Some(one));
    }

    #[test]
    fn no_key_is_the_beginning_of_another(one in mixed(), other in mixed()) {
        prop_assert_eq!(encoded(&one).starts_with(&encoded(&other)), one == other);
        prop_assert_eq!(encoded(&one.0).starts_with(&encoded(&other.0)), one.0 == other.0);
    }

    #[test]
    fn decoding_takes_only_what_encoding_writes(input in vec(prop_oneof![Just(0), Just(0xFF), any::<u8>()], 0..40)) {
        if let Some(key) = <(Vec<u8>, String, Uuid)>::decode(&input) {
            prop_assert_eq!(encoded(&key), input);
        }
    }
}

/// One change, over few keys so that changes meet.
#[derive(Clone, Debug)]
enum Change {
    Put(u8, u64, String),
    Delete(u8, u64),
}

#[derive(Clone, Debug)]
enum Action {
    Commit(Vec<Change>),
    Reopen { clean: bool },
}

fn action() -> impl Strategy<Value = Action> {
    let change = prop_oneof![
        3 => (0..3_u8, 0..40_u64, "[a-z]{0,300}").prop_map(|(name, number, text)| Change::Put(name, number, text)),
        2 => (0..3_u8, 0..40_u64).prop_map(|(name, number)| Change::Delete(name, number)),
    ];
    prop_oneof![
        12 => vec(change, 0..40).prop_map(Action::Commit),
        1 => any::<bool>().prop_map(|clean| Action::Reopen { clean }),
    ]
}

proptest! {
    // Every case opens a store a few times, and each opening waits for the disk.
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_series_of_batches_equals_a_map(actions in vec(action(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let directory = tempdir().unwrap();
        let mut store = open(directory.path());
        let mut model = BTreeMap::new();
        for action in actions {
            match action {
                Action::Commit(changes) => {
                    let mut batch = Batch::new();
                    for change in changes {
                        match change {
                            Change::Put(name, number, text) => {
                                let key = (name.to_string(), number);
                                batch.put::<Named>(&key, &Note::new(text.clone()));
                                // The same change in a second table, whose keys have another form.
                                let twin = (vec![name], text.clone(), Uuid::from_u128(number.into()));
                                batch.put::<Mixed>(&twin, &Note::default());
                                batch.delete::<Mixed>(&twin);
                                model.insert(key, Note::new(text));
                            }
                            Change::Delete(name, number) => {
                                let key = (name.to_string(), number);
                                batch.delete::<Named>(&key);
                                model.remove(&key);
                            }
                        }
                    }
                    runtime.block_on(store.write(batch)).unwrap();
                }
                Action::Reopen { clean } => {
                    if clean { store.close().unwrap() } else { drop(store) }
                    store = open(directory.path());
                }
            }
            prop_assert_eq!(rows::<Named>(&store), model.clone().into_iter().collect::<Vec<_>>());
        }
        let of_one = |rows: engine::store::Rows<Named>| rows.map(Result::unwrap).collect::<Vec<_>>();
        let found = of_one(store.scan_prefix::<Named, String>(&"1".to_owned(), Order::Descending));
        let wanted: Vec<_> = model.iter().rev().filter(|(key, _)| key.0 == "1").map(|(k, v)| (k.clone(), v.clone())).collect();
        prop_assert_eq!(found, wanted);
        prop_assert_eq!(rows::<Mixed>(&store), vec![]);
    }
}
