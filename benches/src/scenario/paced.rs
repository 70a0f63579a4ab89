//! Frames on a fixed schedule, and how old they are when they arrive. A frame's age counts from when it was due, so
//! that whatever keeps the sender from its schedule shows as well.

use crate::{
    metric::Metric,
    outcome::{Meter, Values},
    scenario::{content::Frames, frames},
    stats::percentile,
    work::Content,
};
use std::{ops::Range, time::Duration};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until, timeout, timeout_at},
};
use visavis_core::{IncomingFrame, TrackReceiver, TrackSender};

/// The least time over which processor time is read.
pub(super) const LEAST: Duration = Duration::from_secs(1);

/// The content of every frame.
const CONTENT: Content = Content::Size(12_000);

/// Frames a second.
const RATE: u64 = 30;

/// Frames of each track before any counts: one second.
const SETTLING: u64 = RATE;

/// A frame that is older than this in milliseconds is late: the next one is due.
const LATE: f64 = 33.0;

/// How long after the last frame was due what is still missing may come; then it never will.
const GRACE: Duration = Duration::from_secs(1);

/// A connected track that takes longer than this to be ready never is.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends 30 frames of 12 kB a second on each of `senders`, for `budget` after a second that does not count, and reads
/// each of `receivers`, of which number i hears sender i, modulo the number of senders. Measures the processor time and
/// how old the frames are.
///
/// # Errors
///
/// When a track is not ready, or what arrives is not all that was sent: figures with losses are no result.
pub(super) async fn run(
    senders: Vec<TrackSender>,
    receivers: Vec<TrackReceiver>,
    budget: Duration,
) -> Result<Values, String> {
    let frames = Frames::new(CONTENT, None)?;
    for sender in &senders {
        ready(sender).await?;
    }
    let schedule = Schedule::new(senders.len(), budget);
    let mut readers = JoinSet::new();
    for (n, receiver) in receivers.into_iter().enumerate() {
        let track = n % senders.len();
        let frames = frames.clone();
        readers.spawn(async move {
            let ages = schedule.read(track, &receiver, &frames).await;
            ages.map_err(|reason| format!("receiver {n}: {reason}"))
        });
    }
    // Dropped, and so ended, with this function.
    let mut sending = JoinSet::new();
    sending.spawn(async move { schedule.send(&senders, &frames).await });
    let counted = schedule.counted();
    sleep_until(schedule.due(0, counted.start)).await;
    let meter = Meter::start();
    sleep_until(schedule.due(0, counted.end)).await;
    let (wall, cpu) = meter.read();
    let mut ages = Vec::new();
    while let Some(read) = readers.join_next().await {
        ages.extend(read.map_err(|error| error.to_string())??);
    }
    let mut values = vec![(Metric::Cpu, 100.0 * cpu / wall)];
    values.extend(summary(&ages));
    Ok(values)
}

/// Waits until a track may send.
pub(super) async fn ready(sender: &TrackSender) -> Result<(), String> {
    let codec = timeout(PATIENCE, sender.ready()).await;
    codec
        .map_err(|_| format!("a track was not ready to send within {PATIENCE:?}"))?
        .ok_or("a track ended before it sent")?;
    Ok(())
}

/// Late frames in percent, and the age, where there are enough frames to say it.
fn summary(ages: &[f64]) -> Values {
    let late = ages.iter().filter(|age| **age > LATE).count();
    let mut values = vec![(Metric::Late, 100.0 * late as f64 / ages.len() as f64)];
    values.extend(percentile(ages, 0.99).map(|age| (Metric::AgeP99, age)));
    values
}

/// When each frame of each track is due.
#[derive(Debug, Clone, Copy)]
struct Schedule {
    began: Instant,
    tracks: usize,
    /// Frames of each track.
    frames: u64,
}

impl Schedule {
    fn new(tracks: usize, budget: Duration) -> Self {
        let counted = (budget.as_secs_f64() * RATE as f64).ceil() as u64;
        Self {
            began: Instant::now(),
            tracks,
            frames: SETTLING + counted,
        }
    }

    /// The numbers of the frames that count.
    fn counted(&self) -> Range<u64> {
        SETTLING..self.frames
    }

    /// When frame `n` of a track is due. The tracks take turns, evenly: real peers are not in step.
    fn due(&self, track: usize, n: u64) -> Instant {
        let turn = n * self.tracks as u64 + track as u64;
        self.began + Duration::from_nanos(turn * 1_000_000_000 / (RATE * self.tracks as u64))
    }

    /// Sends every frame when it is due. One task for all tracks: a timer has milliseconds, so with many tracks it
    /// wakes once for several frames, where a timer a track would wake for each.
    async fn send(&self, senders: &[TrackSender], frames: &Frames) {
        for n in 0..self.frames {
            for (track, sender) in senders.iter().enumerate() {
                let due = self.due(track, n);
                if Instant::now() < due {
                    sleep_until(due).await;
                }
                // What is dropped here is missing at the receiver, which tells.
                sender.try_send(frames::outgoing(frames, n, due));
            }
        }
    }

    /// Reads a track; how old each frame that counts was, in milliseconds.
    async fn read(
        &self,
        track: usize,
        receiver: &TrackReceiver,
        frames: &Frames,
    ) -> Result<Vec<f64>, String> {
        let mut ages = Vec::new();
        let counted = self.counted();
        let mut next = 0;
        let reading = async {
            while next < self.frames {
                let frame = receiver.recv().await.ok_or("the track ended")?;
                let now = Instant::now();
                let n = number(&frame);
                if !(next..self.frames).contains(&n) {
                    return Err(format!("frame {n} arrived after frame {next} was due"));
                }
                frames::check(frames, n, &frame)?;
                if counted.contains(&n) {
                    let age = now.saturating_duration_since(self.due(track, n));
                    ages.push(age.as_secs_f64() * 1e3);
                }
                next = n + 1;
            }
            Ok(())
        };
        let read = timeout_at(self.due(track, self.frames) + GRACE, reading).await;
        read.map_err(|_| {
            format!(
                "of {} frames the last {} never came",
                self.frames,
                self.frames - next
            )
        })??;
        let missing = (counted.end - counted.start) as usize - ages.len();
        if missing > 0 {
            return Err(format!(
                "{missing} of {} frames never came",
                counted.end - counted.start
            ));
        }
        Ok(ages)
    }
}

/// Which frame it says it is; its content has to prove it.
fn number(frame: &IncomingFrame) -> u64 {
    let step = frame.codec.clock_rate() / RATE as u32;
    u64::from(frame.media_time.ticks as u32 / step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tracks_take_turns() {
        let schedule = Schedule::new(4, Duration::from_millis(1_500));
        assert_eq!(schedule.counted(), 30..75);
        let due = |track, n| schedule.due(track, n) - schedule.began;
        assert_eq!(due(0, 30), Duration::from_secs(1));
        assert_eq!(due(2, 30), Duration::from_nanos(1_016_666_666));
        assert!(due(3, 0) < due(0, 1));
    }

    #[test]
    fn a_frame_is_late_when_the_next_one_is_due() {
        let mut ages = vec![1.0; 1_990];
        ages.extend([40.0; 10]);
        assert_eq!(summary(&ages), [(Metric::Late, 0.5), (Metric::AgeP99, 1.0)]);
        assert_eq!(summary(&ages[1_000..1_500]), [(Metric::Late, 0.0)]);
    }
}
