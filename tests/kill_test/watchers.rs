//! Those who watch all the time, and come back with their tokens after every kill.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use spindle_client::v1::WatchEventsRequest;
use spindle_client::{Client, EventWatch, Paths};
use tokio::task::JoinHandle;
use tonic_types::StatusExt as _;

use crate::nest::{Nest, until};
use crate::story::Events;

/// The watchers.
pub(crate) struct Watchers {
    seen: Vec<Arc<Mutex<Events>>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Watchers {
    /// Two who stay, and one who goes away from time to time and comes back with the token that it remembers.
    pub(crate) async fn start(paths: &Paths, seed: u64) -> Self {
        let mut watchers = Self { seen: Vec::new(), tasks: Vec::new() };
        for stays in [true, true, false] {
            let client = Client::connect(paths).await.unwrap();
            let seen = Arc::new(Mutex::new(Events::default()));
            watchers.seen.push(Arc::clone(&seen));
            let rng = StdRng::seed_from_u64(seed ^ 0x57a7_c4e5);
            watchers.tasks.push(tokio::spawn(watch(client, seen, stays, rng)));
        }
        watchers
    }

    /// Waits until all have seen what there is, and compares: with each other, and with one who begins anew.
    pub(crate) async fn see_all(self, client: &Client) -> Events {
        let last = client.info().await.unwrap().last_seq;
        until("the watchers have seen all events", || {
            if let Some(ended) = self.tasks.iter().find(|task| task.is_finished()) {
                panic!("a watcher gave up: {ended:?}");
            }
            self.seen.iter().all(|seen| seen.lock().unwrap().count() >= last).then_some(())
        })
        .await;
        for task in self.tasks {
            task.abort();
        }
        let mut seen = self.seen.iter().map(|seen| std::mem::take(&mut *seen.lock().unwrap()));
        let first = seen.next().unwrap();
        assert!(seen.all(|other| other.agrees_with(&first)), "watchers have seen different stories");
        compare_with_kept(client, &first).await;
        first
    }
}

async fn watch(client: Client, seen: Arc<Mutex<Events>>, stays: bool, mut rng: StdRng) {
    let mut request = WatchEventsRequest { from_seq: Some(1), ..WatchEventsRequest::default() };
    loop {
        let mut stay = if stays { u32::MAX } else { rng.random_range(1..200) };
        let mut events = EventWatch::new(client.clone(), request.clone(), Nest::patience());
        while stay > 0 {
            let event = events.next().await.unwrap().unwrap();
            seen.lock().unwrap().take(&event);
            request = WatchEventsRequest { after: event.token, ..WatchEventsRequest::default() };
            stay -= 1;
        }
        drop(events);
        // Away for a while; how long matters to nobody.
        let away = rng.random_range(0..300);
        tokio::time::sleep(Duration::from_millis(away)).await;
    }
}

/// The oldest event that is kept.
async fn oldest(client: &Client) -> u64 {
    let request = WatchEventsRequest { from_seq: Some(1), ..WatchEventsRequest::default() };
    match client.runs().watch_events(request).await {
        Ok(_) => 1,
        Err(status) => {
            let details = status.get_details_error_info().unwrap_or_else(|| panic!("{status:?}"));
            assert_eq!(details.reason, "TOKEN_EXPIRED");
            details.metadata["oldest"].parse().unwrap()
        }
    }
}

async fn compare_with_kept(client: &Client, seen: &Events) {
    let oldest = oldest(client).await;
    let request = WatchEventsRequest { from_seq: Some(oldest), ..WatchEventsRequest::default() };
    let mut events = EventWatch::new(client.clone(), request, Nest::patience());
    for seq in oldest..=seen.count() {
        let event = events.next().await.unwrap().unwrap();
        assert_eq!(event.seq, seq);
        assert_eq!(
            Some(Events::mark_of(&event)),
            seen.mark(seq),
            "{event:?} is not what the watchers have seen"
        );
    }
}

/// How many events are kept; they are numbered without gaps.
pub(crate) async fn count_kept(client: &Client) -> u64 {
    client.info().await.unwrap().last_seq + 1 - oldest(client).await
}
