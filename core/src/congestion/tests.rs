use super::*;
use crate::{Codec, EventSink, TrackSender};

const STEP: Duration = Duration::from_millis(200);

/// A bottleneck with a queue, and a sender that sends what it is told to.
struct Link {
    now: Instant,
    /// What it carries, in bits a second.
    carries: f64,
    /// What the queue holds at most, as the time to empty it.
    longest: f64,
    /// Bits in the queue.
    queued: f64,
    /// Lost by chance.
    loss: f64,
    base: Duration,
    sent: f64,
    /// What the sender would like to send.
    wants: f64,
    estimator: Estimator,
}

impl Link {
    fn new(carries: f64, wants: f64) -> Self {
        Self {
            now: Instant::now(),
            carries,
            longest: 0.25,
            queued: 0.0,
            loss: 0.0,
            base: Duration::from_millis(60),
            sent: 0.0,
            wants,
            estimator: Estimator::default(),
        }
    }

    fn allowed(&self) -> f64 {
        self.estimator.estimate().map_or(f64::MAX, |e| e.bps() as f64)
    }

    /// Lets time pass; returns the most that packets waited for.
    fn run(&mut self, seconds: f64) -> f64 {
        let mut most: f64 = 0.0;
        let step = STEP.as_secs_f64();
        for _ in 0..(seconds / step).round() as u32 {
            let rate = self.wants.min(self.allowed());
            self.now += STEP;
            self.sent += rate * step / 8.0;
            self.queued = (self.queued + (rate - self.carries) * step).max(0.0);
            let over = (self.queued - self.carries * self.longest).max(0.0);
            self.queued -= over;
            let wait = self.queued / self.carries;
            most = most.max(wait);
            self.estimator.update(Feedback {
                at: self.now,
                sent: self.sent as u64,
                loss: (over / (rate * step)).max(self.loss),
                delay: Some(self.base + Duration::from_secs_f64(wait)),
                returning: Duration::ZERO,
            });
        }
        most
    }
}

#[tokio::test(start_paused = true)]
async fn without_congestion_there_is_no_estimate() {
    let mut link = Link::new(5e6, 1.5e6);
    link.run(60.0);
    link.loss = 0.05;
    link.run(60.0);
    assert_eq!(link.estimator.estimate(), None, "a radio link loses some");
}

#[tokio::test(start_paused = true)]
async fn one_long_wait_is_a_keyframe() {
    let mut link = Link::new(5e6, 1.5e6);
    link.run(5.0);
    link.queued = 5e6 * 0.3;
    link.run(0.2);
    link.queued = 0.0;
    link.run(5.0);
    assert_eq!(link.estimator.estimate(), None);
}

#[tokio::test(start_paused = true)]
async fn a_bottleneck_is_found_and_its_end_too() {
    for longest in [0.25, 1.0] {
        let mut link = Link::new(5e6, 1.5e6);
        link.longest = longest;
        link.run(5.0);
        link.carries = 5e5;
        link.run(5.0);
        let most = link.run(15.0);
        assert!(most < 0.25, "packets wait for {most} s, of {longest} s possible");
        assert!((2.5e5..6e5).contains(&link.allowed()), "{}", link.allowed());
        link.carries = 5e6;
        link.run(10.0);
        assert!(link.allowed() > 1.4e6, "{} after 10 s", link.allowed());
    }
}

/// A queue too short to be seen: only losses tell.
#[tokio::test(start_paused = true)]
async fn losses_alone_are_congestion() {
    let mut link = Link::new(5e6, 1.5e6);
    link.longest = 0.02;
    link.run(5.0);
    link.carries = 5e5;
    link.run(10.0);
    assert!((3e5..7e5).contains(&link.allowed()), "{}", link.allowed());
}

/// Another route, or another interface after an ICE restart.
#[tokio::test(start_paused = true)]
async fn a_longer_path_is_not_a_queue_for_long() {
    let mut link = Link::new(5e6, 1.5e6);
    link.run(5.0);
    link.base += Duration::from_millis(150);
    link.run(6.0);
    let least = link.allowed();
    assert!(least > 3e5, "{least}");
    link.run(8.0);
    assert!(link.allowed() > 1.5e6, "{least}, then {}", link.allowed());
}

#[tokio::test(start_paused = true)]
async fn what_waits_on_the_way_back_does_not_count() {
    let mut estimator = Estimator::default();
    let mut now = Instant::now();
    for step in 0..100 {
        now += STEP;
        let queue = Duration::from_millis(if step > 20 { 250 } else { 0 });
        estimator.update(Feedback {
            at: now,
            sent: step * 30_000,
            loss: 0.0,
            delay: Some(Duration::from_millis(60) + queue),
            returning: queue,
        });
    }
    assert_eq!(estimator.estimate(), None);
}

/// What is said about nothing does not count: a sender that is silent keeps what it had.
#[tokio::test(start_paused = true)]
async fn silence_is_not_congestion() {
    let mut link = Link::new(5e6, 1.5e6);
    link.run(5.0);
    link.wants = 0.0;
    link.run(2.0);
    link.loss = 1.0;
    link.run(5.0);
    assert_eq!(link.estimator.estimate(), None);
}

#[tokio::test(start_paused = true)]
async fn the_remote_peer_can_set_a_limit_that_ends() {
    let mut link = Link::new(5e6, 1.5e6);
    link.run(1.0);
    link.estimator.set_limit(Bitrate::from_bps(700_000), link.now);
    assert_eq!(link.estimator.estimate(), Some(Bitrate::from_bps(700_000)));
    link.run(LIMIT_LIFE.as_secs_f64() + 1.0);
    assert_eq!(link.estimator.estimate(), None, "it was not said again");
}

#[tokio::test]
async fn pictures_share_what_sound_leaves() {
    let (events, _events) = EventSink::detached();
    let track = |kind, codec| crate::TrackPort::detached(&events, kind, codec);
    let (_, _, sound) = track(MediaKind::Audio, Some(Codec::Opus));
    let (first, _, a): (TrackSender, _, _) = track(MediaKind::Video, Some(Codec::Vp8));
    let (second, _, b) = track(MediaKind::Video, Some(Codec::H264));
    let (idle, _, c) = track(MediaKind::Video, None);
    let ports = [sound, a, b, c];
    share(Some(Bitrate::from_bps(1_085_000)), ports.iter());
    let half = Some(Bitrate::from_bps(500_000));
    assert_eq!([first.available_bitrate(), second.available_bitrate()], [half; 2]);
    assert_eq!(idle.available_bitrate(), None);
    share(Some(Bitrate::from_bps(60_000)), ports.iter());
    assert_eq!(first.available_bitrate(), Some(Bitrate::from_bps(0)));
    share(None, ports.iter());
    assert_eq!(first.available_bitrate(), None);
}
