//! Schedules that fire all the time, one for each way to treat a run that is not over yet.

use spindle_client::v1::{
    AddScheduleRequest, DeleteScheduleRequest, IntervalTrigger, Overlap, Schedule, Trigger, trigger,
};
use tonic::Code;

use crate::book::{BEGIN, END, Times, alone_in};
use crate::load::Load;
use crate::nest::Nest;
use crate::story::Events;

/// The schedules: name, overlap, and how long a run takes, in seconds. That which queues must end sooner than it
/// fires, or it would never get to an end.
const SCHEDULES: [(&str, Overlap, &str); 3] = [
    ("every-second-skip", Overlap::Skip, "1.3"),
    ("every-second-queue", Overlap::Queue, "0.6"),
    ("every-second-replace", Overlap::Replace, "1.3"),
];

const ONCE: Times = Times { begun: 1, ended: 1 };

/// Adds all schedules.
pub(crate) async fn add(load: &Load) {
    for (name, overlap, seconds) in SCHEDULES {
        let script = format!("{}; {BEGIN}; sleep {seconds}; {END}", alone_in(name));
        let every = std::time::Duration::from_secs(1).try_into().unwrap();
        let request = AddScheduleRequest {
            name: name.to_owned(),
            trigger: Some(Trigger {
                trigger: Some(trigger::Trigger::Interval(IntervalTrigger {
                    every: Some(every),
                    jitter: None,
                })),
            }),
            template: Some(load.script(name, &script).into()),
            overlap: overlap.into(),
            ..AddScheduleRequest::default()
        };
        let schedule: Schedule = load.client.schedules().add_schedule(request).await.unwrap().into_inner();
        assert!(schedule.next_at.is_some());
    }
}

/// Removes all schedules; what they have started goes on to its end.
pub(crate) async fn remove(load: &Load) {
    for (name, ..) in SCHEDULES {
        let mut patience = Nest::patience();
        let request = DeleteScheduleRequest { schedule: name.to_owned() };
        while let Err(status) = load.client.schedules().delete_schedule(request.clone()).await {
            if status.code() == Code::NotFound {
                // The call that was cut did it.
                break;
            }
            patience.after(status).await.unwrap();
        }
    }
}

impl Load {
    /// Compares what the events tell of scheduled runs with what their children wrote; gives their number.
    pub(crate) fn check_schedules(&self, events: &Events) -> usize {
        let mut total = 0;
        for (name, overlap, _) in SCHEDULES {
            let mut written = self.book.read(name);
            let told = events.runs().iter().filter(|(_, told)| told.name == name);
            for (run, told) in told {
                total += 1;
                let [end] = told.ends.as_slice() else {
                    panic!("{name}, run {run}, has these ends: {:?}", told.ends)
                };
                let times = written.remove(run).unwrap_or_default();
                // One that is replaced in its last moment may have come to its end all the same.
                let replaced = overlap == Overlap::Replace && end.starts_with("canceled canceled");
                let as_told =
                    if replaced { times.ended <= times.begun && times.begun <= 1 } else { times == ONCE };
                assert!(replaced || end == "succeeded 0", "{name}, run {run}: {end}");
                assert!(as_told, "{name}, run {run}, {end}: {times:?}");
            }
            assert!(written.is_empty(), "children of {name} ran of which no event tells: {written:?}");
        }
        assert!(total > 0, "no schedule has ever fired");
        total
    }
}
