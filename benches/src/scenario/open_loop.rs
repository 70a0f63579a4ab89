//! Frames on a fixed schedule at N × 30 a second, with rising N: the load at which they come late.
//!
//! A closed loop sends the next frame when an earlier one has arrived, and so waits for a stack that is slow. A camera
//! does not. Here each frame has its time: a sender that is behind sends all that is due at once, and a frame's age
//! counts from when it was due, not from when it was sent, so no delay hides another (no coordinated omission). A frame
//! that the track does not take, or that does not arrive, is infinitely old.
//!
//! Tokio's timer wakes in steps of a millisecond, so above 1,000 frames a second several are due at each wake. That is
//! up to a millisecond of a frame's age; and a track's queue has room for
//! 64 (`MAX_QUEUED_FRAMES` of core), so a stack that takes them up slowly at such a burst loses
//! some, as it would those of a real source.

mod search;

use crate::{
    lab::{Lab, Site},
    metric::Metric,
    outcome::Outcome,
    scenario::{
        content::Frames,
        frames::{STEP, check, outgoing},
        handshake::negotiated,
        video_call::VideoCall,
    },
    stats::{median, percentile},
    work::{Content, Network, Visit},
};
use search::Search;
use std::time::Duration;
use tokio::{
    sync::mpsc,
    task::yield_now,
    time::{Instant, sleep_until, timeout},
};
use visavis_core::IncomingFrame;

/// Frames a second for each N.
const RATE: u64 = 30;

/// The least frames of a step: with fewer, the oldest 1 % are less than ten.
const LEAST_FRAMES: u64 = 1_000;

/// The least time of a step.
const LEAST_TIME: Duration = Duration::from_millis(300);

/// How often a load may fail before it counts as too high. One pause of a few milliseconds that the machine makes, and
/// not the stack, loses frames, and the search would never come back to what it has left behind.
const TRIES: u32 = 2;

/// Frames before the first step, which do not count.
const WARM_UP: u64 = 300;

/// Milliseconds; a frame that is older is late, for the next one of 30 a second is due.
const LATE: f64 = 33.0;

/// When nothing has arrived for so long, nothing will: a stack gives up a missing packet after 300 ms.
const PATIENCE: Duration = Duration::from_secs(1);

/// Finds the most N of N × 30 frames a second with 99 % of them younger than 33 ms and none lost: doubled from 32
/// until it fails twice, then halved between the last good and the first bad one. Each try takes an eighth of the
/// visit's budget, at least 0.3 s and 1,000 frames. What the last try of each N has shown is left as curves over N: the
/// median and the 99th percentile of the age, where they are finite, and what was late or missing.
///
/// # Errors
///
/// Why there was no call. What arrives damaged, and that no N is low enough, are failures in the outcome.
pub async fn run(lab: &Lab, visit: &Visit, content: Content, outcome: &mut Outcome) -> Result<(), String> {
    let site = lab.site(visit, Network::Loopback, false)?;
    let frames = Frames::new(content, visit.recording.as_deref())?;
    let least_time = (visit.budget / 8).max(LEAST_TIME);
    let mut load = Load {
        site: &site,
        frames,
        call: None,
        next: 0,
    };
    load.step(Search::FIRST, WARM_UP).await?;
    // The search goes from light to heavy, so each step warms the next one up.
    (outcome.warm_up, outcome.settled) = (1, true);
    let mut search = Search::default();
    let mut last = String::new();
    while let Some(n) = search.next() {
        let count = (f64::from(n) * RATE as f64 * least_time.as_secs_f64()) as u64;
        let step = match load.tried(n, count.max(LEAST_FRAMES)).await {
            Ok(step) => step,
            Err(reason) => {
                outcome.failures.push(format!("at {n} × 30 frames/s: {reason}"));
                search.tell(n, false);
                continue;
            }
        };
        step.draw(n, outcome);
        last = step.describe(n);
        search.tell(n, step.is_good());
    }
    load.end().await;
    for curve in outcome.curves.values_mut() {
        curve.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    match search.highest() {
        0 => outcome.failures.push(format!("no load is low enough: {last}")),
        highest => outcome.add(&[(Metric::HighestLoad, highest.into())]),
    }
    outcome.negotiated = Some(negotiated(&site).await?);
    Ok(())
}

/// A call that frames are put through on a schedule.
struct Load<'a> {
    site: &'a Site,
    frames: Frames,
    /// There is none after a step that lost frames: a new one has nothing left under way.
    call: Option<VideoCall>,
    /// The number of the next frame.
    next: u64,
}

impl Load<'_> {
    /// The first good step at a load, or the last one that is tried.
    async fn tried(&mut self, load: u32, count: u64) -> Result<Step, String> {
        let mut step = self.step(load, count).await?;
        for _ in 1..TRIES {
            if !step.is_good() {
                step = self.step(load, count).await?;
            }
        }
        Ok(step)
    }

    /// Sends `count` frames at `load` × 30 a second, and waits until all have arrived or are lost.
    ///
    /// # Errors
    ///
    /// Why there is no call, or that what arrived is not what was sent.
    async fn step(&mut self, load: u32, count: u64) -> Result<Step, String> {
        let call = if let Some(call) = self.call.take() {
            call
        } else {
            self.next = 0;
            VideoCall::new(self.site).await?
        };
        let stepped = self.through(&call, load, count).await;
        match &stepped {
            Ok(step) if step.lost == 0 => self.call = Some(call),
            _ => call.end().await,
        }
        stepped
    }

    async fn through(&mut self, call: &VideoCall, load: u32, count: u64) -> Result<Step, String> {
        let frames = &self.frames;
        let first = self.next;
        self.next += count;
        let rate = u64::from(load) * RATE;
        let began = Instant::now();
        let due = |n: u64| began + Duration::from_nanos((n - first) * 1_000_000_000 / rate);
        let (queued, mut under_way) = mpsc::unbounded_channel();
        let numbers = first..first + count;
        // How many frames had their turn.
        let send = async move {
            let (mut n, mut refused) = (numbers.start, 0);
            while n < numbers.end {
                if Instant::now() < due(n) {
                    sleep_until(due(n)).await;
                } else {
                    // The receiver is in this task too.
                    yield_now().await;
                }
                let now = Instant::now();
                while n < numbers.end && due(n) <= now {
                    if !call.sender.try_send(outgoing(frames, n, due(n))) {
                        refused += 1;
                    } else if queued.send(n).is_err() {
                        // Nobody waits for them any more.
                        return n + 1 - first;
                    }
                    n += 1;
                }
                if refused * 100 > count {
                    // It has failed already.
                    break;
                }
            }
            n - first
        };
        let receive = async move {
            let mut ages = Vec::new();
            let mut ahead: Option<(IncomingFrame, Instant)> = None;
            // Ends with the schedule.
            while let Some(n) = under_way.recv().await {
                let (frame, at) = match ahead.take() {
                    Some(arrived) => arrived,
                    None => match timeout(PATIENCE, call.receiver.recv()).await {
                        Ok(Some(frame)) => (frame, Instant::now()),
                        Ok(None) | Err(_) => break,
                    },
                };
                if is_after(&frame, n) {
                    ahead = Some((frame, at));
                    continue;
                }
                check(frames, n, &frame)?;
                ages.push(at.saturating_duration_since(due(n)).as_secs_f64() * 1_000.0);
            }
            Ok::<_, String>(ages)
        };
        let (offered, ages) = tokio::join!(send, receive);
        Ok(Step::new(ages?, offered))
    }

    async fn end(self) {
        if let Some(call) = self.call {
            call.end().await;
        }
    }
}

/// Whether its timestamp says that it was sent after frame `n`, which is lost then.
fn is_after(frame: &IncomingFrame, n: u64) -> bool {
    let ahead = (frame.media_time.ticks as u32).wrapping_sub((n * STEP) as u32);
    ahead.cast_signed() > 0
}

/// What came of the frames of a step.
#[derive(Debug)]
struct Step {
    /// The ages of all frames in milliseconds, infinite where they were lost.
    ages: Vec<f64>,
    lost: usize,
}

impl Step {
    fn new(mut ages: Vec<f64>, offered: u64) -> Self {
        let lost = (offered as usize).saturating_sub(ages.len());
        ages.resize(ages.len() + lost, f64::INFINITY);
        Self { ages, lost }
    }

    /// The 99th percentile of the age; of a step that was given up, infinite.
    fn p99(&self) -> f64 {
        percentile(&self.ages, 0.99).unwrap_or(f64::INFINITY)
    }

    fn is_good(&self) -> bool {
        self.lost == 0 && self.p99() < LATE
    }

    /// The percentage that came late or not at all.
    fn late(&self) -> f64 {
        let late = self.ages.iter().filter(|age| **age >= LATE).count();
        100.0 * late as f64 / self.ages.len() as f64
    }

    /// Adds its points to the curves. There are none at infinity.
    fn draw(&self, load: u32, outcome: &mut Outcome) {
        let points = [
            (Metric::AgeP50, median(&self.ages)),
            (Metric::AgeP99, self.p99()),
            (Metric::Late, self.late()),
        ];
        for (metric, value) in points.into_iter().filter(|(_, value)| value.is_finite()) {
            let curve = outcome.curves.entry(metric).or_default();
            curve.push((load.into(), value));
        }
    }

    fn describe(&self, load: u32) -> String {
        format!(
            "at {load} × 30 frames/s {} of {} frames were lost, and {:.1} % late or lost",
            self.lost,
            self.ages.len(),
            self.late()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_good_when_all_arrive_and_99_of_100_in_time() {
        let step = |in_time, late, offered| {
            let ages = [vec![5.0; in_time], vec![40.0; late]].concat();
            Step::new(ages, offered)
        };
        assert!(step(990, 10, 1_000).is_good());
        assert!(!step(989, 11, 1_000).is_good());
        let lost = step(995, 0, 1_000);
        assert!(!lost.is_good() && lost.p99() < 6.0 && lost.late() < 1.0);
        // Given up early: too few to say.
        assert!(!step(300, 0, 300).is_good());
    }

    #[test]
    fn points_are_finite() {
        let mut outcome = Outcome::default();
        Step::new(vec![1.0; 980], 1_000).draw(64, &mut outcome);
        Step::new(Vec::new(), 1_000).draw(128, &mut outcome);
        assert_eq!(outcome.curves[&Metric::AgeP50], [(64.0, 1.0)]);
        assert!(!outcome.curves.contains_key(&Metric::AgeP99));
        assert_eq!(outcome.curves[&Metric::Late], [(64.0, 2.0), (128.0, 100.0)]);
    }
}
