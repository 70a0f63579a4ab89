//! Checks the pictures that are shown.

use super::{
    Reports, SECONDS_KEPT, fidelity,
    fidelity::Fidelity,
    lock,
    order::Order,
    reports,
    shown::{SecondShown, VideoLimits, VideoReport},
    signed_ms,
};
use crate::{sink::stats::Histogram, source::Pattern};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::Instant;
use visavis_core::{
    Result,
    media::{VideoFrame, VideoSink, VideoSource},
};

/// A sink that checks the pictures of a [`Pattern`]: order and completeness by their numbers, content against the
/// picture as it was sent, and age.
///
/// What it finds is in the [`VideoReport`], which [`reports`](Self::reports) gives at any time.
#[derive(Debug)]
pub struct VideoVerifier {
    pattern: Pattern,
    compare_every: u32,
    readable: u32,
    state: Arc<Mutex<State>>,
}

impl VideoVerifier {
    /// Checks against `pattern`, which must have the size and rate of the one that is sent.
    pub fn new(pattern: Pattern) -> Self {
        let interval_ms = pattern.rate().interval().as_secs_f64() * 1_000.0;
        Self {
            pattern,
            compare_every: 1,
            readable: 0,
            state: Arc::new(Mutex::new(State::new(interval_ms))),
        }
    }

    /// Compares the content of one picture in `pictures` only, for comparing costs more than all else. Default 1: each.
    #[must_use]
    pub fn compare_every(mut self, pictures: u32) -> Self {
        self.compare_every = pictures.max(1);
        self
    }

    /// When the source's clock began, if it is in this process: then ages are from capture to display. By default they
    /// are relative to the picture that was shown the soonest.
    #[must_use]
    pub fn epoch(self, epoch: Instant) -> Self {
        lock(&self.state).epoch = Some(epoch);
        self
    }

    /// What is bad; see [`VideoLimits::default`].
    #[must_use]
    pub fn limits(self, limits: VideoLimits) -> Self {
        lock(&self.state).limits = limits;
        self
    }

    /// Reads the report at any time.
    pub fn reports(&self) -> Reports<VideoReport> {
        reports(&self.state, State::report)
    }
}

impl VideoSink for VideoVerifier {
    fn show(&mut self, frame: &VideoFrame, at: Instant) -> Result<()> {
        // All that takes time is done before the lock is taken.
        let seen = self.look(frame);
        let mut state = lock(&self.state);
        state.frames += 1;
        match seen {
            Seen::WrongSize => state.wrong_size += 1,
            Seen::Unreadable { flat } => {
                state.unreadable += 1;
                state.flat += u64::from(flat);
            }
            Seen::Number(number, fidelity) => {
                if let Some(fidelity) = fidelity {
                    state.content(fidelity);
                }
                let restarts = state.order.restarts;
                let new = state.order.take(number);
                if state.order.restarts > restarts {
                    state.soonest = None;
                }
                let rate = self.pattern.rate();
                state.age(rate.time(number), at);
                if new {
                    state.new_picture(rate.second_begun_by(number), at);
                }
            }
        }
        Ok(())
    }
}

impl VideoVerifier {
    fn look(&mut self, frame: &VideoFrame) -> Seen {
        if (frame.width, frame.height) != self.pattern.size() {
            return Seen::WrongSize;
        }
        let Some(number) = Pattern::read_number(frame) else {
            return Seen::Unreadable {
                flat: fidelity::is_flat(frame),
            };
        };
        let compare = self.readable.is_multiple_of(self.compare_every);
        self.readable = self.readable.wrapping_add(1);
        let fidelity = compare.then(|| fidelity::compare(frame, &self.pattern.frame(number)));
        Seen::Number(number, fidelity.flatten())
    }
}

/// What a picture is.
enum Seen {
    WrongSize,
    Unreadable { flat: bool },
    Number(u32, Option<Fidelity>),
}

#[derive(Debug)]
struct State {
    limits: VideoLimits,
    nominal_interval_ms: f64,
    epoch: Option<Instant>,
    order: Order,
    frames: u64,
    unreadable: u64,
    flat: u64,
    wrong_size: u64,
    stale: u64,
    damaged: u64,
    damaged_in_part: u64,
    psnr_luma: Histogram,
    psnr_all: Histogram,
    psnr_part: Histogram,
    /// The least age up to now, and the moment and time from which ages count if the epoch is not known.
    soonest: Option<(f64, Instant, Duration)>,
    /// Of ages that are negative for pictures that were shown sooner than the first.
    age_ms: Histogram,
    interval_ms: Histogram,
    freezes: u64,
    last_new: Option<Instant>,
    seconds: VecDeque<SecondShown>,
}

impl State {
    fn new(nominal_interval_ms: f64) -> Self {
        let decibels = || Histogram::new(0.0, 0.1, 1_001);
        Self {
            limits: VideoLimits::default(),
            nominal_interval_ms,
            epoch: None,
            order: Order::default(),
            frames: 0,
            unreadable: 0,
            flat: 0,
            wrong_size: 0,
            stale: 0,
            damaged: 0,
            damaged_in_part: 0,
            psnr_luma: decibels(),
            psnr_all: decibels(),
            psnr_part: decibels(),
            soonest: None,
            age_ms: Histogram::new(-1_000.0, 1.0, 4_000),
            interval_ms: Histogram::new(0.0, 1.0, 2_000),
            freezes: 0,
            last_new: None,
            seconds: VecDeque::with_capacity(SECONDS_KEPT),
        }
    }

    fn content(&mut self, fidelity: Fidelity) {
        self.psnr_luma.add(fidelity.luma);
        self.psnr_all.add(fidelity.all);
        self.psnr_part.add(fidelity.worst_part);
        if fidelity.luma < self.limits.psnr {
            self.damaged += 1;
        } else if fidelity.worst_part < self.limits.part_psnr {
            self.damaged_in_part += 1;
        }
    }

    /// A picture that the source made at `time` of its clock is shown at `at`.
    fn age(&mut self, time: Duration, at: Instant) {
        let (soonest, origin, first) = *self.soonest.get_or_insert(match self.epoch {
            Some(epoch) => (0.0, epoch, Duration::ZERO),
            None => (0.0, at, time),
        });
        let age = signed_ms(at, origin) - (time.as_secs_f64() - first.as_secs_f64()) * 1_000.0;
        self.age_ms.add(age);
        let soonest = if self.epoch.is_some() {
            0.0
        } else {
            soonest.min(age)
        };
        self.soonest = Some((soonest, origin, first));
        self.stale += u64::from(age - soonest > self.limits.age_ms);
    }

    fn new_picture(&mut self, second: Option<u64>, at: Instant) {
        if let Some(last) = self.last_new.replace(at) {
            let interval = signed_ms(at, last);
            self.interval_ms.add(interval);
            let nominal = self.nominal_interval_ms;
            self.freezes += u64::from(interval > (3.0 * nominal).max(nominal + 150.0));
        }
        if let Some(second) = second {
            if self.seconds.len() == SECONDS_KEPT {
                self.seconds.pop_front();
            }
            self.seconds.push_back(SecondShown { second, at });
        }
    }

    fn report(&self) -> VideoReport {
        let soonest = self.soonest.map_or(0.0, |(soonest, ..)| soonest);
        VideoReport {
            frames: self.frames,
            in_order: self.order.ascending,
            repeated: self.order.repeated,
            backwards: self.order.backwards,
            restarts: self.order.restarts,
            gaps: self.order.gaps,
            missing: self.order.missing,
            unreadable: self.unreadable,
            flat: self.flat,
            wrong_size: self.wrong_size,
            stale: self.stale,
            damaged: self.damaged,
            damaged_in_part: self.damaged_in_part,
            first_number: self.order.first,
            last_number: self.order.last,
            psnr_luma_db: self.psnr_luma.summary(),
            psnr_db: self.psnr_all.summary(),
            psnr_worst_part_db: self.psnr_part.summary(),
            age_ms: self.age_ms.summary().map(|age| age.minus(soonest)),
            age_from_epoch: self.epoch.is_some(),
            interval_ms: self.interval_ms.summary(),
            freezes: self.freezes,
            last_new: self.last_new,
            seconds: self.seconds.clone(),
            limits: self.limits,
        }
    }
}
